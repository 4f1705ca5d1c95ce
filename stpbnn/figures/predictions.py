"""Predictions, z values and generalisation errors: posterior beside theories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import norm

from stpbnn import _validation as check
from stpbnn.figures.style import FEW, POSTERIOR, flat, legend_above, new_axes, styles

__all__ = ["plot_error", "plot_predictions", "plot_z"]

FARTHEST = 30.0  # z that is drawn where it is


def plot_predictions(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot the posterior mean and standard deviation of f at the test points, with those of each theory.

    Up to 40 predictions stand side by side: the posterior with its standard deviation (broad bar) and its Monte Carlo
    error (cap), theories beside it with one standard deviation, targets as ticks. Of more predictions the theory's mean
    is drawn against :math:`\bar f_{\mathrm{MCMC}} \pm \mathrm{MCSE}`; where they agree, they lie on the diagonal.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the data set is not a comparison.

    References
    ----------
    Mean and variance, eq. (4.2) of the theory notes.

    Examples
    --------
    >>> f = xr.DataArray([0.5, -0.2], dims="test_point")
    >>> shown = {"f_mean": f, "mcse": 0 * f + 0.01, "f_variance": 0 * f + 1, "theory_variance": 0 * f + 1}
    >>> theory = (f + 0.1).expand_dims(theory=["infinite width"])
    >>> plot_predictions(xr.Dataset(shown | {"theory_mean": theory})).get_ylabel()
    'prediction f'
    """
    check.data_set("comparison", comparison, "f_mean", "mcse", "f_variance", "theory_mean")
    of_classes = "classes" in comparison.attrs
    mean, mcse = flat(comparison["f_mean"]), flat(comparison["mcse"])
    theory = flat(comparison["theory_mean"])
    if mean.size > FEW:
        ax = new_axes(ax, 4.8, 4.8)
        for (name, colour, marker), f in zip(styles(comparison), theory, strict=True):
            drawn: dict[str, Any] = {"fmt": marker, "ms": 3, "lw": 0.6, "alpha": 0.5, "mew": 0, "rasterized": True}
            ax.errorbar(mean, f, xerr=mcse, color=colour, label=name, **drawn)
        both = np.concatenate([mean, theory.ravel()])
        low, high = np.nanmin(both), np.nanmax(both)
        ax.axline((low, low), (high, high), color=POSTERIOR, lw=1, zorder=0)
        ax.set(xlabel="posterior mean of f (MCMC, ± Monte Carlo error)", ylabel="theory: mean of f")
        if of_classes:
            ax.set(xlabel="posterior: class probability (± Monte Carlo error)", ylabel="theory: class probability")
        ax.legend(frameon=False)
        return ax
    ax = new_axes(ax, 5.4 if mean.size <= 15 else 8.0, 3.8)
    x, sd = np.arange(mean.size), np.sqrt(flat(comparison["f_variance"]))
    ax.errorbar(x, mean, sd, fmt="none", ecolor=POSTERIOR, elinewidth=7, alpha=0.25)
    ax.errorbar(x, mean, mcse, fmt="o", color=POSTERIOR, ms=5, capsize=4, lw=1, label="posterior (MCMC)")
    variance = 0 if of_classes else check.data_set("comparison", comparison, "theory_variance")["theory_variance"]
    spread = np.sqrt(flat(variance + 0 * comparison["theory_mean"]))
    offsets = 0.18 + 0.5 * np.arange(len(theory)) / max(len(theory), 2)
    for (name, colour, marker), f, s, dx in zip(styles(comparison), theory, spread, offsets, strict=True):
        ax.errorbar(x + dx, f, s, fmt=marker, color=colour, ms=4.5, lw=1, label=name)
    if "y_test" in comparison and not of_classes:
        ends: dict[str, Any] = {"xmin": x - 0.25, "xmax": x + offsets[-1] + 0.1}
        ax.hlines(flat(comparison["y_test"]), **ends, color="#777777", lw=1.5, ls=(0, (2, 1)), label="target")
    step = max(1, math.ceil(mean.size / 20))
    ax.set(
        xticks=x[::step],
        xlabel=_points_label(comparison),
        ylabel="class probability" if of_classes else "prediction f",
    )
    ax.margins(x=0.02, y=0.1)
    legend_above(ax)
    return ax


def plot_z(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot the z values of the test predictions against the standard normal density that they should have.

    .. math:: z = (\bar f_{\mathrm{theory}} - \bar f_{\mathrm{MCMC}}) / \mathrm{MCSE}

    with the Monte Carlo error of a theory that is simulated in it (see `stpbnn.compare`).

    Up to 40 of them are drawn one by one, more as a histogram; those beyond ±30 stand at the edge. Dotted lines mark
    the threshold of the comparison.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the data set is not a comparison.

    References
    ----------
    Mean, eq. (4.2) of the theory notes.

    Examples
    --------
    >>> z = xr.DataArray([[0.3, -1.2, 5.0]], {"theory": ["infinite width"]}, ("theory", "test_point"))
    >>> plot_z(xr.Dataset({"z": z})).get_xlabel()
    'z = (theory − posterior mean) / Monte Carlo standard error'
    """
    check.data_set("comparison", comparison, "z")
    ax = new_axes(ax)
    z = flat(comparison["z"])
    largest = float(np.max(np.abs(z), initial=0.0, where=np.isfinite(z)))
    limit = max(4.0, 1.05 * min(largest, FARTHEST))
    grid, peak = np.linspace(-limit, limit, 801), norm.pdf(0)
    ax.fill_between(grid, norm.pdf(grid), color=POSTERIOR, alpha=0.15, lw=0, label="standard normal")
    for i, ((name, colour, marker), values) in enumerate(zip(styles(comparison), z, strict=True)):
        values = np.clip(values[np.isfinite(values)], -FARTHEST, FARTHEST)
        if values.size > FEW:
            bins = list(np.linspace(-limit, limit, min(120, 2 * round(2 * limit) + 1)))
            style: dict[str, Any] = {"histtype": "step", "lw": 1.5, "ls": ("-", "--", ":", "-.")[i % 4]}
            ax.hist(values, bins=bins, density=True, color=colour, label=name, **style)
        else:
            height = peak * (1 - 0.7 * i / len(z))
            ax.vlines(values, 0, height, color=colour, lw=1, alpha=0.8)
            ax.plot(values, np.full(values.size, height), marker, color=colour, ms=5, ls="none", label=name)
    if "max_z" in comparison.attrs:
        for sign in (-1, 1):
            ax.axvline(sign * comparison.attrs["max_z"], color=POSTERIOR, ls=":", lw=1)
    beyond = f";\nbeyond ±{FARTHEST:g} at the edge" if largest > FARTHEST else ""
    ax.set(xlabel=f"z = (theory − posterior mean) / Monte Carlo standard error{beyond}", xlim=(-limit, limit))
    ax.set_ylim(bottom=0)
    ax.set(ylabel="density") if z.shape[1] > FEW else ax.set(yticks=[])
    legend_above(ax)
    return ax


def plot_error(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot the generalisation error in its parts, posterior beside theories.

    .. math:: \epsilon = \langle (y - \bar f)^2 \rangle + \langle \sigma^2 \rangle

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned, with test targets.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the comparison holds no errors, for want of test targets.

    References
    ----------
    Eq. (4.2) of the theory notes; Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> part = {"part": ["total", "squared_bias", "variance"]}
    >>> error = xr.DataArray([0.3, 0.2, 0.1], part, "part")
    >>> shown = {"error_posterior": error, "error_mcse": 0 * error + 0.01, "error": error.expand_dims(theory=["GP"])}
    >>> [label.get_text() for label in plot_error(xr.Dataset(shown)).get_yticklabels()]
    ['posterior (MCMC)', 'GP']
    """
    if "error_posterior" not in check.data_set("comparison", comparison):
        raise ValueError("comparison: got no errors, expected what stpbnn.compare returned with y_test")
    theory = comparison["error"].transpose("theory", "part") if "error" in comparison else None
    rows = [("posterior (MCMC)", POSTERIOR, comparison["error_posterior"])]
    if theory is not None:
        rows += [(name, colour, theory[i]) for i, (name, colour, _) in enumerate(styles(comparison))]
    ax = new_axes(ax, 5.4, 1.2 + 0.5 * len(rows))
    total, mcse = (float(comparison[k].sel(part="total")) for k in ("error_posterior", "error_mcse"))
    for i, (_, colour, error) in enumerate(rows):
        bias, variance = (max(float(error.sel(part=part)), 0.0) for part in ("squared_bias", "variance"))
        ax.barh(i, bias, 0.62, color=colour)
        ax.barh(i, variance, 0.62, left=bias, color="white", edgecolor=colour, hatch="///", lw=1)
        ax.text(bias + variance, i, f"   {float(error.sel(part='total')):#.3g}", va="center", ha="left")
    ax.errorbar(total, 0, xerr=mcse, color=POSTERIOR, capsize=5, lw=1.5)
    if theory is not None and "theory_error_mcse" in comparison:
        own = comparison["theory_error_mcse"].transpose("theory", "part").sel(part="total").to_numpy()
        for i in np.flatnonzero(own > 0).tolist():  # theories that are simulated
            ax.errorbar(float(theory[i].sel(part="total")), i + 1, xerr=own[i], color=POSTERIOR, capsize=3, lw=1)
    first, its_mcse = (float(comparison[k].sel(part="squared_bias")) for k in ("error_posterior", "error_mcse"))
    ax.errorbar(first, 0, xerr=its_mcse, color="#bbbbbb", capsize=5, lw=1.5)
    for end in (first, total):
        ax.axvline(end, color=POSTERIOR, lw=1, ls=":", zorder=0)
    ax.barh(0, 0, color="#888888", label="squared bias")
    ax.barh(0, 0, color="white", edgecolor="#888888", hatch="///", label="variance")
    ax.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    ax.invert_yaxis()
    ax.set_xlabel("generalisation error, squared units of y")
    ax.margins(x=0.2)
    legend_above(ax)
    return ax


def _points_label(comparison: xr.Dataset) -> str:
    dims = comparison["f_mean"].dims
    return "test point" if "output" not in dims else f"test point × {comparison.sizes['output']} outputs"
