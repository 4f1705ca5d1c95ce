"""Learning curves of a card: the closed forms over its sweep, without sampling."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import xarray as xr

from stpbnn._validation import boolean, instance
from stpbnn._version import __version__
from stpbnn.cards import CHANNELS, TEMPERATURE, WIDTHS, Card, changed, dimension, labels, shared
from stpbnn.class_grid import class_grid
from stpbnn.datasets import Task
from stpbnn.regressors import shown, theory_grid
from stpbnn.theories import chosen, settings

__all__ = ["theory_curves"]


def theory_curves(card: Card, *, data: Task | None = None, progress: bool = False) -> xr.Dataset:
    """Return the closed forms of a card at every point of its sweep.

    Widths and temperatures are solved together, which costs little more than one point at one hidden layer; but the
    adaptive kernel is simulated at every point, for seconds to minutes, with the card's seed. For every other key of
    the sweep the data are loaded and the theories solved anew, one point after another. Keys of the sampler have no
    part in it.

    Parameters
    ----------
    card : Card
        A card with a sweep.
    data : stpbnn.datasets.Task, optional
        X, y, Xt, yt in the place of those of the card; a sweep over data.train takes the first rows.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.Dataset
        As `stpbnn.theory_grid` gives it, or of classes `stpbnn.classification.class_grid`, with the theories' long
        names, and with a dimension for every other key: its dotted name, and `train` for data.train. Values that are
        lists are written as text.

    Raises
    ------
    ValueError
        If the card has no sweep, or data and network of a point do not suit each other.

    Examples
    --------
    >>> from stpbnn.cards import load_card
    >>> card = load_card("smoke-1hl-linear", ["theories.names=['proportional']"])
    >>> card = card.model_copy(update={"sweep": {"network.widths": ([5], [500])}})
    >>> curves = theory_curves(card)["order_parameters"].sel(theory="proportional limit", layer=1).squeeze()
    >>> [round(abs(Q - 1), 1) for Q in curves.values.tolist()]
    [0.3, 0.0]
    """
    instance("card", card, Card)
    boolean("progress", progress)
    if data is not None:
        instance("data", data, Task)
    sweep = {key: list(values) for key, values in card.sweep.items() if not key.startswith("sampler.")}
    if not sweep:
        raise ValueError(f"{card.name}: got no [sweep] that the closed forms can follow, expected a list for some key")
    hidden = WIDTHS if card.network.kind == "fully-connected" else CHANNELS
    widths = sweep.get(hidden, [card.network.hidden])
    together = len({len(width) for width in widths}) == 1  # depths that differ are points of their own
    others = {key: values for key, values in sweep.items() if key != TEMPERATURE and not (key == hidden and together)}
    points = list(itertools.product(*(range(len(values)) for values in others.values())))
    found = {}
    for index in shown(points, progress and len(points) > 1, card.name):
        at = changed(card, {key: others[key][i] for key, i in zip(others, index, strict=True)})
        over = widths if together else [at.network.hidden]
        found[index] = _grid(at, over, sweep, progress and len(points) == 1, data)
    axes = [xr.IndexVariable(dimension(key), labels(key, values)) for key, values in others.items()]
    names = dict.fromkeys(str(name) for grid in found.values() for name in grid["theory"].to_numpy())
    curves = _joined(found, axes).sel(theory=list(names))
    return curves.assign_attrs(card=shared(card).to_toml(), stpbnn_version=__version__)


def _grid(
    card: Card, widths: list[Any], sweep: Mapping[str, list[Any]], progress: bool, data: Task | None
) -> xr.Dataset:
    """Return the theories of one data set over widths and temperatures."""
    X, y, X_test, y_test = card.load(None if data is None else data.first(card.data.train))
    network = card.build()
    theories = chosen(card)
    of_classes = card.network.of_classes
    grid = (class_grid if of_classes else theory_grid)(
        network,
        X,
        y,
        X_test,
        y_test,
        widths=widths,
        temperatures=sweep.get(TEMPERATURE, [card.posterior.temperature]),
        theories=tuple(theories.values()),
        **({} if of_classes else settings(card)),
        progress=progress,
    )
    return grid.isel(train=0).assign_coords(theory=list(theories))


def _joined(found: Mapping[tuple[int, ...], xr.Dataset], axes: list[xr.IndexVariable]) -> xr.Dataset:
    """Put the grids of all points together, along one dimension for each key."""
    if not axes:
        return found[()].expand_dims("train")
    axis, rest = axes[0], axes[1:]
    parts = [
        _joined({index[1:]: grid for index, grid in found.items() if index[0] == i}, rest) if rest else found[(i,)]
        for i in range(axis.size)
    ]
    parts = [part.drop_vars(str(axis.name), errors="ignore") for part in parts]
    return xr.concat(parts, axis, join="outer", fill_value={"converged": False})
