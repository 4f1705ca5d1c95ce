r"""The windows of convolutional layers: where the units of a layer look at the one below, and how both are linked.

A matrix over the positions of a layer becomes one over those of the layer below, or the other way round,

.. math:: (M Q)_{pq} = \frac1k \sum_u Q_{p-u,\,q-u}, \qquad (M^T S)_{ij} = \frac1k \sum_u S_{i+u,\,j+u},

where u are the k offsets of a window. Positions at which no window looks, directly or through layers above, are left
out.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from stpbnn._validation import integer, plural, shown

__all__ = ["PADDINGS", "Link", "Window", "incidence", "links", "looked_at", "pairs", "windows"]

PADDINGS = ("valid", "same")
Pair = tuple[int, int]
OUTSIDE = -1  # where an offset of a window leaves the layer below


class Window(NamedTuple):
    """The windows of a layer: their size, steps, the zeros around the image, and the grid (rows, columns) of units."""

    size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    grid: Pair

    @property
    def pixels(self) -> int:
        """k, the number of positions in a window."""
        return math.prod(self.size)


def pairs(what: str, value: Any, layers: int) -> Pair | tuple[Pair, ...]:
    """Return (rows, columns) for all layers, or one such pair for each of them."""
    if isinstance(value, numbers.Integral):
        value = (value, value)
    items = list(value) if isinstance(value, Iterable) and not isinstance(value, (str, dict)) else []
    nested = [isinstance(item, Iterable) and not isinstance(item, (str, dict)) for item in items]
    if items and all(nested):
        given = [tuple(item) for item in items]
        if len(given) == layers and all(len(item) == 2 for item in given):
            return tuple(_pair(f"{what}[{i}]", item) for i, item in enumerate(given))
    elif len(items) == 2 and not any(nested):
        return _pair(what, items)
    raise ValueError(
        f"{what}: got {shown(value)}, expected a number, (rows, columns), or "
        f"{plural(layers, 'such pair')}, one for each layer"
    )


def _pair(what: str, value: Any) -> Pair:
    rows, columns = (integer(f"{what}[{i}]", item) for i, item in enumerate(value))
    return rows, columns


def windows(image: tuple[int, int, int], sizes: Any, strides: Any, padding: str, layers: int) -> tuple[Window, ...]:
    """Return the windows of every hidden layer.

    Parameters
    ----------
    image : tuple of int
        Rows, columns and channels.
    sizes, strides : pair of int, or one for each layer
        Sizes of the windows, and of the steps between them.
    padding : {"valid", "same"}
        Whether windows stay within the layer below, or zeros around it give every step its window.
    layers : int
        L.

    Raises
    ------
    ValueError
        For windows larger than the layer below them.

    Examples
    --------
    >>> [window.grid for window in windows((28, 28, 1), ((7, 7), (2, 2)), ((7, 7), (1, 1)), "valid", 2)]
    [(4, 4), (3, 3)]
    """
    found: list[Window] = []
    grid: Pair = image[:2]
    for layer in range(layers):
        size, stride = (value[layer] if isinstance(value[0], tuple) else value for value in (sizes, strides))
        if size[0] > grid[0] or size[1] > grid[1]:
            below = "the image" if layer == 0 else f"the grid of layer {layer}"
            raise ValueError(
                f"kernel_size: got {size} in layer {layer + 1}, larger than {below}, {grid}; take at most {grid}"
            )
        if padding == "same":
            after = tuple(-(-length // step) for length, step in zip(grid, stride, strict=True))
            missing = [
                max((n - 1) * step + k - length, 0)
                for n, step, k, length in zip(after, stride, size, grid, strict=True)
            ]
            around = tuple((zeros // 2, zeros - zeros // 2) for zeros in missing)
        else:
            after = tuple((length - k) // step + 1 for length, k, step in zip(grid, size, stride, strict=True))
            around = ((0, 0), (0, 0))
        found.append(Window(size, stride, around, after))  # type: ignore[arg-type]
        grid = after
    return tuple(found)


def left_out(image: tuple[int, int, int], layers: tuple[Window, ...]) -> str | None:
    """Return a sentence about positions that no window of the layer above looks at, or None where all are seen."""
    below: Pair = image[:2]
    for number, window in enumerate(layers, start=1):
        seen = [_seen(*parts) for parts in zip(below, window.size, window.stride, window.padding, strict=True)]
        if any(count < length for count, length in zip(seen, below, strict=True)):
            where = "the image" if number == 1 else f"the grid of layer {number - 1}"
            return (
                f"stride: got {window.stride} with windows of {window.size} in layer {number}, which leave out "
                f"{math.prod(below) - math.prod(seen)} of the {math.prod(below)} positions of {where}, {below}"
            )
        below = window.grid
    return None


def _seen(length: int, size: int, stride: int, around: Pair) -> int:
    """Return how many of a row of positions lie in a window."""
    starts = range(-around[0], length + around[1] - size + 1, stride)
    return len({at for start in starts for at in range(start, start + size)} & set(range(length)))


def warn_of_left_out(image: tuple[int, int, int], layers: tuple[Window, ...], stacklevel: int) -> None:
    """Warn of positions that no window looks at."""
    told = left_out(image, layers)
    if told is not None:
        warnings.warn(f"{told}; they have no effect on the outputs", UserWarning, stacklevel=stacklevel)


@dataclass(frozen=True)
class Link:
    """The windows of one layer upon the one below.

    Parameters
    ----------
    places : array of shape (positions above, k)
        Where each offset of each window lies in the layer below; `OUTSIDE` where it leaves it.
    below : int
        The number of positions below.

    Examples
    --------
    A position and an offset beside it; the third position is the second window's alone.

    >>> link = Link(np.array([[0, 1], [1, 2]]), 3)
    >>> link.down(np.eye(2)).diagonal().tolist(), link.up(np.eye(3)).diagonal().tolist()
    ([0.5, 1.0, 0.5], [1.0, 1.0])
    """

    places: Int[np.ndarray, "d k"]
    below: int

    def _offsets(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, for each offset, the windows in which it lies in the layer below, and where."""
        inside = [np.flatnonzero(column != OUTSIDE) for column in self.places.T]
        return [(windows, self.places[windows, u]) for u, windows in enumerate(inside)]

    def down(self, Q: Float[np.ndarray, "... d d"]) -> Float[np.ndarray, "... p p"]:
        """Return M Q."""
        out = np.zeros((*Q.shape[:-2], self.below, self.below))
        for windows, places in self._offsets():
            out[(..., *np.ix_(places, places))] += Q[(..., *np.ix_(windows, windows))]
        return out / self.places.shape[1]

    def up(self, S: Float[np.ndarray, "... p p"]) -> Float[np.ndarray, "... d d"]:
        """Return M^T S, the adjoint of M."""
        d = len(self.places)
        out = np.zeros((*S.shape[:-2], d, d))
        for windows, places in self._offsets():
            out[(..., *np.ix_(windows, windows))] += S[(..., *np.ix_(places, places))]
        return out / self.places.shape[1]


def _places(window: Window, below: tuple[int, int]) -> Int[np.ndarray, "d k"]:
    """Return where each offset of each window lies in the layer below, row by row."""
    rows, columns = (
        np.arange(n)[:, None] * step + np.arange(size) - around[0]
        for n, step, size, around in zip(window.grid, window.stride, window.size, window.padding, strict=True)
    )
    rows, columns = rows[:, None, :, None], columns[None, :, None]
    inside = (rows >= 0) & (rows < below[0]) & (columns >= 0) & (columns < below[1])
    found = np.where(inside, rows * below[1] + columns, OUTSIDE)
    return found.reshape(math.prod(window.grid), window.pixels)


def looked_at(windows: tuple[Window, ...]) -> list[Bool[np.ndarray, " d"]]:
    """Return which positions of every hidden layer have a part in the outputs: all of the last layer."""
    found = [np.ones(math.prod(windows[-1].grid), dtype=bool)]
    for below, window in zip(windows[-2::-1], windows[:0:-1], strict=True):
        places = _places(window, below.grid)[found[0]]
        seen = np.zeros(math.prod(below.grid), dtype=bool)
        seen[places[places != OUTSIDE]] = True
        found.insert(0, seen)
    return found


def incidence(windows: tuple[Window, ...], layer: int) -> Float[np.ndarray, "p d"]:
    """Return 1 where a window that counts, of a hidden layer from 0, looks at a position below, and 0 elsewhere."""
    places = _places(windows[layer], windows[layer - 1].grid)
    found = np.zeros((math.prod(windows[layer - 1].grid), len(places)))
    for window in np.flatnonzero(looked_at(windows)[layer]):
        found[places[window][places[window] != OUTSIDE], window] = 1
    return found


def links(windows: tuple[Window, ...]) -> tuple[Link, ...]:
    """Return the links of every hidden layer but the first with the layer below it, among positions that count.

    Parameters
    ----------
    windows : tuple of Window
        Those of all hidden layers.
    """
    seen, found = looked_at(windows), []
    for layer, window in enumerate(windows[1:], start=1):
        number = np.where(seen[layer - 1], np.cumsum(seen[layer - 1]) - 1, OUTSIDE)
        places = _places(window, windows[layer - 1].grid)[seen[layer]]
        found.append(Link(np.where(places == OUTSIDE, OUTSIDE, number[places]), int(seen[layer - 1].sum())))
    return tuple(found)
