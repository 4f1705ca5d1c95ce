"""Training targets under the posterior without them: leave-one-out transforms, and how far they can be trusted."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from stpbnn import _validation as check
from stpbnn.figures.coverage import draw_pit
from stpbnn.figures.style import COLOURS, POSTERIOR, name_points, new_axes

__all__ = ["plot_loo_pit", "plot_pareto_k"]


def plot_loo_pit(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot the histogram of the leave-one-out probability integral transform of the training targets.

    .. math:: u_\mu = P(\tilde y_\mu \le y_\mu \mid y_{-\mu})

    of the posterior, by Pareto-smoothed importance sampling. It is flat where the model suits the data; the grey band
    holds 95 % of the bars of a uniform law, one by one.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned, with `loo_pit` (train_point[, output]).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the posterior had no log-likelihood.

    See Also
    --------
    arviz_plots.plot_loo_pit : The distribution function of the same numbers, from the posterior.

    References
    ----------
    Vehtari, Gelman, Gabry, Stat. Comput. 27, 1413 (2017).

    Examples
    --------
    >>> u = xr.DataArray(np.arange(1, 10) / 10, dims="train_point")
    >>> plot_loo_pit(xr.Dataset({"loo_pit": u})).get_ylabel()
    'density'
    """
    u = check.data_set("comparison", comparison, "loo_pit")["loo_pit"].to_numpy()
    return draw_pit({"posterior (MCMC)": u}, ax, "P(new y ≤ y), given the other targets")


def plot_pareto_k(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Plot the Pareto shape k of every training point: how heavy the tail of its leave-one-out weights is.

    Up to the dotted line the leave-one-out numbers of a point can be trusted. Above it the point moves the posterior so
    much that it cannot be left out by weighting draws; the five largest have their number beside them.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned, with `pareto_k` (train_point) and its threshold `good_k`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the posterior had no log-likelihood.

    See Also
    --------
    arviz_plots.plot_khat : The same from what arviz_stats.loo returned.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao, Gabry, J. Mach. Learn. Res. 25, 72 (2024).

    Examples
    --------
    >>> k = xr.DataArray([0.1, 0.9, 0.2], dims="train_point")
    >>> [text.get_text() for text in plot_pareto_k(xr.Dataset({"pareto_k": k, "good_k": 0.7})).texts]
    ['1']
    """
    k = check.data_set("comparison", comparison, "pareto_k", "good_k")["pareto_k"].to_numpy()
    limit = float(comparison["good_k"])
    ax = new_axes(ax, 4.4, 3.2)
    ax.axhline(limit, color=POSTERIOR, lw=1, ls=":")
    for chosen, colour, marker in ((k <= limit, COLOURS[0], "o"), (~(k <= limit), COLOURS[1], "D")):
        ax.plot(np.flatnonzero(chosen), k[chosen], marker, color=colour, ms=3.5, mew=0, alpha=0.8)
    ax.set(xlabel="training point", ylabel="Pareto k")
    ax.locator_params(axis="x", integer=True)
    ax.margins(y=0.1)
    ax.set_ylim(top=max(ax.get_ylim()[1], 1.1 * limit))
    name_points(ax, [(i, k[i], str(i)) for i in np.argsort(-k)[:5].tolist() if k[i] > limit])
    return ax
