"""Chains side by side: their plan, their blocks of draws in memory and on disk, and whether they have converged."""

from stpbnn.samplers.chains.blocks import Chains
from stpbnn.samplers.chains.diagnosis import diagnose
from stpbnn.samplers.chains.mixing import SAMPLES, convergence, rhat_limit
from stpbnn.samplers.chains.plan import Plan
from stpbnn.samplers.chains.run import collect

__all__ = ["SAMPLES", "Chains", "Plan", "collect", "convergence", "diagnose", "rhat_limit"]
