r"""Links between the positions of neighbouring layers, and what they do to matrices over positions.

A matrix over the positions of a layer becomes one over those of the layer below, or the other way round,

.. math:: (M Q)_{pq} = \frac1k \sum_u Q_{p-u,\,q-u}, \qquad (M^T S)_{ij} = \frac1k \sum_u S_{i+u,\,j+u},

where u are the k offsets of a window. Positions at which no window looks, directly or through layers above, are left
out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from stpbnn.network.windows import Window

__all__ = ["Link", "incidence", "links", "looked_at"]

OUTSIDE = -1  # where an offset of a window leaves the layer below


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
    """Return which positions of every hidden layer have a part in the outputs: those of the last layer all have."""
    found = [np.ones(math.prod(windows[-1].grid), dtype=bool)]
    for below, window in zip(windows[-2::-1], windows[:0:-1], strict=True):
        places = _places(window, below.grid)[found[0]]
        seen = np.zeros(math.prod(below.grid), dtype=bool)
        seen[places[places != OUTSIDE]] = True
        found.insert(0, seen)
    return found


def incidence(windows: tuple[Window, ...], layer: int) -> Float[np.ndarray, "p d"]:
    """Return 1 where a window of a hidden layer, from 0, looks at a position below, of windows that count; else 0."""
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
