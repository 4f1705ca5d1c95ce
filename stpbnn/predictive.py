r"""Predictive distributions: what a fitted regressor says about the function, or a new target, at query points.

One frozen interface: `mean`, `variance`, `std`, `quantile`, `interval`, `cdf`, `pdf`, `logpdf`, `sample`. A marginal
law has one entry a query point (and output); the joint law couples the query points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.linalg import cholesky, eigh, solve_triangular

__all__ = ["Gaussian", "JointGaussian"]


@dataclass(frozen=True)
class Gaussian:
    r"""Independent Gaussian laws, one for each query point and output.

    .. math:: f(x) \sim N(\text{mean}, \text{variance})

    Parameters
    ----------
    mean : array of shape (n,) or (n, D)
        Means.
    variance : array of the same shape
        Variances (not standard deviations).

    Examples
    --------
    >>> law = Gaussian(np.array([0.0, 1.0]), np.array([1.0, 4.0]))
    >>> law.interval(0.95).round(2)
    array([[-1.96,  1.96],
           [-2.92,  4.92]])
    """

    mean: np.ndarray
    variance: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """Standard deviations."""
        return np.sqrt(self.variance)

    @property
    def _law(self) -> Any:
        return stats.norm(self.mean, self.std)

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis."""
        p = np.asarray(p, dtype=float)
        if not np.all((p >= 0) & (p <= 1)):
            raise ValueError(f"p: got {p!r}, expected probabilities between 0 and 1")
        mean, std = (x.reshape(x.shape + (1,) * p.ndim) for x in (self.mean, self.std))
        return stats.norm.ppf(p, mean, std)

    def interval(self, p: float) -> np.ndarray:
        """Return the central interval of probability p: lower and upper ends along a new last axis."""
        return self.quantile([(1 - p) / 2, (1 + p) / 2])

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probability of a value below y, entry by entry."""
        return self._law.cdf(y)

    def pdf(self, y: ArrayLike) -> np.ndarray:
        """Return the density at y, entry by entry."""
        return self._law.pdf(y)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y, entry by entry."""
        return self._law.logpdf(y)

    def sample(self, n: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw n independent values at each query point, along a new first axis."""
        from sklearn.utils import check_random_state

        noise = check_random_state(random_state).standard_normal((n, *self.mean.shape))
        return self.mean + self.std * noise


@dataclass(frozen=True)
class JointGaussian(Gaussian):
    r"""The joint Gaussian law at all query points; outputs share the covariance and are independent of each other.

    .. math:: (f(x_1), \dots, f(x_n)) \sim N(\text{mean}, \text{covariance})

    Parameters
    ----------
    mean : array of shape (n,) or (n, D)
        Means.
    variance : array of the same shape
        The diagonal of the covariance.
    covariance : array of shape (n, n)
        Covariance between the query points.

    Examples
    --------
    >>> law = JointGaussian(np.zeros(2), np.ones(2), np.array([[1.0, 0.8], [0.8, 1.0]]))
    >>> round(float(law.logpdf([0.0, 0.0])), 6)
    -1.327051
    """

    covariance: np.ndarray

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density of all values y (n,) or (n, D) together.

        Raises
        ------
        ValueError
            If the covariance is singular, as it is for query points that repeat.
        """
        residual = np.asarray(y, dtype=float) - self.mean
        try:
            factor = cholesky(self.covariance, lower=True)
        except np.linalg.LinAlgError:
            raise ValueError(
                "logpdf: the joint covariance is singular (repeated query points?); ask for the law with noise=True"
            ) from None
        white = solve_triangular(factor, residual, lower=True)
        columns = residual.size // len(residual)
        log_det = 2 * columns * np.log(np.diag(factor)).sum()
        return np.asarray(-(np.sum(white**2) + log_det + residual.size * np.log(2 * np.pi)) / 2)

    def pdf(self, y: ArrayLike) -> np.ndarray:
        """Return the density of all values y together."""
        return np.exp(self.logpdf(y))

    def sample(self, n: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        from sklearn.utils import check_random_state

        values, directions = eigh(self.covariance)
        root = directions * np.sqrt(np.maximum(values, 0))
        noise = check_random_state(random_state).standard_normal((n, *self.mean.shape))
        return self.mean + np.einsum("ij,nj...->ni...", root, noise)
