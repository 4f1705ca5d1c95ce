"""Quantiles of mixtures of Gaussian laws, by Newton's method within a bracket."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from stpbnn._slices import slices

__all__ = ["inverse_cdf"]

STEPS = 150  # more than twice the bits of a double
TOGETHER = 2**17  # components times points that are worked at together: they fit into the cache
EPS = float(np.finfo(np.float64).eps)


def inverse_cdf(
    weights: np.ndarray, means: np.ndarray, stds: np.ndarray, mean: np.ndarray, std: np.ndarray, level: float
) -> np.ndarray:
    r"""Return where the distribution functions F of mixtures, one in each column, reach a level p.

    Newton's method on :math:`\Phi^{-1}(F(x)) = \Phi^{-1}(p)`, which is a straight line for one component, begun at the
    quantile of a Gaussian law of the same moments. Steps that leave the bracket, or hardly close it, are bisections:
    point masses and gaps between components need no care.

    Parameters
    ----------
    weights : array of shape (m,)
        Weights of the components.
    means, stds : arrays of shape (m, n)
        Means and standard deviations of the components; a standard deviation of zero is a point mass.
    mean, std : arrays of shape (n,)
        Those of the mixtures.
    level : float
        p, between zero and one and neither of them.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> inverse_cdf(np.ones(1), 2 * one, 3 * one, np.array([2.0]), np.array([3.0]), 0.5)
    array([2.])
    """
    parts = slices(len(mean), TOGETHER // len(weights))
    level = min(max(level, float(np.finfo(float).tiny)), 1 - float(np.finfo(float).epsneg))
    return np.concatenate([_solve(weights, means[:, at], stds[:, at], mean[at], std[at], level) for at in parts])


def _solve(
    weights: np.ndarray, means: np.ndarray, stds: np.ndarray, mean: np.ndarray, std: np.ndarray, level: float
) -> np.ndarray:
    z = ndtri(level)
    ends = means + stds * z
    lower, upper = ends.min(axis=0), ends.max(axis=0)
    at, moved = np.clip(mean + std * z, lower, upper), upper - lower
    coarse, found, left = 64 * EPS * moved, upper.copy(), np.arange(len(mean))
    for _ in range(STEPS):
        value, slope = _distribution(weights, means, stds, at)
        lower, upper = np.where(value < level, at, lower), np.where(value < level, upper, at)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            score = ndtri(value)
            step = (z - score) * np.exp(-(score**2) / 2) / (np.sqrt(2 * np.pi) * slope)
            blurred = 4 * EPS * level / slope  # by the rounding of F
        newton, middle = at + step, (lower + upper) / 2
        solved = np.abs(step) <= np.maximum(EPS * np.abs(at), np.minimum(blurred, coarse))
        done = solved | (middle <= lower) | (middle >= upper)
        found[left[done]] = np.where(solved, np.clip(newton, lower, upper), upper)[done]
        inside = (newton > lower) & (newton < upper) & (np.abs(step) < moved / 2)
        at, moved = np.where(inside, newton, middle), np.where(inside, np.abs(step), (upper - lower) / 2)
        if done.any():
            left, at, lower, upper, moved, coarse = (x[~done] for x in (left, at, lower, upper, moved, coarse))
            means, stds = means[:, ~done], stds[:, ~done]
        if not len(left):
            break
    found[left] = upper
    return found


def _distribution(
    weights: np.ndarray, means: np.ndarray, stds: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distribution functions of mixtures and their slopes, without those of point masses."""
    above, spread = x - means, stds > 0
    if spread.all():
        scores, densities = above / stds, weights[:, None] / stds
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = np.where(spread, above / stds, np.where(above >= 0, np.inf, -np.inf))
            densities = np.where(spread, weights[:, None] / stds, 0.0)
    slope = np.sum(densities * np.exp(-(scores**2) / 2), axis=0) / np.sqrt(2 * np.pi)
    return np.sum(weights[:, None] * ndtr(scores), axis=0), slope
