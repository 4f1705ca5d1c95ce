r"""Predictive distributions: what a fitted regressor says about the function, or a new target, at query points.

One frozen interface: `mean`, `variance`, `std`, `quantile`, `interval`, `cdf`, `pdf`, `logpdf`, `sample`. A marginal
law has one entry a query point (and output); the joint law couples the query points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import logsumexp, ndtr, ndtri

__all__ = ["Gaussian", "IndependentOutputs", "JointGaussian", "JointMixture", "Mixture"]

BISECTIONS = 100  # more than the bits of a double: the bracket closes before


def _levels(p: ArrayLike) -> np.ndarray:
    levels = np.asarray(p, dtype=float)
    if not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(f"p: got {p!r}, expected probabilities between 0 and 1")
    return levels


class _Law:
    """What all predictive laws share, on top of mean, variance, quantile and logpdf."""

    mean: np.ndarray
    variance: np.ndarray

    def quantile(self, p: ArrayLike) -> np.ndarray:
        raise NotImplementedError

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        raise NotImplementedError

    @property
    def std(self) -> np.ndarray:
        """Standard deviations."""
        return np.sqrt(self.variance)

    def interval(self, p: float) -> np.ndarray:
        """Return the central interval of probability p: lower and upper ends along a new last axis."""
        _levels(p)
        return self.quantile([(1 - p) / 2, (1 + p) / 2])

    def pdf(self, y: ArrayLike) -> np.ndarray:
        """Return the density at y: entry by entry, or of all values together for a joint law."""
        return np.exp(self.logpdf(y))


@dataclass(frozen=True, eq=False)
class Gaussian(_Law):
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

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis."""
        p = _levels(p)
        mean, std = (x.reshape(x.shape + (1,) * p.ndim) for x in (self.mean, self.std))
        inside = (p > 0) & (p < 1)
        return np.where(inside, mean + std * ndtri(np.where(inside, p, 0.5)), np.where(p > 0, np.inf, -np.inf))

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probability of a value of at most y, entry by entry; at zero variance it is a step."""
        above = np.asarray(y, dtype=float) - self.mean
        certain = self.variance == 0
        return np.where(certain, above >= 0, ndtr(above / np.where(certain, 1, self.std)))

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y, entry by entry; at zero variance there is none (infinite, or zero)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            density = stats.norm.logpdf(y, self.mean, self.std)
        return np.where(self.variance > 0, density, np.where(np.asarray(y) == self.mean, np.inf, -np.inf))

    def sample(self, n: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw n independent values at each query point, along a new first axis."""
        from sklearn.utils import check_random_state

        noise = check_random_state(random_state).standard_normal((n, *self.mean.shape))
        return self.mean + self.std * noise


@dataclass(frozen=True, eq=False)
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

    def sample(self, n: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        from sklearn.utils import check_random_state

        values, directions = eigh(self.covariance)
        root = directions * np.sqrt(np.maximum(values, 0))
        noise = check_random_state(random_state).standard_normal((n, *self.mean.shape))
        return self.mean + np.einsum("ij,nj...->ni...", root, noise)


@dataclass(frozen=True, eq=False)
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
    def joint(cls, means: np.ndarray, covariances: list[np.ndarray], rotation: np.ndarray | None = None) -> Self:
        """Return the law of f = g V^T from the means (n, D) and the covariances of the columns of g."""
        V = np.eye(means.shape[1]) if rotation is None else rotation
        laws = [JointGaussian(m, np.diag(C).copy(), C) for m, C in zip(means.T, covariances, strict=True)]
        covariance = np.stack(covariances, axis=-1) @ V.T**2
        return cls(means @ V.T, np.einsum("iid->id", covariance).copy(), covariance, V, laws)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density of all values y (n, D) together.

        Raises
        ------
        ValueError
            If a covariance is singular, as it is for query points that repeat.
        """
        rotated = np.asarray(y, dtype=float) @ self.rotation
        return np.asarray(sum(law.logpdf(column) for law, column in zip(self.laws, rotated.T, strict=True)))

    def sample(self, n: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        from sklearn.utils import check_random_state

        rng = check_random_state(random_state)
        return np.stack([law.sample(n, rng) for law in self.laws], axis=-1) @ self.rotation.T


@dataclass(frozen=True, eq=False)
class Mixture(_Law):
    r"""Finite mixtures of Gaussian laws with common weights, one mixture for each query point and output.

    .. math:: p(f) = \sum_i w_i\, N(f;\ \text{means}_i, \text{variances}_i)

    Parameters
    ----------
    weights : array of shape (m,)
        Weights of the components, of sum one.
    means, variances : arrays of shape (m, n) or (m, n, D)
        Means and variances (not standard deviations) of the components.

    Attributes
    ----------
    mean, variance : arrays of shape (n,) or (n, D)
        Moments of the mixture: its variance is the mean of the variances plus the variance of the means.

    Examples
    --------
    >>> law = Mixture(np.array([0.5, 0.5]), np.array([[0.0], [0.0]]), np.array([[1.0], [4.0]]))
    >>> law.mean, law.variance, law.quantile(0.975).round(4)
    (array([0.]), array([2.5]), array([3.2991]))
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    mean: np.ndarray = field(init=False)
    variance: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        mean = np.tensordot(self.weights, self.means, 1)
        object.__setattr__(self, "mean", mean)
        spread = self.variances + (self.means - mean) ** 2
        object.__setattr__(self, "variance", np.tensordot(self.weights, spread, 1))

    def _standardised(self, y: ArrayLike, axes: int = 0) -> np.ndarray:
        """Return (y − means)/std of all components; y may have further last axes. A point mass gives ±infinity."""
        means, variances = (x.reshape(x.shape + (1,) * axes) for x in (self.means, self.variances))
        above = np.asarray(y, dtype=float) - means
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(variances > 0, above / np.sqrt(variances), np.where(above >= 0, np.inf, -np.inf))

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis.

        Bisection to the last digit between the lowest and the highest quantile of the components.
        """
        levels = _levels(p)
        axes = levels.ndim
        means, stds = (x.reshape(x.shape + (1,) * axes) for x in (self.means, np.sqrt(self.variances)))
        inside = np.clip(levels, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)
        ends = means + stds * ndtri(inside)
        lower, upper = ends.min(axis=0), ends.max(axis=0)
        for _ in range(BISECTIONS):
            middle = (lower + upper) / 2
            below = np.tensordot(self.weights, ndtr(self._standardised(middle, axes)), 1) < inside
            lower, upper = np.where(below, middle, lower), np.where(below, upper, middle)
        unbounded = np.where(levels == 0, -np.inf, np.inf)
        return np.where((levels == 0) | (levels == 1), unbounded, upper)

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probability of a value below y, entry by entry."""
        return np.tensordot(self.weights, ndtr(self._standardised(y)), 1)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y, entry by entry."""
        log_density = stats.norm.logpdf(y, self.means, np.sqrt(self.variances))
        weights = self.weights.reshape((-1,) + (1,) * (log_density.ndim - 1))
        return np.asarray(logsumexp(log_density, axis=0, b=weights))

    def sample(self, n: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw n independent values at each query point, along a new first axis."""
        from sklearn.utils import check_random_state

        rng = check_random_state(random_state)
        shape = (n, *self.mean.shape)
        chosen = rng.choice(len(self.weights), size=shape, p=self.weights)
        means, variances = (np.take_along_axis(x, chosen, axis=0) for x in (self.means, self.variances))
        return means + np.sqrt(variances) * rng.standard_normal(shape)


@dataclass(frozen=True, eq=False)
class JointMixture(Mixture):
    r"""A finite mixture of joint Gaussian laws at all query points, for one output.

    .. math:: p(f_1, \dots, f_n) = \sum_i w_i\, N(f;\ \text{means}_i, \text{covariances}_i)

    Parameters
    ----------
    weights : array of shape (m,)
        Weights of the components, of sum one.
    means, variances : arrays of shape (m, n)
        Means of the components, and the diagonals of their covariances.
    covariances : array of shape (m, n, n)
        Covariances between the query points.

    Attributes
    ----------
    mean, variance, covariance : arrays of shape (n,), (n,) and (n, n)
        Moments of the mixture.

    Examples
    --------
    >>> law = JointMixture.of(np.array([0.5, 0.5]), np.zeros((2, 2)), np.array([np.eye(2), 4 * np.eye(2)]))
    >>> law.covariance.tolist(), round(float(law.logpdf([0.0, 0.0])), 6)
    ([[2.5, 0.0], [0.0, 2.5]], -2.307881)
    """

    covariances: np.ndarray
    covariance: np.ndarray = field(init=False)

    @classmethod
    def of(cls, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> Self:
        """Return the mixture with the variances that the covariances say."""
        return cls(weights, means, np.diagonal(covariances, axis1=1, axis2=2).copy(), covariances)

    def __post_init__(self) -> None:
        super().__post_init__()
        shifts = self.means - self.mean
        between = (self.weights[:, None] * shifts).T @ shifts
        object.__setattr__(self, "covariance", np.tensordot(self.weights, self.covariances, 1) + between)

    def _component(self, i: int) -> JointGaussian:
        return JointGaussian(self.means[i], self.variances[i], self.covariances[i])

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density of all values y (n,) together.

        Raises
        ------
        ValueError
            If a covariance is singular, as it is for query points that repeat.
        """
        return np.asarray(logsumexp([self._component(i).logpdf(y) for i in range(len(self.weights))], b=self.weights))

    def sample(self, n: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        from sklearn.utils import check_random_state

        rng = check_random_state(random_state)
        chosen = rng.choice(len(self.weights), size=n, p=self.weights)
        draws = np.empty((n, *self.mean.shape))
        for i in np.unique(chosen):
            rows = np.flatnonzero(chosen == i)
            draws[rows] = self._component(i).sample(len(rows), rng)
        return draws
