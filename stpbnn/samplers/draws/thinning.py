"""Which draws keep their weights: a few of each chain, evenly spaced, for predictions at inputs that come later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["KEPT_BYTES", "chosen", "count", "spaced"]

KEPT_BYTES = 2**23  # of all weights that are kept, at 4 bytes each


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
