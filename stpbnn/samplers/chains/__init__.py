"""Chains side by side: their plan, their blocks of draws in memory and on disk, and whether they have converged."""

from stpbnn.samplers.chains.blocks import Chains
from stpbnn.samplers.chains.diagnosis import diagnose
from stpbnn.samplers.chains.fingerprint import surroundings
from stpbnn.samplers.chains.mixing import SAMPLES, convergence, rhat_limit
from stpbnn.samplers.chains.plan import Plan, spaced
from stpbnn.samplers.chains.run import Posed, collect
from stpbnn.samplers.chains.vectorised import Law

__all__ = [
    "SAMPLES",
    "Chains",
    "Law",
    "Plan",
    "Posed",
    "collect",
    "convergence",
    "diagnose",
    "rhat_limit",
    "spaced",
    "surroundings",
]
