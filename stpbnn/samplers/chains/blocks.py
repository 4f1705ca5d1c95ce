"""Markov chains side by side, drawn in blocks: one compiled program for any NumPyro kernel and any size of block."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro.infer import HMC
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import potential_energy

from stpbnn._interrupt import look
from stpbnn.samplers.chains.plan import Plan

__all__ = ["Block", "Chains"]

BLOCK, BLOCK_BYTES = 100, 2**26  # draws of a block where the plan does not say, if they take no more memory
SECONDS = 0.5  # between two looks at the clock, at Ctrl-C and at the progress bar
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

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Block:
    """Draws first..first + count of all chains, (chain, slot, ...), and the state of the chains after them.

    Attributes
    ----------
    first : int
        Number of the first draw; those of the warm-up are negative.
    count : int
        How many draws there are so far.
    state : pytree
        The kernel's state, with a leading axis of chains.
    store : dict of str to array
        Statistics and observables by name; only the first `count` slots are filled.
    """

    first: int
    count: int
    state: Any
    store: Any

    @property
    def done(self) -> int:
        """The number of the draw that comes next."""
        return self.first + self.count

    def arrays(self) -> Arrays:
        """Return the draws so far, (chain, count, ...)."""
        return {name: np.asarray(values)[:, : self.count] for name, values in self.store.items()}


@dataclass(frozen=True)
class Chains:
    """Chains of one NumPyro kernel with their observables, computed where the chains are.

    Every draw depends on the state before it and on its own number alone, so that neither the size of the blocks nor a
    pause between two of them changes a single bit. Chains are vectorised on a device, and spread over several.

    Parameters
    ----------
    build : callable
        Returns a new kernel; called inside of compiled functions, so that it must not depend on anything that changes.
    model : callable
        The NumPyro model of that kernel, for the density at the start.
    plan : Plan
        Their number, their warm-up and their seed.
    data : pytree of arrays
        Given to the three functions below.
    arguments : callable
        Positional arguments of the model, from the data.
    settings : mapping
        Keyword arguments of the model.
    observe : callable
        Observables of a draw by name, from a random key, the position of the chain and the data.
    weights : callable, optional
        The weights of a draw by name, from what `observe` is given; for the few draws that keep them.
    """

    build: Callable[[], MCMCKernel]
    model: Callable[..., Any]
    plan: Plan
    data: Any
    arguments: Callable[[Any], tuple[Any, ...]]
    settings: Mapping[str, Any]
    observe: Callable[[jax.Array, Any, Any], dict[str, jax.Array]]
    weights: Callable[[jax.Array, Any, Any], dict[str, jax.Array]] | None = None

    @cached_property
    def devices(self) -> int:
        """How many devices share the chains: as many as there are and divide their number."""
        return max(n for n in range(1, len(jax.local_devices()) + 1) if self.plan.chains % n == 0)

    @cached_property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(jax.local_devices()[: self.devices]), ("chain",))

    @cached_property
    def _keys(self) -> tuple[jax.Array, jax.Array]:
        """Return the keys of the chains, and those of their observables."""
        both = _split(jax.random.key(self.plan.seed), self.plan.chains)
        return self.placed(both[0]), self.placed(both[1])

    def placed(self, tree: Any) -> Any:
        """Put arrays with a leading axis of chains on the devices of their chains."""
        return jax.device_put(tree, NamedSharding(self._mesh, CHAIN)) if self.devices > 1 else tree

    def _over_chains(
        self, function: Callable[..., Any], batched: int, shared: int, options: dict[str, Any] | None = None
    ) -> Callable[..., Any]:
        """Compile a function of one chain for all of them; its first arguments belong to a chain, the last to all."""
        function = jax.vmap(function, in_axes=(0,) * batched + (None,) * shared)
        if self.devices > 1:
            specs = (CHAIN,) * batched + (PartitionSpec(),) * shared
            function = jax.shard_map(function, mesh=self._mesh, in_specs=specs, out_specs=CHAIN, check_vma=False)
        return jax.jit(function, compiler_options=options)

    def _init(self, kernel: MCMCKernel, key: jax.Array, data: Any) -> Any:
        return kernel.init(key, self.plan.warmup, None, self.arguments(data), dict(self.settings))

    @cached_property
    def _start(self) -> Callable[..., Any]:
        return self._over_chains(lambda key, data: self._init(self.build(), key, data), 1, 1, QUICKLY)

    @cached_property
    def _advance(self) -> Callable[..., Any]:
        """Return the compiled program: `count` steps of every chain from draw number `first`, into slots of a store."""

        def advance(
            state: Any, store: Any, keys: tuple[jax.Array, jax.Array], data: Any, first: int, slot: int, count: int
        ) -> Any:
            kernel = self.build()
            self._init(kernel, keys[0], data)  # for what kernels keep of it; unused, hence not computed

            def step(i: jax.Array, carry: Any) -> Any:
                state, store = carry
                state = kernel.sample(state, self.arguments(data), dict(self.settings))
                number = first + i
                observe = lambda: self._record(kernel, state, jax.random.fold_in(keys[1], number), data)  # noqa: E731
                empty = lambda: jax.tree.map(jnp.zeros_like, self.one[1])  # noqa: E731
                new = jax.lax.cond(number >= 0, observe, empty)
                put = lambda old, x: jax.lax.dynamic_update_index_in_dim(old, x, slot + i, 0)  # noqa: E731
                return state, jax.tree.map(put, store, new)

            return jax.lax.fori_loop(0, count, step, (state, store))

        return self._over_chains(advance, 3, 4)

    @cached_property
    def statistics(self) -> dict[str, str]:
        """The fields of a kernel's state to record, by ArviZ's names: all that it offers, apart from the position."""
        kernel = self.build()
        offered = STATISTICS if isinstance(kernel, HMC) else getattr(kernel, "statistics", kernel.default_fields)
        return {STATISTICS.get(field, field): field for field in offered if field != kernel.sample_field}

    def _record(self, kernel: MCMCKernel, state: Any, key: jax.Array, data: Any) -> dict[str, jax.Array]:
        """Return the statistics and the observables of one draw."""
        statistics = {name: attrgetter(field)(state) for name, field in self.statistics.items()}
        return statistics | self.observe(key, getattr(state, kernel.sample_field), data)

    @cached_property
    def one(self) -> tuple[Any, dict[str, jax.ShapeDtypeStruct]]:
        """The shapes of the state of one chain, and of what is recorded of a draw of it; nothing is computed."""
        key = jax.eval_shape(lambda: jax.random.key(0))
        state = jax.eval_shape(lambda key, data: self._init(self.build(), key, data), key, self.data)
        kernel = self.build()
        return state, jax.eval_shape(partial(self._record, kernel), state, key, self.data)

    def _of_all(self, shapes: Any) -> Any:
        return jax.tree.map(lambda one: jax.ShapeDtypeStruct((self.plan.chains, *one.shape), one.dtype), shapes)

    @cached_property
    def shapes(self) -> Any:
        """The shapes of the state of all chains, by which it is known again when it is read from a file."""
        return self._of_all(self.one[0])

    @cached_property
    def record_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes of what is recorded of one draw of all chains."""
        return self._of_all(self.one[1])

    def start(self) -> Any:
        """Return the state of all chains at their starts; ValueError where a chain finds none of finite density."""
        state = self._start(self._keys[0], self.data)
        energies = getattr(state, "potential_energy", None)
        if energies is None:
            position = getattr(state, self.build().sample_field)
            energies = jax.jit(jax.vmap(self._energy, in_axes=(0, None)))(position, self.data)
        bad = np.flatnonzero(~np.isfinite(energies))
        if len(bad):
            raise ValueError(
                f"chain {bad[0]}: no start of finite density among 100 draws of the prior; standardise X and y, or "
                "raise the temperature"
            )
        return state

    @cached_property
    def _weigh(self) -> Callable[..., Any]:
        """Return the compiled program for the weights of all chains; `observe` has the same key and position."""
        weights, field = self.weights, self.build().sample_field
        if weights is None:
            raise ValueError("weights: the chains do not say what the weights of a draw are")

        def weigh(state: Any, keys: tuple[jax.Array, jax.Array], data: Any, number: int) -> dict[str, jax.Array]:
            return weights(jax.random.fold_in(keys[1], number), getattr(state, field), data)

        return self._over_chains(weigh, 2, 2, QUICKLY)

    def weights_of(self, state: Any, number: int) -> Arrays:
        """Return the weights of draw `number` by name, (chain, ...) in single precision, from the state after it."""
        found = self._weigh(state, self._keys, self.data, number)
        return {name: np.asarray(values, np.float32) for name, values in found.items()}

    def _energy(self, position: Any, data: Any) -> jax.Array:
        return potential_energy(self.model, self.arguments(data), dict(self.settings), position)

    @cached_property
    def room(self) -> int:
        """How many draws a block has where the plan does not say."""
        one = sum(shape.size * shape.dtype.itemsize for shape in self.record_shapes.values())
        return max(1, min(BLOCK, BLOCK_BYTES // one))

    def store(self, slots: int) -> Any:
        """Return an empty store for so many draws; it has room for a block, so that one program serves few and many."""
        slots = max(slots, self.room)
        shapes = {name: ((s.shape[0], slots, *s.shape[1:]), s.dtype) for name, s in self.record_shapes.items()}
        return self.placed({name: jnp.asarray(np.zeros(*of)) for name, of in shapes.items()})

    def steps(self, block: Block, count: int) -> Iterator[Block]:
        """Go on until the block holds `count` draws, and give it about twice a second; it stays valid afterwards."""
        size = 1  # the first call compiles
        while block.count < count:
            look()
            size = min(size, count - block.count)
            start = time.perf_counter()
            state, store = self._advance(block.state, block.store, self._keys, self.data, block.done, block.count, size)
            block = replace(block, count=block.count + size, state=jax.block_until_ready(state), store=store)
            seconds = max(time.perf_counter() - start, 1e-6)
            yield block
            size = max(1, min(8 * size, math.ceil(size * SECONDS / seconds)))


@partial(jax.jit, static_argnums=1)
def _split(key: jax.Array, chains: int) -> jax.Array:
    """Return the keys of so many chains, and as many for their observables."""
    return jax.vmap(partial(jax.random.split, num=chains))(jax.random.split(key))
