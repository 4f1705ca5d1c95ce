"""The windows of convolutional layers: where the units of a layer look at the one below."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

from stpbnn._validation import integer, shown

__all__ = ["PADDINGS", "Window", "pairs", "windows"]

PADDINGS = ("valid", "same")
Pair = tuple[int, int]


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
        f"{what}: got {shown(value)}, expected a number, (rows, columns), or {layers} such pair(s), one for each layer"
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
        Of the windows, and of the steps between them.
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
