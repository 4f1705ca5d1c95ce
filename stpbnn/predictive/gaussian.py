"""Gaussian laws: independent, joint over the query points, and joint over several outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.linalg import eigh
from scipy.special import ndtr, ndtri

from stpbnn.predictive.joint import whiten
from stpbnn.predictive.law import Law, levels, random, values

__all__ = ["Gaussian", "IndependentOutputs", "JointGaussian"]


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(Law):
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

    @classmethod
    def concatenate(cls, laws: Sequence[Self]) -> Self:
        """Return one law for the query points of several."""
        return cls(*(np.concatenate([getattr(law, name) for law in laws]) for name in ("mean", "variance")))

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis."""
        p = levels(p)
        mean, std = (x.reshape(x.shape + (1,) * p.ndim) for x in (self.mean, self.std))
        inside = (p > 0) & (p < 1)
        return np.where(inside, mean + std * ndtri(np.where(inside, p, 0.5)), np.where(p > 0, np.inf, -np.inf))

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probability of a value of at most y, entry by entry; at zero variance it is a step."""
        above = values(y, self.mean) - self.mean
        certain = self.variance == 0
        return np.where(certain, above >= 0, ndtr(above / np.where(certain, 1, self.std)))

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y, entry by entry; at zero variance it is +∞ at the mean and −∞ elsewhere."""
        y = values(y, self.mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            density = stats.norm.logpdf(y, self.mean, self.std)
        return np.where(self.variance > 0, density, np.where(y == self.mean, np.inf, -np.inf))

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n independent values at each query point, along a new first axis."""
        n, rng = random(n, random_state)
        noise = rng.standard_normal((n, *self.mean.shape))
        return self.mean + self.std * noise


@dataclass(frozen=True, eq=False, repr=False)
class JointGaussian(Gaussian):
    r"""The joint Gaussian law at all query points: density and samples are joint, quantiles and cdf marginal.

    .. math:: (f(x_1), \dots, f(x_n)) \sim N(\text{mean}, \text{covariance})

    Parameters
    ----------
    mean : array of shape (n,) or (n, D)
        Means.
    variance : array of the same shape
        The diagonal of the covariance.
    covariance : array of shape (n, n)
        Covariance between the query points.
    error : float
        The relative error of the covariance, where it is above rounding.

    Examples
    --------
    >>> law = JointGaussian(np.zeros(2), np.ones(2), np.array([[1.0, 0.8], [0.8, 1.0]]))
    >>> round(float(law.logpdf([0.0, 0.0])), 6)
    -1.327051
    """

    covariance: np.ndarray
    error: float = 0.0

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density of all values y (n,) or (n, D) together.

        Raises
        ------
        ValueError
            If the covariance is singular to rounding, as it is for query points that repeat, or that are many and close
            together under a smooth kernel.
        """
        residual = values(y, self.mean) - self.mean
        log_det, quadratic = whiten(self.covariance, residual, self.error)
        return np.asarray(-(quadratic + log_det + residual.size * np.log(2 * np.pi)) / 2)

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        values, directions = eigh(self.covariance)
        root = directions * np.sqrt(np.maximum(values, 0))
        n, rng = random(n, random_state)
        noise = rng.standard_normal((n, *self.mean.shape))
        return self.mean + np.einsum("ij,nj...->ni...", root, noise)


@dataclass(frozen=True, eq=False, repr=False)
class IndependentOutputs(Gaussian):
    r"""The joint Gaussian law of several outputs at all query points: independent after a rotation of the outputs.

    .. math:: f V = g, \qquad (g_d(x_1), \dots, g_d(x_n)) \sim N(\text{mean}_d, C_d) \text{ independently for } d = 1..D

    Parameters
    ----------
    mean : array of shape (n, D)
        Means of f.
    variance : array of shape (n, D)
        Variances of f.
    covariance : array of shape (n, n, D)
        Covariance of each output of f between the query points.
    rotation : array of shape (D, D)
        V, orthogonal.
    laws : list of JointGaussian
        The laws of the columns of g.

    Examples
    --------
    >>> law = IndependentOutputs.joint(np.zeros((2, 3)), [np.eye(2), 2 * np.eye(2), 3 * np.eye(2)])
    >>> law.sample(5, random_state=0).shape, law.variance[0].tolist()
    ((5, 2, 3), [1.0, 2.0, 3.0])
    """

    covariance: np.ndarray
    rotation: np.ndarray
    laws: list[JointGaussian]

    @classmethod
    def joint(
        cls,
        means: np.ndarray,
        covariances: list[np.ndarray],
        rotation: np.ndarray | None = None,
        error: float = 0.0,
    ) -> Self:
        """Return the law of f = g V^T from the means (n, D) and the covariances of the columns of g."""
        V = np.eye(means.shape[1]) if rotation is None else rotation
        laws = [JointGaussian(m, np.diag(C).copy(), C, error) for m, C in zip(means.T, covariances, strict=True)]
        covariance = np.stack(covariances, axis=-1) @ V.T**2
        return cls(means @ V.T, np.einsum("iid->id", covariance).copy(), covariance, V, laws)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density of all values y (n, D) together.

        Raises
        ------
        ValueError
            If a covariance is singular to rounding, as it is for query points that repeat.
        """
        rotated = np.broadcast_to(values(y, self.mean), self.mean.shape) @ self.rotation
        return np.asarray(sum(law.logpdf(column) for law, column in zip(self.laws, rotated.T, strict=True)))

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        n, rng = random(n, random_state)
        return np.stack([law.sample(n, rng) for law in self.laws], axis=-1) @ self.rotation.T
