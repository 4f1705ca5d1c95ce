"""Markov chains over the weights of a network, and the draws they leave."""

from stpbnn.samplers.hamiltonian import SplitHMC
from stpbnn.samplers.langevin import MALA, Langevin, paper_scales
from stpbnn.samplers.sampling import sample

__all__ = ["MALA", "Langevin", "SplitHMC", "paper_scales", "sample"]
