r"""Class probabilities averaged over Gaussian laws of the latent functions."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.special import expit, ndtr, ndtri, softmax
from scipy.stats import qmc

from stpbnn._slices import slices

__all__ = ["average_classes", "average_logistic", "average_softmax", "each_output"]

NARROW = 2.0  # variances up to which the logistic function is averaged over the normal law, and not the other way round
NORMAL = np.linspace(-9.0, 9.0, 49)
NORMAL_WEIGHTS = np.exp(-(NORMAL**2) / 2) / np.sqrt(2 * np.pi) * (NORMAL[1] - NORMAL[0])
LOGISTIC = np.linspace(-40.0, 40.0, 201)
LOGISTIC_WEIGHTS = expit(LOGISTIC) * expit(-LOGISTIC) * (LOGISTIC[1] - LOGISTIC[0])
POINTS = 11  # powers of two of the points over which a softmax is averaged
BLOCK = 2**21  # numbers that are held at a time


def average_logistic(mean: Float[np.ndarray, " n"], variance: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""Return E σ(f) with f ~ N(m, v), to 1e-12, by the trapezoidal rule.

    .. math:: E\,\sigma(f) = \int N(f; m, v)\, \sigma(f)\, df = \int \sigma'(x)\, \Phi\Big(\frac{m - x}{\sqrt v}\Big) dx

    The first form serves small variances, the second large ones.

    Examples
    --------
    >>> average_logistic(np.array([0.0, 1.0, 1.0]), np.array([3.0, 0.0, 4.0])).round(6)
    array([0.5     , 0.731059, 0.647726])
    """
    mean, variance = np.broadcast_arrays(mean, variance)
    found, narrow, std = np.empty(mean.shape), variance < NARROW, np.sqrt(variance)
    for some, rule in ((narrow, _over_normal), (~narrow, _over_logistic)):
        found[some] = rule(mean[some][:, None], std[some][:, None])
    return found


def _over_normal(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    return expit(mean + std * NORMAL) @ NORMAL_WEIGHTS


def _over_logistic(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    return ndtr((mean - LOGISTIC) / std) @ LOGISTIC_WEIGHTS


@cache
def _normal_points(dimensions: int) -> Float[np.ndarray, "m d"]:
    """Return a fixed set of points that covers the normal law evenly."""
    return ndtri(qmc.Sobol(dimensions, scramble=True, rng=0).random_base2(POINTS))


def average_softmax(mean: Float[np.ndarray, "n C"], covariance: Float[np.ndarray, "n C C"]) -> Float[np.ndarray, "n C"]:
    """Return E softmax(f) with f ~ N(m, V): exact for two classes, else over 2048 even points, good to about 1e-3.

    The points are the same at every call.

    Examples
    --------
    >>> average_softmax(np.array([[1.0, 0.0, 0.0]]), np.zeros((1, 3, 3))).round(4)
    array([[0.5761, 0.2119, 0.2119]])
    """
    if mean.shape[1] == 2:
        contrast = np.array([1.0, -1.0])
        variance = np.maximum(np.einsum("c,ncd,d->n", contrast, covariance, contrast), 0)
        return np.stack([average_logistic(sign * (mean @ contrast), variance) for sign in (1.0, -1.0)], axis=1)
    values, vectors = np.linalg.eigh(covariance)
    roots, points = vectors * np.sqrt(np.maximum(values, 0))[:, None, :], _normal_points(mean.shape[1])
    found = np.empty_like(mean)
    for part in slices(len(mean), BLOCK // points.size):
        draws = mean[part, None] + np.einsum("ncd,md->nmc", roots[part], points, optimize=True)
        found[part] = softmax(draws, axis=2).mean(axis=1)
    return found / found.sum(axis=1, keepdims=True)


def average_classes(mean: Float[np.ndarray, "n ..."], spread: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n C"]:
    """Return class probabilities from the law of one latent function, (n,) and (n,), or of C: (n, C) and (n, C, C).

    Examples
    --------
    >>> average_classes(np.array([1.0]), np.array([4.0])).round(4)
    array([[0.3523, 0.6477]])
    """
    if mean.ndim == 1:
        return np.stack([average_logistic(sign * mean, spread) for sign in (-1.0, 1.0)], axis=1)
    return average_softmax(mean, spread)


def each_output(
    mean: Float[np.ndarray, "n ..."], spread: Float[np.ndarray, "n ..."]
) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
    """Return mean and variance of each latent function alone."""
    return mean, spread if mean.ndim == 1 else np.maximum(np.einsum("ncc->nc", spread), 0)
