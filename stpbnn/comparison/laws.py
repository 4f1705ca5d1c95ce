"""What fitted regressors say beyond mean and variance: quantiles of f, laws of order parameters, means at training."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from stpbnn.scale import by_layer

__all__ = ["LEVELS", "PROBABILITIES", "fitted_means", "order_parameter_quantiles", "quantiles"]

LEVELS = np.arange(1, 20) / 20
PROBABILITIES = ndtr(np.linspace(-3.5, 3.5, 57))  # steps of an eighth of a standard deviation
SCALES = np.linspace(-6, 6, 121)  # where a law is tabulated, in standard deviations from its mean


def quantiles(mean: np.ndarray, std: np.ndarray, law: Any = None) -> np.ndarray:
    """Return the quantiles of f at `LEVELS`, along a new first axis.

    The distribution function is tabulated, and inverted in units of the normal quantile: exact for Gaussian laws, good
    to about 1e-3 in probability for their mixtures, at a small part of the cost of solving for every quantile.

    Parameters
    ----------
    mean, std : arrays of shape (M,) or (M, D)
        Moments of f at the test points.
    law : optional
        A law of `stpbnn.predictive` of f there; by default Gaussian.

    Examples
    --------
    >>> quantiles(np.array([1.0]), np.array([2.0]))[[0, 9, 18], 0].round(3)
    array([-2.29,  1.  ,  4.29])
    """
    shape = (len(LEVELS),) + (1,) * mean.ndim
    if law is None:
        return mean + std * ndtri(LEVELS).reshape(shape)
    columns = [np.reshape(law.cdf(np.reshape(mean + std * z, law.mean.shape)), -1) for z in SCALES]
    tiny = float(ndtr(SCALES[0])) / 2
    table = ndtri(np.clip(np.stack(columns, axis=1), tiny, 1 - tiny))
    found = [np.interp(ndtri(LEVELS), row, SCALES) for row in table]
    return mean + std * np.moveaxis(np.reshape(found, (*mean.shape, len(LEVELS))), -1, 0)


def order_parameter_quantiles(fitted: list[Any], layers: int) -> dict[str, Any]:
    """Return the quantiles of the order parameters at `PROBABILITIES`, NaN for theories that know no law of them.

    The scale r of a Student's t-process stands in the place of the first of as many layers as the table has.
    """
    laws = [getattr(t, "order_parameter_posterior_", getattr(t, "scale_posterior_", None)) for t in fitted]
    if all(law is None for law in laws):
        return {}
    table = np.full((len(laws), layers, len(PROBABILITIES)), np.nan)
    for row, law, theory in zip(table, laws, fitted, strict=True):
        if law is not None:
            matrices = law.nodes.ndim == 3  # over positions
            each = law._replace(nodes=by_layer(theory.network_, law.nodes)) if matrices else law
            row[: each.nodes.shape[1]] = each.quantile(PROBABILITIES)
    dims = ("theory", "layer", "probability")
    return {"order_parameter_quantiles": (dims, table), "probability": ("probability", PROBABILITIES)}


def fitted_means(fitted: list[Any]) -> dict[str, Any]:
    """Return the mean of f at the training inputs, where all theories know the same number of them."""
    inputs = [theory.X_train_ for theory in fitted if hasattr(theory, "X_train_")]
    if len(inputs) < len(fitted) or len({len(X) for X in inputs}) > 1:
        return {}
    means = np.stack([theory.predict(X) for theory, X in zip(fitted, inputs, strict=True)])
    means = means[..., 0] if means.shape[2:] == (1,) else means
    return {"train_mean": (("theory", "train_point", "output")[: means.ndim], means)}
