"""A fitted regressor against data: its band over one input, its predictions and residuals at observed targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtri

from stpbnn import _validation as check
from stpbnn.figures.style import COLOURS, POSTERIOR, legend_above, new_axes
from stpbnn.pipelines import predictive_of

__all__ = ["plot_band", "plot_observed", "plot_residuals"]

POINTS = 200  # of the grid under a band
FARTHEST = 8.0  # normal scores, beyond which a distribution function rounds to one


def plot_band(
    model: Any,
    X: Any,
    y: Any,
    *,
    feature: int | str = 0,
    p: float = 0.9,
    noise: bool = True,
    output: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Plot what a fitted regressor predicts over one input, with the data in it; the other inputs are at their medians.

    The line is the mean, the dark band holds the function f with probability p, the light one a new target. With
    several inputs the data are spread about the band by the inputs that it does not show.

    Parameters
    ----------
    model : regressor, Pipeline or search
        A fitted regressor of this library, or a Pipeline or a search that ends in one.
    X : array of shape (n, N_0), or frame of pandas
        Inputs of the data. Columns of a frame that are no numbers are at their most frequent value.
    y : array of shape (n,) or (n, D)
        Targets of the data.
    feature : int or str
        Which input: the number of a column, or of a frame its name.
    p : float
        Probability of the central intervals.
    noise : bool
        Whether to draw the band of new targets as well.
    output : int
        Which of several outputs.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the model is not fitted or has no law, or the data do not suit it.

    See Also
    --------
    sklearn.inspection.PartialDependenceDisplay : Averages over the other inputs instead; it takes our regressors.

    Examples
    --------
    >>> from stpbnn import NNGPRegressor
    >>> X = np.linspace(-1, 1, 8)[:, None]
    >>> plot_band(NNGPRegressor(temperature=0.1).fit(X, np.sin(3 * X[:, 0])), X, np.sin(3 * X[:, 0])).get_ylabel()
    'y'
    """
    noise, output = check.boolean("noise", noise), check.integer("output", output, minimum=0)
    column = _column(X, feature)
    observed = predictive_of(model, X)
    y = _targets(y, observed.mean, output)
    places = np.asarray(X.iloc[:, column] if hasattr(X, "iloc") else np.asarray(X)[:, column], dtype=float)
    grid = np.linspace(places.min(), places.max(), POINTS)
    points = _section(X, column, grid)
    law = predictive_of(model, points)
    colour, percent = COLOURS[0], f"{100 * _probability(p):g} %"
    mean, inside = _of_output(law.mean, output), _of_output(law.interval(p), output, last=True)
    ax = new_axes(ax)
    if noise:
        low, high = _of_output(predictive_of(model, points, noise=True).interval(p), output, last=True).T
        ax.fill_between(grid, low, high, color=colour, alpha=0.15, lw=0, label=f"{percent} of new targets")
    ax.fill_between(grid, *inside.T, color=colour, alpha=0.3, lw=0, label=f"{percent} of f")
    ax.plot(grid, mean, color=colour, lw=1.6, label="mean")
    ax.plot(places, y, "o", color=POSTERIOR, ms=3.5, mew=0, alpha=0.6, label="data")
    name = str(X.columns[column]) if hasattr(X, "columns") else "x" if np.shape(X)[1] == 1 else f"input {column}"
    ax.set(xlabel=name, ylabel="y")
    ax.margins(x=0.02)
    legend_above(ax)
    return ax


def plot_observed(model: Any, X: Any, y: Any, *, p: float = 0.9, noise: bool = True, ax: Axes | None = None) -> Axes:
    """Plot predictions with their intervals against the targets that were observed.

    Where a prediction is right it lies on the diagonal. Bars that miss the diagonal are intervals that miss the target;
    they are drawn in another colour, and counted.

    Parameters
    ----------
    model : regressor, Pipeline or search
        A fitted regressor of this library, or a Pipeline or a search that ends in one.
    X : array of shape (n, N_0), or frame
        Inputs, which were held out, or the law has seen their targets.
    y : array of shape (n,) or (n, D)
        Targets; several outputs are drawn together.
    p : float
        Probability of the central intervals.
    noise : bool
        Whether the intervals are those of new targets, with their noise, in the place of the function f.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the model is not fitted or has no law, or the data do not suit it.

    See Also
    --------
    sklearn.metrics.PredictionErrorDisplay : The same without intervals, for any regressor.

    Examples
    --------
    >>> from stpbnn import NNGPRegressor
    >>> X = np.linspace(-1, 1, 8)[:, None]
    >>> model = NNGPRegressor(temperature=0.1).fit(X[::2], X[::2, 0])
    >>> plot_observed(model, X[1::2], X[1::2, 0]).get_title()
    '90 % intervals hold 4 of 4 targets'
    """
    _probability(p)
    law = predictive_of(model, X, noise=noise)
    y = _targets(y, law.mean).ravel()
    mean, (low, high) = law.mean.ravel(), law.interval(p).reshape(-1, 2).T
    held = (low <= y) & (y <= high)
    ax = new_axes(ax, 4.8, 4.8)
    for chosen, colour, marker in ((held, COLOURS[0], "o"), (~held, COLOURS[1], "D")):
        bars = np.stack([mean - low, high - mean])[:, chosen]
        style: dict[str, Any] = {"fmt": marker, "ms": 3.5, "mew": 0, "lw": 0.8, "alpha": 0.7}
        ax.errorbar(y[chosen], mean[chosen], bars, color=colour, **style)
    ends = np.min([y.min(), mean.min()]), np.max([y.max(), mean.max()])
    ax.plot(ends, ends, color=POSTERIOR, lw=1, zorder=0)
    ax.set(xlabel="observed y", ylabel="predicted y" if noise else "predicted f")
    ax.set_title(f"{100 * p:g} % intervals hold {held.sum()} of {held.size} targets", fontsize="medium")
    return ax


def plot_residuals(model: Any, X: Any, y: Any, *, ax: Axes | None = None) -> Axes:
    r"""Plot the residuals of targets as normal scores under their predictive law, against the predicted mean.

    .. math:: z = \Phi^{-1}(F(y \mid x))

    Under the right law, whatever its shape, they are independent standard normal numbers at every prediction: 95 % of
    them lie between the dotted lines, without a trend and without a funnel. Of a Gaussian law z is (y − mean)/std.

    Parameters
    ----------
    model : regressor, Pipeline or search
        A fitted regressor of this library, or a Pipeline or a search that ends in one.
    X : array of shape (n, N_0), or frame
        Inputs, which were held out, or the law has seen their targets.
    y : array of shape (n,) or (n, D)
        Targets; several outputs are drawn together.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the model is not fitted or has no law, or the data do not suit it.

    See Also
    --------
    sklearn.metrics.PredictionErrorDisplay : Draws the residuals in the units of y, without a law.

    References
    ----------
    Dunn, Smyth, J. Comput. Graph. Stat. 5, 236 (1996).

    Examples
    --------
    >>> from stpbnn import NNGPRegressor
    >>> X = np.linspace(-1, 1, 8)[:, None]
    >>> plot_residuals(NNGPRegressor(temperature=0.1).fit(X[::2], X[::2, 0]), X[1::2], X[1::2, 0]).get_xlabel()
    'predicted y'
    """
    law = predictive_of(model, X, noise=True)
    y = _targets(y, law.mean)
    scores = np.clip(ndtri(law.cdf(y.reshape(law.mean.shape))), -FARTHEST, FARTHEST).ravel()
    ax = new_axes(ax)
    ax.axhline(0, color=POSTERIOR, lw=1)
    for end in ndtri([0.025, 0.975]):
        ax.axhline(end, color=POSTERIOR, lw=1, ls=":")
    ax.plot(law.mean.ravel(), scores, "o", color=COLOURS[0], ms=4, mew=0, alpha=0.7)
    reach = 1.1 * max(3.0, float(np.abs(scores).max()))
    ax.set(xlabel="predicted y", ylabel="residual, as a normal score", ylim=(-reach, reach))
    return ax


def _probability(p: Any) -> float:
    """Return a probability between zero and one, both excluded."""
    if check.number("p", p) >= 1:
        raise ValueError(f"p: got {check.shown(p)}, expected a probability below one, such as 0.9")
    return float(p)


def _targets(y: Any, mean: np.ndarray, output: int | None = None) -> np.ndarray:
    """Return checked targets that fit these means, those of one output where asked."""
    outputs = 1 if mean.ndim == 1 else mean.shape[1]
    if output is not None and output >= outputs:
        raise ValueError(f"output: got {output}, expected 0..{outputs - 1}")
    y = check.targets("y", y.to_numpy() if hasattr(y, "to_numpy") else y, examples=len(mean), outputs=outputs)
    return y if output is None else _of_output(y, output)


def _of_output(values: np.ndarray, output: int, last: bool = False) -> np.ndarray:
    """Return the values of one output, whose axis is the second."""
    return values[:, output] if values.ndim - last == 2 else values


def _column(X: Any, feature: int | str) -> int:
    """Return the number of a column, given it or its name."""
    if isinstance(feature, str):
        names = [str(name) for name in getattr(X, "columns", ())]
        if not names:
            raise ValueError(f"feature: got {feature!r}, expected the number of a column: X is no frame with names")
        return names.index(check.one_of("feature", feature, names))
    if not hasattr(X, "iloc"):
        check.inputs("X", X)
    return check.integer("feature", feature, minimum=0, below=np.shape(X)[1])


def _section(X: Any, column: int, grid: np.ndarray) -> Any:
    """Return query points along one input, all others at their medians; a frame for a frame."""
    if not hasattr(X, "iloc"):
        points = np.tile(np.median(np.asarray(X, dtype=float), axis=0), (len(grid), 1))
        points[:, column] = grid
        return points
    frame = X.iloc[np.zeros(len(grid), dtype=int)].reset_index(drop=True)
    for i, name in enumerate(X.columns):
        values = X.iloc[:, i]
        numeric = values.dtype.kind in "fiu"
        frame[name] = grid if i == column else values.median() if numeric else values.mode().iloc[0]
    return frame
