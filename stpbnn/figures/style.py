"""What the figures share: axes, colours and markers, and arrays laid flat."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.registry import BackendFilter, backend_registry
from matplotlib.figure import Figure

from stpbnn import _validation as check

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

__all__ = [
    "COLOURS",
    "FEW",
    "MARKERS",
    "POSTERIOR",
    "flat",
    "legend_above",
    "name_points",
    "new_axes",
    "onto",
    "styles",
    "unseen",
]

POSTERIOR = "#222222"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("s", "D", "^", "v", "P", "X")
FEW = 40

LINE, LETTER = 9.0, 4.8  # height of a small line of text, and width of a letter, in points

_UNSEEN = ContextVar("_UNSEEN", default=False)


@contextmanager
def unseen() -> Iterator[None]:
    """Keep the figures that are made meanwhile from the screen: they go into a file."""
    token = _UNSEEN.set(True)
    try:
        yield
    finally:
        _UNSEEN.reset(token)


def new_axes(ax: Axes | None, width: float = 5.4, height: float = 3.6) -> Axes:
    """Return the axes that were given, or those of a new figure.

    Where figures can be shown, in a notebook or a window, pyplot makes it, and shows it when it shows its own.
    Otherwise pyplot does not know it, so that it goes when it is no longer used.
    """
    if ax is not None:
        return check.instance("ax", ax, Axes)
    settings: dict[str, Any] = {"figsize": (width, height), "layout": "constrained"}
    if _UNSEEN.get() or _backend() in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE):
        return Figure(**settings).subplots()
    from matplotlib import pyplot

    with warnings.catch_warnings():
        if "inline" in _backend():  # it closes figures at the end of each cell: many in one are no leak
            warnings.filterwarnings("ignore", "More than .* figures", RuntimeWarning)
        return pyplot.figure(**settings).subplots()


def _backend() -> str:
    """Return the name of matplotlib's backend; where none was chosen yet, matplotlib chooses."""
    return str(matplotlib.get_backend()).lower()


def styles(comparison: xr.Dataset) -> list[tuple[str, str, str]]:
    """Return name, colour and marker of each theory."""
    names = [str(name) for name in comparison["theory"].to_numpy()]
    return [(name, COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)]


def flat(values: xr.DataArray) -> np.ndarray:
    """Return test points and outputs as one axis; a leading theory axis stays."""
    values = values.transpose("theory", ...) if "theory" in values.dims else values
    array = values.to_numpy()
    return array.reshape(len(array), -1) if "theory" in values.dims else array.reshape(-1)


def legend_above(ax: Axes) -> None:
    """Put the legend above the axes, where it covers no data."""
    columns = 2 if len(ax.get_legend_handles_labels()[1]) > 2 else 3
    ax.legend(frameon=False, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def onto(ax: Axes, data: xr.Dataset, aes: Mapping[str, Sequence[str]], **values: Any) -> PlotCollection:
    """Return a collection of ArviZ that draws all of a data set into given axes, where pyplot has no part in it."""
    from arviz_plots import PlotCollection

    places = {"figure": ((), np.array(ax.figure, dtype=object)), "plot": ((), np.array(ax, dtype=object))}
    return PlotCollection(data, xr.DataTree(xr.Dataset(places)), aes=aes, backend="matplotlib", **values)


def name_points(ax: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write names beside points, on top of one another where the points are close; the limits of the axes are settled.

    Examples
    --------
    >>> ax = new_axes(None)
    >>> name_points(ax, [(0.5, 0.5, "a"), (0.5, 0.5, "b"), (0.9, 0.5, "c")])
    >>> [text.get_position()[1] for text in ax.texts]
    [2.0, 11.0, 2.0]
    """
    taken: list[tuple[float, float, float]] = []
    for x, y, name in points:
        (left, low), width = ax.transData.transform((x, y)) * 72 / ax.figure.dpi, LETTER * len(name)
        up = 2.0
        while any(
            left < other + size and other < left + width and abs(low + up - height) < LINE
            for other, height, size in taken
        ):
            up += LINE
        taken.append((left, low + up, width))
        ax.annotate(name, (x, y), (4.0, up), textcoords="offset points", fontsize=8)
