"""Transitions of Markov chains as NumPyro kernels: Hamiltonian Monte Carlo, no-U-turn, tempering, Langevin."""

from stpbnn.samplers.transitions.by_name import Sampler, built_by, named
from stpbnn.samplers.transitions.hamiltonian import SplitHMC
from stpbnn.samplers.transitions.langevin import MALA, Langevin, paper_scales
from stpbnn.samplers.transitions.no_u_turn import SplitNUTS
from stpbnn.samplers.transitions.tempering import REPLICAS as REPLICAS
from stpbnn.samplers.transitions.tempering import Tempered

__all__ = ["MALA", "Langevin", "Sampler", "SplitHMC", "SplitNUTS", "Tempered", "built_by", "named", "paper_scales"]
