"""Markov chains over the weights of a network, the draws they leave, and whether these can be trusted."""

from stpbnn.samplers.diagnostics import diagnose
from stpbnn.samplers.sampling import sample

__all__ = ["diagnose", "sample"]
