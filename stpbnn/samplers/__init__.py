"""Markov chains over the weights of a network or the scales of a process, their draws, and whether to trust these."""

from stpbnn.samplers.chains import SAMPLES as SAMPLES
from stpbnn.samplers.chains import Posed as Posed
from stpbnn.samplers.chains import collect as collect
from stpbnn.samplers.chains import convergence as convergence
from stpbnn.samplers.chains import diagnose
from stpbnn.samplers.chains import rhat_limit as rhat_limit
from stpbnn.samplers.chains import surroundings as surroundings
from stpbnn.samplers.evaluation import functions
from stpbnn.samplers.network_posterior import sample
from stpbnn.samplers.posed_network import pose as pose
from stpbnn.samplers.process_posterior import pose_process as pose_process
from stpbnn.samplers.process_posterior import sample_process
from stpbnn.samplers.stepping_stones import tempered_log_evidence
from stpbnn.samplers.transitions import MALA, Langevin, SplitHMC, SplitNUTS, Tempered, paper_scales
from stpbnn.samplers.transitions import REPLICAS as REPLICAS

__all__ = [
    "MALA",
    "Langevin",
    "SplitHMC",
    "SplitNUTS",
    "Tempered",
    "diagnose",
    "functions",
    "paper_scales",
    "sample",
    "sample_process",
    "tempered_log_evidence",
]
