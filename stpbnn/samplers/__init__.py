"""Markov chains over the weights of a network, and the draws they leave."""

from stpbnn.samplers.sampling import sample

__all__ = ["sample"]
