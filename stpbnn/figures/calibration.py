"""Calibration: do the predictive laws of the theories hold the posterior's draws, and how many of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from stpbnn import _validation as check
from stpbnn.figures.style import POSTERIOR, legend_above, new_axes, styles

__all__ = ["plot_coverage", "plot_pit"]


def plot_pit(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot the histogram of the probability integral transform of posterior draws under the law of each theory.

    .. math:: u = F_{\mathrm{theory}}(f \mid x), \qquad f \sim p(f(x) \mid y) \text{ by MCMC}

    A theory that has the law of f gives a flat histogram. A valley says that its laws are too narrow, a hill that they
    are too wide, a slope that they are shifted.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned, with `pit` (theory, level).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the data set is not a comparison.

    References
    ----------
    Gneiting, Balabdaoui, Raftery, J. R. Stat. Soc. B 69, 243 (2007).

    Examples
    --------
    >>> pit = xr.DataArray([[0.2, 0.5, 0.8]], {"theory": ["GP"], "level": [0.25, 0.5, 0.75]}, ("theory", "level"))
    >>> plot_pit(xr.Dataset({"pit": pit})).get_legend_handles_labels()[1]
    ['GP']
    """
    check.data_set("comparison", comparison, "pit")
    ax = new_axes(ax, 4.4, 3.2)
    edges = np.concatenate([[0.0], comparison["level"], [1.0]])
    ax.axhline(1, color=POSTERIOR, lw=1, ls=":")
    for i, ((name, colour, _), below) in enumerate(zip(styles(comparison), _rows(comparison["pit"]), strict=True)):
        density = np.diff(np.concatenate([[0.0], below, [1.0]])) / np.diff(edges)
        style: dict[str, Any] = {"lw": 1.6, "ls": ("-", "--", "-.", ":")[i % 4], "baseline": None}
        ax.stairs(density, edges, color=colour, label=name, **style)
    ax.set(xlabel="F(f) under the theory, f drawn by MCMC", ylabel="density", xlim=(0, 1))
    ax.set_ylim(0, max(1.5, 1.05 * ax.get_ylim()[1]))
    legend_above(ax)
    return ax


def plot_coverage(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot how much more or less of the posterior the central intervals of each theory hold than they should.

    .. math:: C(c) - c, \qquad C(c) = \overline{P_{\mathrm{MCMC}}(f \in I_{\mathrm{theory}}(c))}

    averaged over test points; error bars are two Monte Carlo standard errors. Above zero the intervals are too wide.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned, with `coverage` and `coverage_mcse` (theory, nominal).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the data set is not a comparison.

    References
    ----------
    Gneiting, Balabdaoui, Raftery, J. R. Stat. Soc. B 69, 243 (2007).

    Examples
    --------
    >>> held = xr.DataArray([[0.52, 0.91]], {"theory": ["GP"], "nominal": [0.5, 0.9]}, ("theory", "nominal"))
    >>> ax = plot_coverage(xr.Dataset({"coverage": held, "coverage_mcse": 0 * held + 0.01}))
    >>> ax.get_ylabel()
    'coverage − nominal, percentage points'
    """
    check.data_set("comparison", comparison, "coverage", "coverage_mcse")
    ax = new_axes(ax, 4.4, 3.2)
    nominal, count = 100 * comparison["nominal"].to_numpy(), comparison.sizes["theory"]
    ax.axhline(0, color=POSTERIOR, lw=1, ls=":")
    rows = zip(styles(comparison), _rows(comparison["coverage"]), _rows(comparison["coverage_mcse"]), strict=True)
    for i, ((name, colour, marker), held, mcse) in enumerate(rows):
        shift = 1.2 * (i - (count - 1) / 2)  # side by side
        style: dict[str, Any] = {"fmt": marker, "ms": 4.5, "lw": 1, "capsize": 2}
        ax.errorbar(nominal + shift, 100 * held - nominal, 200 * mcse, color=colour, label=name, **style)
    ax.set(xlabel="nominal probability of the interval, %", ylabel="coverage − nominal, percentage points")
    reach = 1.15 * max(1.0, *map(abs, ax.get_ylim()))
    ax.set_ylim(-reach, reach)
    legend_above(ax)
    return ax


def _rows(values: xr.DataArray) -> np.ndarray:
    return values.transpose("theory", ...).to_numpy()
