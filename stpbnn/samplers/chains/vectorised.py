"""The compiled functions of all chains of a law: their start, steps with records, and weights.

A law says what is sampled. Temperature and data, which change from call to call, are arguments of the compiled
functions, so many posteriors share a program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.stages import Wrapped
from numpyro.infer import HMC
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import potential_energy

from stpbnn.activations import Activation

__all__ = ["Law", "Programs", "programs_of"]

CHAIN = PartitionSpec("chain")
QUICKLY = {"xla_backend_optimization_level": 0}  # compiled, for what is called a few times
STATISTICS = {  # where NumPyro's Hamiltonian kernels keep them: the names that ArviZ has for them
    "energy": "energy",
    "num_steps": "num_steps",
    "accept_prob": "accept_prob",
    "diverging": "diverging",
    "potential_energy": "potential",
    "adapt_state.step_size": "step_size",
}
REMEMBERED = 8  # laws whose programs are kept for the next posterior

Keys = tuple[jax.Array, jax.Array]  # the key of a chain, and that of its observables


@dataclass(frozen=True)
class Law:
    """What chains sample and what is recorded of a draw, as functions of the data; equal laws have equal hashes.

    A law without weights keeps the default `weights`, which has none.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network whose posterior, or whose process, is sampled.
    """

    net: Any
    sigma: Activation = field(init=False)  # kept, since its name may come to mean another one

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", self.net.sigma)

    @property
    def lasting(self) -> bool:
        """Whether equal laws have the same programs for ever: nothing in them is the caller's own."""
        return True

    @property
    def weighs(self) -> bool:
        """Whether `weights` is known."""
        return False

    @cached_property
    def model(self) -> Callable[..., Any]:
        """The NumPyro model."""
        raise NotImplementedError

    def build(self, inputs: Any) -> MCMCKernel:
        """Return a new kernel; called inside of compiled functions."""
        raise NotImplementedError

    def given(self, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and keyword arguments of the model."""
        raise NotImplementedError

    def observe(self, key: jax.Array, position: Any, inputs: Any) -> dict[str, jax.Array]:
        """Return the observables of a draw by name."""
        raise NotImplementedError

    def weights(self, key: jax.Array, position: Any, inputs: Any) -> dict[str, jax.Array]:
        """Return all weights of the draw that `observe` sees with the same key, of the original inputs."""
        return {}


def programs_of(law: Law, warmup: int, devices: int) -> Programs:
    """Return the programs of a law: those of an earlier call where nothing in it is the caller's own."""
    return (_remembered if law.lasting else Programs)(law, warmup, devices)


@lru_cache(maxsize=REMEMBERED)
def _remembered(law: Law, warmup: int, devices: int) -> Programs:
    return Programs(law, warmup, devices)


@dataclass(frozen=True)
class Programs:
    """Compiled functions of all chains; arguments of a chain have a leading axis of chains, the rest is shared.

    Parameters
    ----------
    law : Law
        What is sampled.
    warmup : int
        Steps of adaptation.
    devices : int
        How many devices share the chains.
    """

    law: Law
    warmup: int
    devices: int

    @cached_property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(jax.local_devices()[: self.devices]), ("chain",))

    def placed(self, tree: Any) -> Any:
        """Put arrays with a leading axis of chains on the devices of their chains."""
        return jax.device_put(tree, NamedSharding(self._mesh, CHAIN)) if self.devices > 1 else tree

    def _over_chains(
        self, function: Callable[..., Any], batched: int, shared: int, options: dict[str, Any] | None = None
    ) -> Wrapped:
        """Compile a function of one chain for all of them; its first arguments belong to a chain, the last to all."""
        function = jax.vmap(function, in_axes=(0,) * batched + (None,) * shared)
        if self.devices > 1:
            specs = (CHAIN,) * batched + (PartitionSpec(),) * shared
            function = jax.shard_map(function, mesh=self._mesh, in_specs=specs, out_specs=CHAIN, check_vma=False)
        return jax.jit(function, compiler_options=options)

    def init(self, kernel: MCMCKernel, key: jax.Array, data: Any) -> Any:
        """Return the state of one chain at its start."""
        return kernel.init(key, self.warmup, None, *self.law.given(data))

    @cached_property
    def start(self) -> Wrapped:
        """The program (key, data) for the states at the start."""
        return self._over_chains(lambda key, data: self.init(self.law.build(data), key, data), 1, 1, QUICKLY)

    @cached_property
    def energies(self) -> Callable[..., Any]:
        """The program (position, data) for the potential energies."""

        def energy(position: Any, data: Any) -> jax.Array:
            return potential_energy(self.law.model, *self.law.given(data), position)

        return jax.jit(jax.vmap(energy, in_axes=(0, None)))

    @cached_property
    def advance(self) -> Wrapped:
        """The program for `count` steps from draw number `first`, into slots of a store, and positions of some.

        Its arguments are state, store, kept, keys; data, first, slot, count, places. The draw in slot i of the store
        leaves its position in slot places[i] of `kept`, unless that is negative.
        """

        def advance(
            state: Any, store: Any, kept: Any, keys: Keys, data: Any, first: int, slot: int, count: int, places: Any
        ) -> Any:
            kernel = self.law.build(data)
            self.init(kernel, keys[0], data)  # sets what a kernel keeps; its result is not used, hence not computed
            arguments = self.law.given(data)
            shapes = jax.eval_shape(self._recorded, state, keys[1], data)
            put = jax.lax.dynamic_update_index_in_dim

            def step(i: jax.Array, carry: Any) -> Any:
                state, store, kept = carry
                state = kernel.sample(state, *arguments)
                number = first + i
                observe = lambda: self._recorded(state, jax.random.fold_in(keys[1], number), data)  # noqa: E731
                empty = lambda: jax.tree.map(jnp.zeros_like, shapes)  # noqa: E731
                new = jax.lax.cond(number >= 0, observe, empty)
                store = jax.tree.map(lambda old, x: put(old, x, slot + i, 0), store, new)
                if jax.tree.leaves(kept):
                    position, place = getattr(state, kernel.sample_field), places[slot + i]
                    keep = lambda: jax.tree.map(lambda old, x: put(old, x, place, 0), kept, position)  # noqa: E731
                    kept = jax.lax.cond(place >= 0, keep, lambda: kept)
                return state, store, kept

            return jax.lax.fori_loop(0, count, step, (state, store, kept))

        return self._over_chains(advance, 4, 5)

    @cached_property
    def weigh(self) -> Wrapped:
        """The program (kept, keys, data, numbers) for the weights of draws of these numbers; keys as `observe` has."""

        def weigh(kept: Any, keys: Keys, data: Any, numbers: jax.Array) -> dict[str, jax.Array]:
            def one(position: Any, number: jax.Array) -> dict[str, jax.Array]:
                return self.law.weights(jax.random.fold_in(keys[1], number), position, data)

            return jax.lax.map(lambda each: one(*each), (kept, numbers))

        return self._over_chains(weigh, 2, 2, QUICKLY)

    def statistics(self, kernel: MCMCKernel) -> dict[str, str]:
        """Return the fields of a kernel's state to record, by ArviZ's names: all that it offers but the position."""
        offered = STATISTICS if isinstance(kernel, HMC) else getattr(kernel, "statistics", kernel.default_fields)
        return {STATISTICS.get(field, field): field for field in offered if field != kernel.sample_field}

    @cached_property
    def _recorded(self) -> Callable[..., dict[str, jax.Array]]:
        """Return `_record`, traced once for all programs that it is part of."""
        return jax.jit(self._record, inline=True)

    def _record(self, state: Any, key: jax.Array, data: Any) -> dict[str, jax.Array]:
        """Return the statistics and the observables of one draw."""
        kernel = self.law.build(data)
        statistics = {name: attrgetter(field)(state) for name, field in self.statistics(kernel).items()}
        return statistics | self.law.observe(key, getattr(state, kernel.sample_field), data)

    def shapes(self, data: Any) -> tuple[Any, dict[str, jax.ShapeDtypeStruct]]:
        """Return the shapes of the state of one chain, and of what is recorded of a draw of it; nothing is computed."""
        key = jax.eval_shape(lambda: jax.random.key(0))
        state = jax.eval_shape(lambda key, data: self.init(self.law.build(data), key, data), key, data)
        return state, jax.eval_shape(self._recorded, state, key, data)

    def weight_shapes(self, state: Any, data: Any) -> Mapping[str, jax.ShapeDtypeStruct]:
        """Return the shapes of the weights of a draw, from those of the state of one chain."""
        key, field = jax.eval_shape(lambda: jax.random.key(0)), self.law.build(data).sample_field
        return jax.eval_shape(self.law.weights, key, getattr(state, field), data)
