"""Markov chains side by side, drawn in blocks: one compiled program for any size of block."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax.stages import Lowered
from numpyro.infer.mcmc import MCMCKernel

from stpbnn._interrupt import look
from stpbnn.samplers.chains.plan import Plan
from stpbnn.samplers.chains.vectorised import Law, Programs, programs_of

__all__ = ["Block", "Chains"]

BLOCK, BLOCK_BYTES = 100, 2**26  # draws of a block where the plan does not say, if they take no more memory
SECONDS = 0.5  # between two looks at the clock, at Ctrl-C and at the progress bar

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
    kept : pytree
        The positions of the draws that keep their weights, (chain, slot, ...); nothing where none do.
    keep : tuple of int
        The numbers of these draws, in their order.
    """

    first: int
    count: int
    state: Any
    store: Any
    kept: Any = ()
    keep: tuple[int, ...] = ()

    @property
    def done(self) -> int:
        """The number of the draw that comes next."""
        return self.first + self.count

    def arrays(self) -> Arrays:
        """Return the draws so far, (chain, count, ...)."""
        return {name: np.asarray(values)[:, : self.count] for name, values in self.store.items()}


@dataclass(frozen=True)
class Chains:
    """Chains of one law, with what is recorded of their draws, computed where the chains are.

    Every draw depends on the state before it and on its own number alone, so that neither the size of the blocks nor a
    pause between two of them changes a single bit. Chains are vectorised on a device, and spread over several.

    Parameters
    ----------
    law : Law
        What is sampled, and what is recorded.
    plan : Plan
        Their number, their warm-up and their seed.
    data : pytree of arrays
        Given to the functions of the law.
    """

    law: Law
    plan: Plan
    data: Any

    @cached_property
    def devices(self) -> int:
        """How many devices share the chains: as many as there are and divide their number."""
        return max(n for n in range(1, len(jax.local_devices()) + 1) if self.plan.chains % n == 0)

    @cached_property
    def _programs(self) -> Programs:
        return programs_of(self.law, self.plan.warmup, self.devices)

    @cached_property
    def _keys(self) -> tuple[jax.Array, jax.Array]:
        """Return the keys of the chains, and those of their observables."""
        of_chains, of_observables = _keys(np.uint32(self.plan.seed), self.plan.chains)
        return self.placed(of_chains), self.placed(of_observables)

    def placed(self, tree: Any) -> Any:
        """Put arrays with a leading axis of chains on the devices of their chains."""
        return self._programs.placed(tree)

    @cached_property
    def kernel(self) -> MCMCKernel:
        """A kernel of the law: its settings, and the names of its fields."""
        return self.law.build(self.data)

    @cached_property
    def statistics(self) -> dict[str, str]:
        """The fields of a kernel's state that are recorded, by ArviZ's names."""
        return self._programs.statistics(self.kernel)

    @cached_property
    def one(self) -> tuple[Any, dict[str, jax.ShapeDtypeStruct]]:
        """The shapes of the state of one chain, and of what is recorded of a draw of it; nothing is computed."""
        return self._programs.shapes(self.data)

    @cached_property
    def weight_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes of the weights of one draw, none where they are not known."""
        return dict(self._programs.weight_shapes(self.one[0], self.data)) if self.law.weighs else {}

    def _of_all(self, shapes: Any, *more: int) -> Any:
        def of_all(one: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((self.plan.chains, *more, *one.shape), one.dtype)

        return jax.tree.map(of_all, shapes)

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
        state = self._programs.start(self._keys[0], self.data)
        energies = getattr(state, "potential_energy", None)
        if energies is None:
            energies = self._programs.energies(getattr(state, self.kernel.sample_field), self.data)
        bad = np.flatnonzero(~np.isfinite(energies))
        if len(bad):
            raise ValueError(
                f"chain {bad[0]}: no start of finite density among 100 draws of the prior; standardise X and y, or "
                "raise the temperature"
            )
        return state

    def weights_of(self, block: Block) -> dict[int, Arrays]:
        """Return the weights of the draws of a block that keep them, (chain, ...) in single precision, by number."""
        numbers = [number for number in block.keep if number < block.done]
        if not numbers:
            return {}
        room = jax.tree.leaves(block.kept)[0].shape[1]
        padded = np.resize(np.asarray(numbers, np.int32), room)
        found = self._programs.weigh(block.kept, self._keys, self.data, padded)
        of_all = {name: np.asarray(values, np.float32) for name, values in found.items()}
        return {number: {name: values[:, i] for name, values in of_all.items()} for i, number in enumerate(numbers)}

    @cached_property
    def room(self) -> int:
        """How many draws a block has where the plan does not say."""
        one = sum(shape.size * shape.dtype.itemsize for shape in self.record_shapes.values())
        return max(1, min(BLOCK, BLOCK_BYTES // one))

    def store(self, slots: int) -> Any:
        """Return an empty store for so many draws; it has room for a block, so that one program serves few and many."""
        slots = max(slots, self.room)
        shapes = {name: ((s.shape[0], slots, *s.shape[1:]), s.dtype) for name, s in self.record_shapes.items()}
        return self.placed({name: np.zeros(*of) for name, of in shapes.items()})

    def room_for_weights(self, slots: int) -> Any:
        """Return an empty store for the positions of so many draws, nothing for none."""
        if not slots:
            return ()
        shapes = self._of_all(getattr(self.one[0], self.kernel.sample_field), slots)
        return self.placed(jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), shapes))

    def lowered(self, slots: int, kept: int) -> list[Lowered]:
        """Return the programs for blocks of so many draws, the longest first, not compiled yet; on one device alone.

        A program that is compiled is the one that the next call with arguments of these shapes runs.
        """
        if self.devices > 1:  # whose arguments are placed
            return []
        store, room, programs = self.store(slots), self.room_for_weights(kept), self._programs
        arguments = store, room, self._keys, self.data, 0, 0, 1, _places(store)
        begun = jax.eval_shape(programs.start, self._keys[0], self.data)
        found = [programs.advance.lower(begun, *arguments), programs.start.lower(self._keys[0], self.data)]
        if kept:
            found.append(programs.weigh.lower(room, self._keys, self.data, np.zeros(kept, np.int32)))
        return found

    def steps(self, block: Block, count: int) -> Iterator[Block]:
        """Yield the block about twice a second until it holds `count` draws; it stays valid afterwards."""
        places = _places(block.store)
        places[np.asarray(block.keep, int) - block.first] = np.arange(len(block.keep))
        size = 1  # the first call compiles
        while block.count < count:
            look()
            size = min(size, count - block.count)
            start = time.perf_counter()
            before = block.state, block.store, block.kept
            after = self._programs.advance(*before, self._keys, self.data, block.done, block.count, size, places)
            state, store, kept = jax.block_until_ready(after)
            block = replace(block, count=block.count + size, state=state, store=store, kept=kept)
            seconds = max(time.perf_counter() - start, 1e-6)
            yield block
            size = max(1, min(8 * size, math.ceil(size * SECONDS / seconds)))


def _places(store: Any) -> np.ndarray:
    """Return the places in `kept` of the slots of a store, none as yet."""
    return np.full(jax.tree.leaves(store)[0].shape[1], -1, np.int32)


@partial(jax.jit, static_argnums=1)
def _keys(seed: jax.Array, chains: int) -> tuple[jax.Array, jax.Array]:
    """Return the keys of so many chains, and as many for their observables."""
    both = jax.random.split(jax.random.key(seed))
    return jax.random.split(both[0], chains), jax.random.split(both[1], chains)
