"""From chains to a tree: the way that posteriors of networks and of processes have in common."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer import HMC, NUTS
from numpyro.infer.mcmc import MCMCKernel
from threadpoolctl import threadpool_limits

from stpbnn import _validation as check
from stpbnn.network import FullyConnected
from stpbnn.samplers.blocks import Chains
from stpbnn.samplers.checkpoint import Checkpoint
from stpbnn.samplers.collecting import Collector
from stpbnn.samplers.diagnostics import diagnose, warn_of_chains
from stpbnn.samplers.fingerprint import fingerprint
from stpbnn.samplers.no_u_turn import SplitNUTS
from stpbnn.samplers.observables import Data
from stpbnn.samplers.tree import to_datatree

__all__ = ["checked_data", "collect", "statistics_of"]

STATISTICS = {  # ArviZ's name: where NumPyro's Hamiltonian kernels keep it
    "energy": "energy",
    "num_steps": "num_steps",
    "accept_prob": "accept_prob",
    "diverging": "diverging",
    "potential": "potential_energy",
    "step_size": "adapt_state.step_size",
}
BLOCK, BLOCK_BYTES = 100, 2**26


def checked_data(net: FullyConnected, X: Any, y: Any, X_test: Any, y_test: Any) -> Data:
    """Check the data and put them on the device, in JAX's default precision."""
    check.instance("net", net, FullyConnected)
    X = check.inputs("X", X)
    y = check.targets("y", y, examples=len(X), outputs=net.outputs)
    if X_test is None:
        if y_test is not None:
            raise ValueError("y_test: got targets without X_test; give the test inputs as well")
        return Data(jnp.asarray(X), jnp.asarray(y))
    X_test = check.inputs("X_test", X_test, features=X.shape[1])
    if y_test is not None:
        y_test = jnp.asarray(check.targets("y_test", y_test, examples=len(X_test), outputs=net.outputs))
    return Data(jnp.asarray(X), jnp.asarray(y), jnp.asarray(X_test), y_test)


def statistics_of(kernel: MCMCKernel) -> dict[str, str]:
    """Return the fields of a kernel's state to record by ArviZ's names: what it offers, apart from the position."""
    offered = STATISTICS.values() if isinstance(kernel, HMC) else getattr(kernel, "statistics", kernel.default_fields)
    names = {field: name for name, field in STATISTICS.items()}
    return {names.get(field, field): field for field in offered if field != kernel.sample_field}


def collect(
    net: FullyConnected,
    original: Data,
    engine: Chains,
    settings: Mapping[str, Any],
    *,
    draws: int,
    sampler: str,
    temperature: Any,
    until: Mapping[str, float] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    block: int | None = None,
    progress: bool = True,
) -> xr.DataTree:
    """Draw, block after block, and return the draws as a tree with a verdict on its chains.

    Parameters
    ----------
    net, original : FullyConnected, Data
        What is sampled.
    engine : Chains
        What draws.
    settings : mapping
        Settings that decide on the draws, to be checked by a checkpoint and recorded.
    draws, until, checkpoint, block, progress
        As for `sample`, checked.
    sampler : str
        The name of the sampler; by default that of its kernel.
    temperature : float or numpyro.distributions.Distribution
        T, or its prior.
    """
    block = block or _block(draws, engine)
    kernel = engine.build()
    mark = fingerprint(net, original, kernel, temperature, {**settings, "devices": engine.devices})
    limits = threadpool_limits(1, user_api="blas") if jax.default_backend() == "cpu" else nullcontext()
    with limits, nullcontext() if checkpoint is None else Checkpoint(checkpoint, mark) as folder:
        collector = Collector(engine, draws, block, until or {}, folder, progress)
        collector.run()

    attributes = {
        **settings,
        "draws": collector.done,
        "sampler": sampler or type(kernel).__name__,
        "temperature": temperature if isinstance(temperature, float) else str(temperature),
        "precision": str(original.X.dtype),
        "stopped": collector.stopped,
        "wall_time_s": collector.seconds,
    }
    if until:
        attributes["until"] = json.dumps(until)
    if isinstance(kernel, NUTS):
        attributes["max_tree_depth"] = np.max(kernel._max_tree_depth)
    elif isinstance(kernel, SplitNUTS):
        attributes["max_tree_depth"] = kernel.max_tree_depth
    recorded = collector.arrays
    statistics = {name: recorded.pop(name) for name in engine.statistics}
    if "potential" in statistics:
        statistics["lp"] = -statistics.pop("potential")
    posterior = to_datatree(net, original, recorded, statistics, attributes, engine.data.references)
    diagnosis = diagnose(posterior)
    posterior.attrs |= {name: diagnosis.attrs[name] for name in ("verdict", "remedy")}
    if collector.stopped == "interrupted":
        warnings.warn(f"interrupted: {collector.done} of {draws} draws are returned", stacklevel=3)
    warn_of_chains(diagnosis, collector.done)
    return posterior


def _block(draws: int, chains: Chains) -> int:
    """Return the size of a block that takes no more than some megabytes."""
    size = sum(shape.size * shape.dtype.itemsize for shape in chains.record_shapes.values())
    return max(1, min(BLOCK, draws, BLOCK_BYTES // size))
