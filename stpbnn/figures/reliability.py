"""Class probabilities against labels: reliability diagram and confusion matrix, posterior beside theories."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from stpbnn import _validation as check
from stpbnn.comparison import columns_of
from stpbnn.figures.style import POSTERIOR, legend_above, new_axes, styles

__all__ = ["plot_confusion", "plot_reliability"]

BINS = 10
MANY = 20  # classes, beyond which the counts are not written


def plot_reliability(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot how often the most probable class is right, against its probability: posterior beside theories.

    .. math:: \mathrm{acc}_b = \frac1{n_b} \sum_{\mu \in b} 1[\hat c_\mu = c_\mu], \qquad
              \mathrm{conf}_b = \frac1{n_b} \sum_{\mu \in b} \max_c p_{\mu c}

    in ten bins b of confidence. Above the diagonal probabilities are not confident enough, below it they are too
    confident. Bars are one standard error of a count of so many test points.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned for classes, with test labels.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If it is a comparison of numbers, or without labels.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger, Proc. Mach. Learn. Res. 70, 1321 (2017).

    Examples
    --------
    >>> p = xr.DataArray([0.9, 0.2, 0.7], dims="test_point")
    >>> theory, y = p.expand_dims(theory=["GP"]), ("test_point", [1, 0, 0])
    >>> shown = xr.Dataset({"f_mean": p, "theory_mean": theory, "y_test": y})
    >>> plot_reliability(shown.assign_attrs(classes='["no", "yes"]')).get_xlabel()
    'probability of the most probable class'
    """
    classes, truth = _labels(comparison)
    ax = new_axes(ax, 4.4, 3.8)
    ax.plot([0, 1], [0, 1], color=POSTERIOR, lw=1, ls=":", zorder=0)
    rows = [("posterior (MCMC)", POSTERIOR, "o", comparison["f_mean"])]
    for name, colour, marker in styles(comparison):
        rows.append((name, colour, marker, comparison["theory_mean"].sel(theory=name)))
    for i, (name, colour, marker, mean) in enumerate(rows):
        p = columns_of(mean.to_numpy(), len(classes))
        confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
        place = np.minimum((confidence * BINS).astype(int), BINS - 1)
        count, sums = (np.bincount(place, values, minlength=BINS) for values in (np.ones(len(p)), confidence))
        there = count > 0
        n, x, y = count[there], sums[there] / count[there], np.bincount(place, right, minlength=BINS)[there]
        y = y / n
        shrunk = (n * y + 1) / (n + 2)  # so that a bin without a mistake has an error as well
        error = np.sqrt(shrunk * (1 - shrunk) / n)
        ax.errorbar(x + 0.004 * i, y, error, fmt=marker, color=colour, ms=5, lw=1, alpha=0.85, label=name)
    ax.set(xlabel="probability of the most probable class", ylabel="part of the labels that it is")
    ax.set(xlim=(1 / len(classes) - 0.04, 1.03), ylim=(-0.03, 1.05))
    legend_above(ax)
    return ax


def plot_confusion(comparison: xr.Dataset, theory: str | None = None, ax: Axes | None = None) -> Axes:
    """Plot how many test points of each class are taken for each class, by the posterior or by a theory.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned for classes, with test labels.
    theory : str, optional
        The name of a theory; by default the posterior.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If it is a comparison of numbers, or without labels, or the theory is not in it.

    References
    ----------
    scikit-learn's ConfusionMatrixDisplay has the same axes.

    Examples
    --------
    >>> p = xr.DataArray([0.9, 0.2, 0.7], dims="test_point")
    >>> theory, y = p.expand_dims(theory=["GP"]), ("test_point", [1, 0, 0])
    >>> shown = xr.Dataset({"f_mean": p, "theory_mean": theory, "y_test": y})
    >>> [text.get_text() for text in plot_confusion(shown.assign_attrs(classes='["no", "yes"]')).texts]
    ['1', '1', '', '1']
    """
    classes, truth = _labels(comparison)
    if theory is None:
        mean, name = comparison["f_mean"], "posterior (MCMC)"
    else:
        name = check.one_of("theory", theory, [str(each) for each in comparison["theory"].to_numpy()])
        mean = comparison["theory_mean"].sel(theory=name)
    taken = columns_of(mean.to_numpy(), len(classes)).argmax(axis=1)
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (truth, taken), 1)
    side = min(5.6, 2.2 + 0.34 * len(classes))
    ax = new_axes(ax, side, side)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts if len(classes) <= MANY else counts[:0]):
        colour = "white" if shares[row, column] > 0.5 else "black"
        ax.text(column, row, str(count) if count else "", ha="center", va="center", color=colour, fontsize=9)
    names = [str(label) if len(str(label)) <= 12 else f"{str(label)[:11]}…" for label in classes]
    turned: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
    )
    ax.set_xticks(range(len(classes)), names, **turned)
    ax.set_yticks(range(len(classes)), names)
    ax.set(xlabel="most probable class", ylabel="label", title=name)
    return ax


def _labels(comparison: xr.Dataset) -> tuple[list[object], np.ndarray]:
    """Return the classes, and the number of the class of each test point."""
    check.data_set("comparison", comparison, "f_mean", "theory_mean")
    if "classes" not in comparison.attrs or "y_test" not in comparison:
        raise ValueError("comparison: got none of classes with labels, expected what stpbnn.compare returned for them")
    return json.loads(comparison.attrs["classes"]), comparison["y_test"].to_numpy()
