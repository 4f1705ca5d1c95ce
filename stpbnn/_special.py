"""Differences of gamma functions that keep their digits at any argument."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

__all__ = ["exponential_excess", "log_gamma_ratio", "stirling_error"]

ASYMPTOTIC = 16.0  # from here on the series below has all digits of a double
# Bernoulli numbers B_2k / (2k (2k − 1))
SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
NEAR = 0.25  # from here on the difference below loses less than a digit


def exponential_excess(u: ArrayLike) -> np.ndarray:
    r"""Return how far the exponential function lies above its tangent at zero.

    .. math:: e^u - 1 - u = \tfrac{u^2}2 \left(1 + \tfrac u3 \left(1 + \tfrac u4 (1 + \dots)\right)\right)

    Examples
    --------
    >>> float(round(2e18 * exponential_excess(1e-9), 6))
    1.0
    """
    u = np.asarray(u, dtype=float)
    small = np.clip(u, -NEAR, NEAR)
    series = np.ones(u.shape)
    for k in range(14, 2, -1):
        series = 1 + small / k * series
    return np.where(np.abs(u) < NEAR, small**2 / 2 * series, np.expm1(u) - u)


def stirling_error(x: float) -> tuple[float, float]:
    r"""Return what Stirling's formula leaves out of log Γ(x), and its derivative.

    .. math:: \delta(x) = \log\Gamma(x) - (x - \tfrac12) \log x + x - \tfrac12 \log 2\pi

    Examples
    --------
    >>> round(12e9 * stirling_error(1e9)[0], 9)
    1.0
    """
    if x < ASYMPTOTIC:
        value = gammaln(x) - (x - 0.5) * np.log(x) + x - 0.5 * np.log(2 * np.pi)
        return float(value), float(digamma(x) - np.log(x) + 0.5 / x)
    powers = x ** -(2.0 * np.arange(len(SERIES)) + 1)
    value = np.dot(SERIES, powers)
    return float(value), float(-np.dot(SERIES, (2 * np.arange(len(SERIES)) + 1) * powers) / x)


@lru_cache(maxsize=64)  # a search asks for the same ones at every step
def log_gamma_ratio(a: float, m: float) -> tuple[float, float]:
    r"""Return log Γ(a + m) − log Γ(a) − m log a, which vanishes as a → ∞, and its derivative in a.

    Examples
    --------
    >>> bool(abs(log_gamma_ratio(3.0, 2.0)[0] - np.log(3 * 4 / 9)) < 1e-14)
    True
    """
    (upper, d_upper), (lower, d_lower) = stirling_error(a + m), stirling_error(a)
    growth = np.log1p(m / a)
    value = (a + m - 0.5) * growth - m + upper - lower
    return float(value), float(growth - (a + m - 0.5) * m / (a * (a + m)) + d_upper - d_lower)
