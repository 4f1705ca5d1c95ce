"""From chains to a tree: what the posteriors of networks and of processes have in common."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.stages import Lowered
from numpyro.infer import NUTS
from numpyro.infer.mcmc import MCMCKernel
from threadpoolctl import threadpool_limits

from stpbnn._backend import make_room_for_programs
from stpbnn._memory import refuse_beyond
from stpbnn.network import Network
from stpbnn.samplers.chains.blocks import Chains
from stpbnn.samplers.chains.checkpoint import Checkpoint
from stpbnn.samplers.chains.collecting import Collector
from stpbnn.samplers.chains.diagnosis import diagnose, warn_of_chains
from stpbnn.samplers.chains.fingerprint import fingerprint
from stpbnn.samplers.chains.plan import KEPT_BYTES, Plan, chosen, count, rooms, spaced
from stpbnn.samplers.draws import Data, to_datatree
from stpbnn.samplers.transitions import SplitNUTS

__all__ = ["Posed", "collect"]

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds between two writes to the checkpoint, where the plan does not say how large blocks are


@dataclass(frozen=True)
class Posed:
    """A posterior that is not sampled yet.

    Parameters
    ----------
    net, original : Network, Data
        What is sampled.
    engine : Chains
        What draws, and by which plan.
    settings : mapping
        Settings that decide on the draws beside the plan, to be checked by a checkpoint and recorded.
    sampler : str
        The name of the sampler; by default that of its kernel.
    temperature : float or numpyro.distributions.Distribution
        T, or its prior.
    """

    net: Network
    original: Data
    engine: Chains
    settings: Mapping[str, Any]
    sampler: str
    temperature: Any

    @cached_property
    def plan(self) -> Plan:
        """The plan, with the size of its blocks."""
        plan = self.engine.plan
        return replace(plan, block=plan.block or min(self.engine.room, plan.draws))

    @cached_property
    def kept(self) -> int:
        """How many draws of each chain keep their weights."""
        return _kept(self.engine)

    @property
    def precision(self) -> AbstractContextManager[Any]:
        """A context with the precision of the data, for what is done outside of the function that posed it."""
        return jax.enable_x64(self.original.X.dtype == np.float64)

    def lowered(self) -> list[Lowered]:
        """Return the programs that `collect` runs, to be compiled ahead of it, in any thread."""
        with self.precision:
            return self.engine.lowered(*rooms(self.plan, spaced(self.plan.draws, self.kept)))


def collect(posed: Posed) -> xr.DataTree:
    """Draw, block after block, and return the draws as a tree with a verdict on its chains."""
    net, original, engine, temperature = posed.net, posed.original, posed.engine, posed.temperature
    make_room_for_programs()  # after many posteriors of other sizes in this process
    plan, settings = engine.plan, {**engine.plan.deciding, **posed.settings}
    kernel = engine.kernel
    one = sum(shape.size * shape.dtype.itemsize for shape in _recorded(engine, kernel).values())
    whose = f"draws: got {plan.draws} of {plan.chains} chains, whose records"
    remedy = "take fewer draws, chains or test points, or keep='observables'"
    refuse_beyond(one * plan.chains * plan.draws, whose, remedy)
    patience = 0.0 if plan.block else PATIENCE
    plan = posed.plan
    mark = fingerprint(net, original, kernel, temperature, {**settings, "devices": engine.devices})
    limits = threadpool_limits(1, user_api="blas") if jax.default_backend() == "cpu" else nullcontext()
    with limits, nullcontext() if plan.checkpoint is None else Checkpoint(plan.checkpoint, mark) as folder:
        collector = Collector(engine, plan, folder, spaced(plan.draws, posed.kept), patience)
        collector.run()

    attributes = {
        **settings,
        "draws": collector.done,
        "sampler": posed.sampler or type(kernel).__name__,
        "temperature": temperature if isinstance(temperature, float) else str(temperature),
        "precision": str(original.X.dtype),
        "stopped": collector.stopped,
        "wall_time_s": collector.seconds,
    }
    if plan.until:
        attributes["until"] = json.dumps(plan.until)
    if isinstance(kernel, NUTS):
        attributes["max_tree_depth"] = np.max(kernel._max_tree_depth)
    elif isinstance(kernel, SplitNUTS):
        attributes["max_tree_depth"] = kernel.max_tree_depth
    recorded = collector.arrays
    statistics = {name: recorded.pop(name) for name in engine.statistics}
    if "potential" in statistics:
        statistics["lp"] = -statistics.pop("potential")
    kept = {number: collector.kept[number] for number in chosen(collector.kept, spaced(collector.done, posed.kept))}
    posterior = to_datatree(net, original, recorded, statistics, attributes, engine.data.references, kept)
    diagnosis = diagnose(posterior)
    posterior.attrs |= {name: diagnosis.attrs[name] for name in ("verdict", "remedy")}
    if collector.stopped == "interrupted":
        warnings.warn(f"interrupted: {collector.done} of {plan.draws} draws are returned", stacklevel=3)
    warn_of_chains(diagnosis, collector.done)
    return posterior


def _kept(engine: Chains) -> int:
    """Return how many draws of each chain keep their weights, as many as there is room for."""
    plan = engine.plan
    if not plan.keep_draws or not engine.law.weighs:
        return 0
    one = sum(shape.size for shape in engine.weight_shapes.values())
    each = count(plan.keep_draws, plan.chains, plan.draws, one)
    if each * plan.chains < min(plan.keep_draws, plan.draws * plan.chains) - plan.chains:
        logger.info(
            "keep_draws: got %d, of which %d fit into %d MB: a draw has %d weights",
            *(plan.keep_draws, each * plan.chains, KEPT_BYTES // 2**20, one),
        )
    return each


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
