"""The samplers by name: kernels with the settings that whitened weights ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpyro.infer.mcmc import MCMCKernel

from stpbnn.network import FullyConnected
from stpbnn.samplers.hamiltonian import SplitHMC
from stpbnn.samplers.langevin import MALA, Langevin, paper_scales
from stpbnn.samplers.no_u_turn import SplitNUTS

__all__ = ["hmc", "langevin", "mala", "nuts"]

Model = Callable[..., Any]


def nuts(model: Model) -> MCMCKernel:
    """Return the no-U-turn sampler whose steps are exact for the prior."""
    return SplitNUTS(model)


def hmc(model: Model) -> MCMCKernel:
    """Return Hamiltonian Monte Carlo whose steps are exact for the prior."""
    return SplitHMC(model)


def mala(model: Model) -> MCMCKernel:
    """Return the Metropolis-adjusted Langevin kernel, ten steps a draw."""
    return MALA(model, num_steps=10)


def langevin(model: Model, net: FullyConnected | None = None, temperature: float = 1.0) -> MCMCKernel:
    """Return the unadjusted Langevin kernel: with a network, the paper's dynamics at step size 1e-3 on raw weights."""
    return Langevin(model, step_size=1e-3, scales=None if net is None else paper_scales(net, temperature))
