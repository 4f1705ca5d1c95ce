"""The samplers by name: kernels with the settings that whitened weights ask for, and those of the caller."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from numpyro.distributions import Distribution
from numpyro.infer.ensemble import EnsembleSampler
from numpyro.infer.mcmc import MCMCKernel

from stpbnn import _validation as check
from stpbnn.network import Network
from stpbnn.samplers.transitions.hamiltonian import SplitHMC
from stpbnn.samplers.transitions.langevin import MALA, Langevin, paper_scales
from stpbnn.samplers.transitions.no_u_turn import SplitNUTS
from stpbnn.samplers.transitions.tempering import Tempered

__all__ = ["Sampler", "built_by", "named"]

Sampler = Callable[[Callable[..., Any]], MCMCKernel]

ROWS = ("W1",)  # the weights of an input are a row: inputs differ in how far the data pin them down, units do not

SAMPLERS: dict[str, Sampler] = {
    "hmc": partial(SplitHMC, rows=ROWS),
    "nuts": partial(SplitNUTS, rows=ROWS),
    "mala": lambda model: MALA(model, num_steps=10),
    "tempered": Tempered,
    "langevin": lambda model: Langevin(model, step_size=1e-3),
}


def named(sampler: str, net: Network, temperature: Any) -> Sampler:
    """Return the sampler of this name, which makes a kernel from a model; at fixed T "langevin" is the paper's.

    Parameters
    ----------
    sampler : {"hmc", "nuts", "tempered", "mala", "langevin"}
        The name.
    net : Network
        The network; its precisions λ set the scales c = Tλ of "langevin".
    temperature : float, numpyro.distributions.Distribution or None
        T, its prior, or None for a prior; T may be traced.
    """
    if isinstance(sampler, MCMCKernel):
        kind = type(sampler).__name__
        raise ValueError(
            f"sampler: got a kernel that is made already, {kind}, expected what makes it from the model: "
            f"lambda model: {kind}(model)"
        )
    name = check.one_of("sampler", sampler, SAMPLERS)
    if name == "langevin" and not isinstance(temperature, Distribution | None):
        return lambda model: Langevin(model, step_size=1e-3, scales=paper_scales(net, temperature))
    return SAMPLERS[name]


def built_by(sampler: Sampler) -> Sampler:
    """Return a sampler of the caller's own, which refuses to build what is no kernel."""

    def build(model: Callable[..., Any]) -> MCMCKernel:
        kernel = sampler(model)
        if not isinstance(kernel, MCMCKernel):
            raise ValueError(
                f"sampler: the callable returned {kernel!r}, expected a NumPyro MCMCKernel, such as "
                "lambda model: numpyro.infer.NUTS(model)"
            )
        if isinstance(kernel, EnsembleSampler):
            raise ValueError(
                f"sampler: {type(kernel).__name__} moves an ensemble of chains together, expected a kernel whose "
                "chains are independent, such as lambda model: numpyro.infer.NUTS(model)"
            )
        return kernel

    return build
