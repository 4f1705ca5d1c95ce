"""From chains to a tree: the way that posteriors of networks and of processes have in common."""

from __future__ import annotations

import json
import logging
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
from stpbnn._memory import refuse_beyond
from stpbnn.network import FullyConnected
from stpbnn.samplers.blocks import Chains
from stpbnn.samplers.checkpoint import Checkpoint
from stpbnn.samplers.collecting import Collector
from stpbnn.samplers.diagnostics import diagnose, warn_of_chains
from stpbnn.samplers.fingerprint import fingerprint
from stpbnn.samplers.no_u_turn import SplitNUTS
from stpbnn.samplers.observables import Data
from stpbnn.samplers.thinning import KEPT_BYTES, chosen, count, spaced
from stpbnn.samplers.tree import to_datatree

__all__ = ["checked_counts", "checked_data", "collect", "room_for_chains", "statistics_of"]

logger = logging.getLogger(__name__)

STATISTICS = {  # ArviZ's name: where NumPyro's Hamiltonian kernels keep it
    "energy": "energy",
    "num_steps": "num_steps",
    "accept_prob": "accept_prob",
    "diverging": "diverging",
    "potential": "potential_energy",
    "step_size": "adapt_state.step_size",
}
BLOCK, BLOCK_BYTES = 100, 2**26
COPIES = 4  # of what a chain moves: position, momentum, gradient, proposal
MOST = 2**31  # steps, which are counted in 32 bits


def checked_counts(warmup: Any, chains: Any, seed: Any) -> dict[str, Any]:
    """Check the numbers that every posterior has."""
    return {
        "warmup": check.integer("warmup", warmup, minimum=0, below=MOST),
        "chains": check.integer("chains", chains),
        "seed": check.integer("seed", seed, minimum=0, below=2**32),
    }


def room_for_chains(numbers: int, whose: str, remedy: str, chains: int) -> None:
    """Refuse chains that need more memory than there is, each of them moving so many numbers.

    Parameters
    ----------
    numbers : int
        How many numbers the position of a chain, and what it is computed from, have.
    whose : str
        The argument that they follow from, and what they are: "net: got widths (5,), whose weights and features".
    remedy : str
        What to do where one chain is too much.
    chains : int
        Number of chains.
    """
    each = COPIES * numbers * jnp.zeros(0).dtype.itemsize
    refuse_beyond(each, whose, remedy)
    refuse_beyond(each * chains, f"chains: got {chains}, which", "take fewer chains")


def _in_range(what: str, values: np.ndarray, rows: int) -> jax.Array:
    """Return values in JAX's default precision; refuse those whose sums of fourth powers it cannot hold."""
    given = jnp.zeros(0).dtype
    with np.errstate(over="ignore"):
        square = float(np.max(np.mean(values.reshape(len(values), -1) ** 2, axis=1)))
    if not square * rows < float(np.finfo(given).max) ** 0.5 / 10:
        wider = ", or use double precision: JAX_ENABLE_X64=1" if given == np.float32 else ""
        raise ValueError(
            f"{what}: got numbers up to {np.abs(values).max():.3g}, whose products are out of the range of {given}; "
            f"standardise the {'targets' if what.startswith('y') else 'inputs'}{wider}"
        )
    return jnp.asarray(values)


def checked_data(net: FullyConnected, X: Any, y: Any, X_test: Any, y_test: Any) -> Data:
    """Check the data and put them on the device, in JAX's default precision."""
    check.instance("net", net, FullyConnected)
    X = check.inputs("X", X)
    y = check.targets("y", y, examples=len(X), outputs=net.outputs)
    if y_test is not None and X_test is None:
        raise ValueError("y_test: got targets without X_test; give the test inputs as well")
    given = {"X": X, "y": y}
    if X_test is not None:
        given["X_test"] = check.inputs("X_test", X_test, features=X.shape[1])
    if y_test is not None:
        given["y_test"] = check.targets("y_test", y_test, examples=len(given["X_test"]), outputs=net.outputs)
    return Data(**{name: _in_range(name, values, len(X)) for name, values in given.items()})


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
    keep_draws: int = 0,
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
    draws, until, checkpoint, block, keep_draws, progress
        As for `sample`; draws, until, block and keep_draws are checked.
    sampler : str
        The name of the sampler; by default that of its kernel.
    temperature : float or numpyro.distributions.Distribution
        T, or its prior.
    """
    progress = check.boolean("progress", progress)
    if checkpoint is not None:
        check.path("checkpoint", checkpoint, "the path of a folder, or None")
    kernel = engine.build()
    one = sum(shape.size * shape.dtype.itemsize for shape in _recorded(engine, kernel).values())
    whose = f"draws: got {draws} of {engine.chains} chains, whose records"
    refuse_beyond(one * engine.chains * draws, whose, "take fewer draws, chains or test points, or keep='observables'")
    block = block or max(1, min(BLOCK, draws, BLOCK_BYTES // (one * engine.chains)))
    mark = fingerprint(net, original, kernel, temperature, {**settings, "devices": engine.devices})
    limits = threadpool_limits(1, user_api="blas") if jax.default_backend() == "cpu" else nullcontext()
    with limits, nullcontext() if checkpoint is None else Checkpoint(checkpoint, mark) as folder:
        each = _kept(engine, keep_draws, draws)
        collector = Collector(engine, draws, block, until or {}, folder, progress, spaced(draws, each))
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
    kept = {number: collector.kept[number] for number in chosen(collector.kept, spaced(collector.done, each))}
    posterior = to_datatree(net, original, recorded, statistics, attributes, engine.data.references, kept)
    diagnosis = diagnose(posterior)
    posterior.attrs |= {name: diagnosis.attrs[name] for name in ("verdict", "remedy")}
    if collector.stopped == "interrupted":
        warnings.warn(f"interrupted: {collector.done} of {draws} draws are returned", stacklevel=3)
    warn_of_chains(diagnosis, collector.done)
    return posterior


def _kept(engine: Chains, keep_draws: int, draws: int) -> int:
    """Return how many draws of each chain keep their weights, as many as there is room for."""
    if not keep_draws or engine.weights is None:
        return 0
    shapes = jax.eval_shape(engine.weights, jax.eval_shape(lambda: jax.random.key(0)), _position(engine), engine.data)
    one = sum(shape.size for shape in shapes.values())
    each = count(keep_draws, engine.chains, draws, one)
    if each * engine.chains < min(keep_draws, draws * engine.chains) - engine.chains:
        logger.info(
            "keep_draws: got %d, of which %d fit into %d MB: a draw has %d weights",
            *(keep_draws, each * engine.chains, KEPT_BYTES // 2**20, one),
        )
    return each


def _position(engine: Chains) -> Any:
    """Return the shapes of the position of one chain."""
    return getattr(engine.one[0], engine.build().sample_field)


def _recorded(engine: Chains, kernel: MCMCKernel) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of what is recorded of a draw of one chain; ValueError where the kernel does not suit."""
    try:
        return engine.one[1]
    except ValueError:
        raise
    except Exception as error:  # whatever a kernel of somebody else raises
        said = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
        raise ValueError(
            f"sampler: {type(kernel).__name__} cannot sample this model ({said}); take another kernel, such as "
            "lambda model: numpyro.infer.NUTS(model)"
        ) from error
