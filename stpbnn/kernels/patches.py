"""What the windows of the first layer see of inputs, position by position, and in tiles of a kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn._slices import slices
from stpbnn.activations import Activation
from stpbnn.network import Convolutional, Window

__all__ = ["Layers", "PatchPair", "filled", "pair_tiles", "patches"]

ENTRIES, LARGEST = 2**20, 256  # the most that a tile has: entries over all positions or pairs of them, and rows


class PatchPair(NamedTuple):
    """What windows see of two sets of inputs, (d, n, kC) and (d, m, kC), and which of them are the same, (n, m)."""

    first: Any
    second: Any
    same: Any


class Layers(NamedTuple):
    """What compiled kernels depend on: the activation, the shape of images, and the windows of every hidden layer."""

    activation: str | Activation
    image: tuple[int, ...]
    windows: tuple[Window, ...]

    @classmethod
    def of(cls, net: Convolutional) -> Layers:
        """Return what the kernels of a network depend on."""
        return cls(net.activation, tuple(net.image), net.windows)

    @property
    def positions(self) -> int:
        """The largest number of positions of a layer."""
        return max(math.prod(window.grid) for window in self.windows)


def patches(layers: Layers, X: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "d n pixels"]:
    """Return what the windows of the first layer see of each input, position by position.

    Examples
    --------
    >>> layers = Layers.of(Convolutional((4,), kernel_size=1, image=(1, 2, 1)))
    >>> patches(layers, np.array([[3.0, 5.0]])).tolist()
    [[[3.0]], [[5.0]]]
    """
    window = layers.windows[0]
    images = np.pad(X.reshape(-1, *layers.image), ((0, 0), *window.padding, (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(images, window.size, axis=(1, 2))
    views = views[:, :: window.stride[0], :: window.stride[1]]
    return np.moveaxis(views, 0, 2).reshape(math.prod(window.grid), len(images), -1)


def filled(X: Float[np.ndarray, "d n pixels"], size: int) -> Float[np.ndarray, "d size pixels"]:
    """Return patches filled up with copies of the last input, so that shapes are few."""
    return np.pad(X, ((0, 0), (0, size - X.shape[1]), (0, 0)), mode="edge") if X.shape[1] < size else X


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
    """Yield the tiles between two sets of inputs; for one set with itself (None) those of the lower triangle."""
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
