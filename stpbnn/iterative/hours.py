"""How long products with a large matrix will take: hours of them are announced before they start."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

__all__ = ["seconds", "warn_of_hours"]

PRODUCTS = 20  # the fewest that a Krylov space takes, of 32 vectors each
LONG = 3600.0  # seconds, beyond which a warning says what is ahead
LOOKED_AT = 30  # tiles along an edge, up to which an hour is out of reach and nothing is measured


def seconds(size: int, edge: int, made: float, multiplied: float, *, held: bool) -> float:
    """Return how long the fewest products take, given the seconds that it takes to make one tile, and to multiply it.

    Examples
    --------
    Three tiles of the lower triangle are made once, or again for each of 20 products:

    >>> seconds(200, 100, 1.0, 0.5, held=True), seconds(200, 100, 1.0, 0.5, held=False)
    (33.0, 93.0)
    """
    parts = -(-size // edge)
    tiles = parts * (parts + 1) / 2
    return tiles * (made * (1 + (0 if held else PRODUCTS)) + PRODUCTS * multiplied)


def warn_of_hours(
    size: int, edge: int, make: Callable[[], Any], multiply: Callable[[Any], Any], *, held: bool, processes: int
) -> None:
    """Warn where products with so many rows take longer than an hour, and say how many rows take an hour.

    Parameters
    ----------
    size, edge : int
        Rows of the matrix, and of a tile.
    make, multiply : callable
        Return a tile; return a product with it.
    held : bool
        Whether tiles are held in memory.
    processes : int
        How many share the tiles.
    """
    if size <= LOOKED_AT * edge:
        return
    multiply(make())  # compiles
    start = perf_counter()
    tile = make()
    between = perf_counter()
    multiply(tile)
    spent = seconds(size, edge, between - start, perf_counter() - between, held=held) / processes
    if spent > LONG:
        fewer = int(size * (LONG / spent) ** 0.5 // 1000) * 1000
        again = "" if held else ", which do not fit into memory and are made again for each product"
        warnings.warn(
            f"X: got {size:,} examples: products with the tiles of their kernel{again} take {spent / LONG:,.0f} hours "
            f"or more here; take fewer: {fewer:,} take about an hour",
            UserWarning,
            stacklevel=2,
        )
