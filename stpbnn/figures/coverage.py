"""Calibration plots: how often the intervals of a predictive law contain posterior draws or observed targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import binom

from stpbnn import _validation as check
from stpbnn.figures.style import COLOURS, MARKERS, POSTERIOR, legend_above, new_axes, styles
from stpbnn.predictive import Law

__all__ = ["draw_coverage", "draw_pit", "plot_coverage", "plot_pit", "transforms"]

NOMINAL = np.arange(1, 10) / 10
LINES = ("-", "--", "-.", ":")


def plot_pit(comparison: xr.Dataset | Law | Mapping[str, Law], y: Any = None, ax: Axes | None = None) -> Axes:
    r"""Plot the histogram of the probability integral transform under a law: of observed targets, or of draws.

    .. math:: u = F(y \mid x), \qquad\text{or}\qquad
              u = F_{\mathrm{theory}}(f \mid x), \quad f \sim p(f(x) \mid y) \text{ by MCMC}

    The right law gives a flat histogram. A valley says that laws are too narrow, a hill that they are too wide, a slope
    that they are shifted. For observed targets, each bar of the right law lies in the grey band with probability
    95 %, if the targets are independent given the law.

    Parameters
    ----------
    comparison : xarray.Dataset, law, or mapping of str to law
        What `stpbnn.compare` returned, with `pit` (theory, level), for draws of the posterior; or for observed targets
        their law, `predictive(X, noise=True)` of a regressor, or several laws by name.
    y : array of shape (n,) or (n, D), optional
        Observed targets, required with a law. Use held-out targets: the law has seen those it was fitted to.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure. With a comparison it may be the second positional argument.

    Raises
    ------
    ValueError
        If there is neither a comparison, nor a law with targets of its shape.

    References
    ----------
    Gneiting, Balabdaoui, Raftery, J. R. Stat. Soc. B 69, 243 (2007).

    Examples
    --------
    >>> pit = xr.DataArray([[0.2, 0.5, 0.8]], {"theory": ["GP"], "level": [0.25, 0.5, 0.75]}, ("theory", "level"))
    >>> plot_pit(xr.Dataset({"pit": pit})).get_legend_handles_labels()[1]
    ['GP']
    >>> from stpbnn.predictive import Gaussian
    >>> plot_pit(Gaussian(np.zeros(4), np.ones(4)), [-1.2, -0.3, 0.4, 0.9]).get_xlabel()
    'F(y), y observed'
    """
    comparison, y, ax = _sorted_out(comparison, y, ax)
    if not isinstance(comparison, xr.Dataset):
        return draw_pit(transforms(comparison, y), ax)
    check.data_set("comparison", comparison, "pit")
    ax = new_axes(ax, 4.4, 3.2)
    edges = np.concatenate([[0.0], comparison["level"], [1.0]])
    ax.axhline(1, color=POSTERIOR, lw=1, ls=":")
    for i, ((name, colour, _), below) in enumerate(zip(styles(comparison), _rows(comparison["pit"]), strict=True)):
        density = np.diff(np.concatenate([[0.0], below, [1.0]])) / np.diff(edges)
        style: dict[str, Any] = {"lw": 1.6, "ls": LINES[i % 4], "baseline": None}
        ax.stairs(density, edges, color=colour, label=name, **style)
    ax.set(xlabel="F(f) under the theory, f drawn by MCMC", ylabel="density", xlim=(0, 1))
    ax.set_ylim(0, max(1.5, 1.05 * ax.get_ylim()[1]))
    legend_above(ax)
    return ax


def plot_coverage(comparison: xr.Dataset | Law | Mapping[str, Law], y: Any = None, ax: Axes | None = None) -> Axes:
    r"""Plot the coverage of a law's central intervals minus its nominal value, for observed targets or posterior draws.

    .. math:: C(c) - c, \qquad C(c) = \frac1n \#\{i : y_i \in I_i(c)\}, \qquad\text{or}\qquad
              C(c) = \overline{P_{\mathrm{MCMC}}(f \in I_{\mathrm{theory}}(c))}

    averaged over test points. Above zero the intervals are too wide. Error bars are two standard errors: those of Monte
    Carlo for draws, for targets those of a count of n independent ones, of which each is held with probability c.

    Parameters
    ----------
    comparison : xarray.Dataset, law, or mapping of str to law
        What `stpbnn.compare` returned, with `coverage` and `coverage_mcse` (theory, nominal), for draws of the
        posterior; or for observed targets their law, `predictive(X, noise=True)`, or several laws by name.
    y : array of shape (n,) or (n, D), optional
        Observed targets, required with a law. Use held-out targets: the law has seen those it was fitted to.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure. With a comparison it may be the second positional argument.

    Raises
    ------
    ValueError
        If there is neither a comparison, nor a law with targets of its shape.

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
    comparison, y, ax = _sorted_out(comparison, y, ax)
    if not isinstance(comparison, xr.Dataset):
        return draw_coverage(transforms(comparison, y), ax)
    check.data_set("comparison", comparison, "coverage", "coverage_mcse")
    rows = zip(styles(comparison), _rows(comparison["coverage"]), _rows(comparison["coverage_mcse"]), strict=True)
    return _coverage([(*style, held, mcse) for style, held, mcse in rows], comparison["nominal"].to_numpy(), ax)


def transforms(laws: Law | Mapping[str, Law], y: Any) -> dict[str, np.ndarray]:
    """Return the probability integral transform of targets under each law by name, "" for a single one."""
    named: Mapping[str, Any] = laws if isinstance(laws, Mapping) else {"": laws}
    if not named or not all(isinstance(law, Law) and hasattr(law, "cdf") for law in named.values()):
        raise ValueError(
            f"comparison: got {check.shown(laws)}, expected what stpbnn.compare returned, a law that predictive(X, "
            "noise=True) returned, or a mapping of names to such laws"
        )
    found = {}
    for name, law in named.items():
        outputs = 1 if law.mean.ndim == 1 else law.mean.shape[1]
        targets = check.targets("y", y, examples=len(law.mean), outputs=outputs)
        found[str(name)] = np.asarray(law.cdf(targets.reshape(law.mean.shape)))
    return found


def draw_pit(values: Mapping[str, np.ndarray], ax: Axes | None = None, label: str = "F(y), y observed") -> Axes:
    """Return axes with a histogram of the transforms of each law and the band of a uniform law."""
    ax = new_axes(ax, 4.4, 3.2)
    n = max(u.size for u in values.values())
    bins = int(np.clip(np.sqrt(n), 4, 20))
    edges = np.linspace(0, 1, bins + 1)
    low, high = binom.ppf([0.025, 0.975], n, 1 / bins) * bins / n
    ax.axhspan(low, high, color=POSTERIOR, alpha=0.12, lw=0)
    ax.axhline(1, color=POSTERIOR, lw=1, ls=":")
    for i, (name, colour, _, u) in enumerate(_styled(values)):
        density, _ = np.histogram(u, edges, density=True)
        style: dict[str, Any] = {"lw": 1.6, "ls": LINES[i % 4], "baseline": None}
        ax.stairs(density, edges, color=colour, label=name or None, **style)
    ax.set(xlabel=label, ylabel="density", xlim=(0, 1))
    ax.set_ylim(0, max(1.5, 1.05 * high, 1.05 * ax.get_ylim()[1]))
    _legend(ax)
    return ax


def draw_coverage(values: Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """Return axes with the coverage of central intervals, computed from the transforms."""
    rows = []
    for name, colour, marker, u in _styled(values):
        held = np.array([np.mean(np.abs(2 * u - 1) <= c) for c in NOMINAL])
        rows.append((name, colour, marker, held, np.sqrt(NOMINAL * (1 - NOMINAL) / u.size)))
    return _coverage(rows, NOMINAL, ax)


def _coverage(rows: list[tuple[str, str, str, np.ndarray, np.ndarray]], nominal: np.ndarray, ax: Axes | None) -> Axes:
    """Draw coverage less nominal probability of each row, with two of its standard errors."""
    ax = new_axes(ax, 4.4, 3.2)
    ax.axhline(0, color=POSTERIOR, lw=1, ls=":")
    for i, (name, colour, marker, held, error) in enumerate(rows):
        shift = 1.2 * (i - (len(rows) - 1) / 2)  # side by side
        style: dict[str, Any] = {"fmt": marker, "ms": 4.5, "lw": 1, "capsize": 2}
        place = 100 * nominal + shift
        ax.errorbar(place, 100 * (held - nominal), 200 * error, color=colour, label=name or None, **style)
    ax.set(xlabel="nominal probability of the interval, %", ylabel="coverage − nominal, percentage points")
    reach = 1.15 * max(1.0, *map(abs, ax.get_ylim()))
    ax.set_ylim(-reach, reach)
    _legend(ax)
    return ax


def _styled(values: Mapping[str, np.ndarray]) -> list[tuple[str, str, str, np.ndarray]]:
    """Return name, colour, marker and finite transforms of each law; the posterior's are dark."""
    others = [name for name in values if not name.startswith("posterior")]
    rows = []
    for name, u in values.items():
        i = others.index(name) if name in others else -1
        colour, marker = (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) if i >= 0 else (POSTERIOR, "o")
        rows.append((name, colour, marker, u[np.isfinite(u)]))
    return rows


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[1]:
        legend_above(ax)


def _sorted_out(comparison: Any, y: Any, ax: Axes | None) -> tuple[Any, Any, Axes | None]:
    """Return comparison, y and ax, with axes given second moved to `ax`; refuse targets given with a comparison."""
    if isinstance(y, Axes) and ax is None:
        y, ax = None, y
    if isinstance(comparison, xr.Dataset) and y is not None:
        raise ValueError(f"y: got {check.shown(y)} beside a comparison, which has its own; expected targets with a law")
    return comparison, y, ax


def _rows(values: xr.DataArray) -> np.ndarray:
    return values.transpose("theory", ...).to_numpy()
