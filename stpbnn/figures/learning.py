"""Learning curves: generalisation errors over a sweep, posterior beside theories."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter

from stpbnn import _validation as check
from stpbnn.catalogue import long_name
from stpbnn.figures.style import COLOURS, MARKERS, POSTERIOR, new_axes

__all__ = ["plot_learning_curve"]

ABSCISSAE = ("train", "width", "temperature")
NAMES = {"train": "training examples P", "width": "width N", "temperature": "temperature T"}
SHORT = {"train": "P", "width": "N", "temperature": "T"}
DASHES = {"proportional limit": "-", "infinite width": ":", "finite width": "--", "adaptive kernel": "-."}
FREE = ((0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def plot_learning_curve(dataset: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot the generalisation error over a sweep: theories as lines, the posterior as points with error bars.

    .. math:: \epsilon = \langle (y - \bar f)^2 \rangle + \langle \sigma^2 \rangle

    The horizontal axis is the number of training examples, or else the width, the temperature or the first key of the
    sweep that is a number; every other key gives curves of its own colour, with theories that do not depend on it in
    black. A theory that is simulated has a band of one standard error. Points whose chains have not converged are
    hollow, and those of theories whose solver has not are crosses. Points that are missing are left out; the legend
    tells of theories that have no solution there.

    Parameters
    ----------
    dataset : xarray.Dataset
        What `stpbnn.sweeps.sweep` returned, or, for the theories alone, what `stpbnn.curves.theory_curves` or
        `stpbnn.theory_grid` did.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the data set has no errors, or no dimension of numbers.

    References
    ----------
    Eq. (4.2) of the theory notes; figures 1 and 2 of Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> coords = {"train": [50, 100], "theory": ["infinite width"], "part": ["total", "squared_bias", "variance"]}
    >>> error = xr.DataArray(np.ones((2, 1, 3)), coords, tuple(coords))
    >>> plot_learning_curve(xr.Dataset({"error": error})).get_xlabel()
    'training examples P'
    """
    check.data_set("dataset", dataset)
    if "theory" in dataset.coords:
        dataset = dataset.assign_coords(theory=[long_name(str(name)) for name in dataset["theory"].to_numpy()])
    if "error" not in dataset or "part" not in dataset["error"].dims:
        raise ValueError("dataset: got no variable 'error' with parts, expected what stpbnn.sweeps.sweep returned")
    errors = dataset["error"].sel(part="total")
    swept = [str(dim) for dim in errors.dims if dim != "theory"]
    numbers = [dim for dim in (*ABSCISSAE, *swept) if dim in swept and dataset[dim].dtype.kind in "if"]
    if not numbers:
        raise ValueError(f"dataset: got the dimensions {', '.join(swept) or 'none'}, expected one of numbers")
    x = max(dict.fromkeys(numbers), key=lambda dim: dataset.sizes[dim] > 1)
    others = [dim for dim in swept if dim != x]
    ax = new_axes(ax, 5.4, 4.2)
    names = [str(name) for name in dataset["theory"].to_numpy()]
    free = itertools.cycle(FREE)
    dashes = {name: DASHES.get(name) or next(free) for name in names}
    places = list(itertools.product(*(range(dataset.sizes[dim]) for dim in others)))
    order = np.argsort(dataset[x].to_numpy(), kind="stable")
    known = errors.notnull()
    here_alone = (known.any(others) & ~known.all(others)).any(x)  # solved at some places: no line that is common to all
    spread = (errors.max(others) - errors.min(others)).max(x).where(~here_alone, np.inf)
    spread = spread if len(places) > 1 else xr.ones_like(dataset["theory"], int)
    common = [name for name in names if float(spread.sel(theory=name)) <= 1e-9 * float(errors.sel(theory=name).max())]
    handles, hollow, failed = [], False, dict[str, str]()
    for i, place in enumerate(places):
        curve = dataset.isel(dict(zip(others, place, strict=True))).isel({x: order})
        colour, marker = COLOURS[i % len(COLOURS)], ("o", *MARKERS)[i % (1 + len(MARKERS))]
        for name in names:
            if name not in common or i == 0:
                line: dict[str, Any] = {"ls": dashes[name], "color": POSTERIOR if name in common else colour, "lw": 1.3}
                total = curve["error"].sel(part="total", theory=name)
                ax.plot(curve[x], total, **line)
                failed |= _failed(ax, curve, x, name, line["color"])
                if "theory_error_mcse" in curve:
                    own = curve["theory_error_mcse"].sel(part="total", theory=name)
                    ax.fill_between(curve[x], total - own, total + own, color=line["color"], alpha=0.2, lw=0)
        if "error_posterior" in dataset:
            hollow |= _points(ax, curve, x, color=colour, marker=marker)
        label = ", ".join(f"{SHORT.get(dim, dim)} = {curve[dim].item()}" for dim in others if dataset.sizes[dim] > 1)
        handles += [Line2D([], [], color=colour, marker=marker, ms=5, ls="none", label=label)] if label else []
    handles += [Line2D([], [], color=POSTERIOR, ls=dashes[name], lw=1.3, label=name) for name in names]
    if "error_posterior" in dataset:
        handles.append(Line2D([], [], color=POSTERIOR, marker="o", ms=5, ls="none", label="posterior (MCMC)"))
    if hollow:
        style: dict[str, Any] = {"marker": "o", "mfc": "white", "ms": 5, "ls": "none"}
        handles.append(Line2D([], [], color=POSTERIOR, label="not converged", **style))
    what = "negative log likelihood of a label" if "scores" in dataset else "generalisation error, squared units of y"
    handles += [
        Line2D([], [], color=POSTERIOR, marker=mark, ms=5, ls="none", label=word) for word, mark in failed.items()
    ]
    _axes(ax, dataset[x].to_numpy(), NAMES.get(x, x), what)
    ax.legend(handles=handles, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def _failed(ax: Axes, curve: xr.Dataset, x: str, name: str, colour: str) -> dict[str, str]:
    """Mark the points of a theory whose solver has not converged; return what the legend says of them, and its mark."""
    key = "theory_converged" if "theory_converged" in curve else "converged"
    if key not in curve or "theory" not in curve[key].dims:
        return {}
    finished = curve["finished"].to_numpy().astype(bool) if "finished" in curve else True
    failed = ~curve[key].sel(theory=name).to_numpy().astype(bool) & finished
    total = curve["error"].sel(part="total", theory=name).to_numpy()
    drawn = failed & np.isfinite(total)
    if drawn.any():
        ax.plot(curve[x].to_numpy()[drawn], total[drawn], "x", color=colour, ms=5, zorder=3)
    told = {"solver not converged": "x"} if drawn.any() else {}
    return told | ({f"{name}: not solved everywhere": ""} if (failed & ~drawn).any() else {})


def _points(ax: Axes, curve: xr.Dataset, x: str, **style: Any) -> bool:
    """Draw the posterior's errors with their Monte Carlo errors; say whether any has not converged."""
    error, mcse = (curve[name].sel(part="total").to_numpy() for name in ("error_posterior", "error_mcse"))
    there = np.isfinite(error)
    converged = curve["converged"].to_numpy().astype(bool)
    for chosen, inside in ((there & converged, style["color"]), (there & ~converged, "white")):
        if chosen.any():
            drawn: dict[str, Any] = {"ls": "none", "ms": 5, "mfc": inside, "capsize": 3, "lw": 1, "zorder": 3}
            ax.errorbar(curve[x].to_numpy()[chosen], error[chosen], mcse[chosen], **drawn, **style)
    return bool((there & ~converged).any())


def _axes(ax: Axes, values: np.ndarray, name: str, what: str) -> None:
    """Name the axes; both are logarithmic where their numbers are positive and far apart."""
    ax.set(xlabel=name, ylabel=what)
    if values.min() > 0 and values.max() >= 4 * values.min():
        ax.set_xscale("log")
        if values.size <= 8:
            ax.set_xticks(values)
            ax.xaxis.set_major_formatter(ScalarFormatter())
            ax.xaxis.set_minor_locator(NullLocator())
    drawn = np.concatenate([np.ravel(line.get_ydata()) for line in ax.lines])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.min() > 0 and drawn.max() >= 10 * drawn.min():
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=0)
