"""Tiles of a kernel between two sets of images: rows, columns, and what windows see of both."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn._slices import slices
from stpbnn.kernels.patches import Layers, PatchPair, filled, patches

__all__ = ["PairTile", "pair_tiles"]

ENTRIES, LARGEST = 2**20, 256  # of a tile: entries over all positions, or pairs of them, and rows


class PairTile(NamedTuple):
    """A tile of a kernel between two sets of inputs: its rows and columns, and what is seen of both, filled up."""

    rows: slice
    columns: slice
    values: PatchPair


def _edge(layers: Layers, examples: int, *, pairs: bool) -> int:
    """Return the rows of a tile, so that it has a bounded number of entries over all positions."""
    each = layers.positions ** (2 if pairs else 1)
    return min(LARGEST, max(1, math.isqrt(ENTRIES // each)), examples)


def pair_tiles(
    layers: Layers, X1: Float[np.ndarray, "n features"], X2: Float[np.ndarray, "m features"] | None, *, pairs: bool
) -> Iterator[PairTile]:
    """Yield the tiles between two sets of inputs, of one set with itself (None) those with rows from columns on."""
    other = X1 if X2 is None else X2
    height, width = _edge(layers, len(X1), pairs=pairs), _edge(layers, len(other), pairs=pairs)
    for columns in slices(len(other), width):
        second = filled(patches(layers, other[columns]), width)
        for rows in slices(len(X1), height):
            if X2 is None and rows.start < columns.start:
                continue
            own = X2 is None and rows == columns
            same = np.eye(height, width, dtype=bool) & own
            first = second if own else filled(patches(layers, X1[rows]), height)
            yield PairTile(rows, columns, PatchPair(first, second, same))
