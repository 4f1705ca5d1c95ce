"""How long chains run, how many there are, when they stop, where their draws go, and which keep their weights."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from stpbnn import _validation as check
from stpbnn._memory import refuse_beyond

__all__ = ["KEPT_BYTES", "Plan", "chosen", "count", "rooms", "spaced"]

GOALS = {"ess": 0.0, "rhat": 1.0, "seconds": 0.0}  # of `until`, and what each must exceed
COPIES = 4  # of what a chain moves: position, momentum, gradient, proposal
KEPT_BYTES = 2**23  # of all weights that are kept, at 4 bytes each
MOST = 2**31  # steps, which are counted in 32 bits


@dataclass(frozen=True)
class Plan:
    """The arguments of `stpbnn.sample` that say how its chains run, each of them checked.

    Raises
    ------
    ValueError
        If one is out of its range.

    Examples
    --------
    >>> Plan(warmup=500, draws=1000, chains=4, seed=0).deciding
    {'warmup': 500, 'chains': 4, 'seed': 0}
    """

    warmup: int
    draws: int
    chains: int
    seed: int
    until: Mapping[str, float] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    block: int | None = None
    keep_draws: int = 0
    progress: bool = True

    def __post_init__(self) -> None:
        checked = {
            "warmup": check.integer("warmup", self.warmup, minimum=0, below=MOST),
            "chains": check.integer("chains", self.chains),
            "seed": check.integer("seed", self.seed, minimum=0, below=2**32),
            "draws": check.integer("draws", self.draws, below=MOST),
            "until": self._goals(),
            "keep_draws": check.integer("keep_draws", self.keep_draws, minimum=0, below=MOST),
            "progress": check.boolean("progress", self.progress),
        }
        if self.checkpoint is not None:
            check.path("checkpoint", self.checkpoint, "the path of a folder, or None")
        if self.block is not None and check.integer("block", self.block) > self.draws:
            raise ValueError(
                f"block: got {self.block}, expected at most the {self.draws} draws; take fewer, or leave it out"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def deciding(self) -> dict[str, Any]:
        """The numbers that decide on the draws; more draws change none of those before."""
        return {"warmup": self.warmup, "chains": self.chains, "seed": self.seed}

    def refuse_beyond_memory(self, numbers: int, whose: str, remedy: str) -> None:
        """Refuse chains that need more memory than there is, if each of them moves so many numbers.

        Parameters
        ----------
        numbers : int
            How many numbers the position of a chain, and what it is computed from, have.
        whose : str
            The argument that they follow from, and what they are: "net: got widths (5,), whose weights and features".
        remedy : str
            What to do where one chain is too much.
        """
        each = COPIES * numbers * jnp.zeros(0).dtype.itemsize
        refuse_beyond(each, whose, remedy)
        refuse_beyond(each * self.chains, f"chains: got {self.chains}, which", "take fewer chains")

    def _goals(self) -> dict[str, float] | None:
        """Return the goals at which to stop early."""
        if self.until is None:
            return None
        if not isinstance(self.until, Mapping) or not self.until:
            raise ValueError(f'until: got {self.until!r}, expected goals such as {{"ess": 400, "rhat": 1.01}}')
        goals = {check.one_of("until", name, GOALS): value for name, value in self.until.items()}
        goals = {name: check.number(f"until[{name!r}]", value, minimum=GOALS[name]) for name, value in goals.items()}
        if "rhat" in goals and self.chains == 1:
            raise ValueError("until: got a goal for R-hat with one chain, expected at least two: raise chains")
        return goals


def count(keep: int, chains: int, draws: int, one: int) -> int:
    """Return how many draws of each chain keep their weights: one at least, where that fits into `KEPT_BYTES`.

    Parameters
    ----------
    keep : int
        How many are asked for, of all chains together; 0 for none.
    chains, draws : int
        Number of chains, and of the draws of each.
    one : int
        Numbers that the weights of a draw have.

    Examples
    --------
    >>> count(200, 4, 1000, 2000), count(200, 4, 1000, 100_000), count(200, 4, 1000, 10**6), count(0, 4, 1000, 10)
    (50, 5, 0, 0)
    """
    room = KEPT_BYTES // (4 * one * chains)
    return min(max(keep // chains, 1), draws, room) if keep else 0


def spaced(draws: int, each: int) -> list[int]:
    """Return the numbers of `each` draws out of so many, evenly spaced, the last draw among them.

    Examples
    --------
    >>> spaced(1000, 5), spaced(3, 2)
    ([199, 399, 599, 799, 999], [0, 2])
    """
    return [(i + 1) * draws // each - 1 for i in range(each)]


def rooms(plan: Plan, keep: Iterable[int]) -> tuple[int, int]:
    """Return how many draws a block has, and how many of these keep their weights at most, of all that do.

    Examples
    --------
    >>> rooms(Plan(warmup=500, draws=1000, chains=4, seed=0, block=100), [50, 120, 180, 990])
    (100, 2)
    """
    block = plan.block or plan.draws
    return block, max(Counter(number // block for number in keep).values(), default=0)


def chosen(kept: Iterable[int], wanted: Sequence[int]) -> list[int]:
    """Return of the draws that were kept those nearest to the ones that are wanted, each once.

    They differ where a run was stopped early, or where more draws joined it.

    Examples
    --------
    >>> chosen([19, 39, 59, 79, 119], [29, 59, 89, 119]), chosen([], [3])
    ([19, 59, 79, 119], [])
    """
    there = np.sort(np.fromiter(kept, dtype=int))
    if not len(there):
        return []
    return sorted({int(there[np.abs(there - number).argmin()]) for number in wanted})
