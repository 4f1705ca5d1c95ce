"""What the figures share: axes, colours and markers, and arrays laid flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stpbnn import _validation as check

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

__all__ = ["COLOURS", "FEW", "MARKERS", "POSTERIOR", "flat", "legend_above", "new_axes", "onto", "styles"]

POSTERIOR = "#222222"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("s", "D", "^", "v", "P", "X")
FEW = 40


def new_axes(ax: Axes | None, width: float = 5.4, height: float = 3.6) -> Axes:
    """Return the axes that were given, or those of a new figure that pyplot does not know."""
    if ax is None:
        return Figure(figsize=(width, height), layout="constrained").subplots()
    return check.instance("ax", ax, Axes)


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
