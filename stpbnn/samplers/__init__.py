"""Markov chains over the weights of a network or the scales of a process, their draws, and whether to trust these."""

from stpbnn.samplers.diagnostics import SAMPLES as SAMPLES
from stpbnn.samplers.diagnostics import convergence as convergence
from stpbnn.samplers.diagnostics import diagnose
from stpbnn.samplers.diagnostics import rhat_limit as rhat_limit
from stpbnn.samplers.evaluation import functions
from stpbnn.samplers.hamiltonian import SplitHMC
from stpbnn.samplers.langevin import MALA, Langevin, paper_scales
from stpbnn.samplers.no_u_turn import SplitNUTS
from stpbnn.samplers.processes import sample_process
from stpbnn.samplers.sampling import sample

__all__ = [
    "MALA",
    "Langevin",
    "SplitHMC",
    "SplitNUTS",
    "diagnose",
    "functions",
    "paper_scales",
    "sample",
    "sample_process",
]
