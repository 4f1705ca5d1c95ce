"""Finite mixtures of Gaussian laws, independent and joint over the query points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, ndtr

from stpbnn.predictive.gaussian import Gaussian, IndependentOutputs, JointGaussian
from stpbnn.predictive.inversion import inverse_cdf
from stpbnn.predictive.law import Law, levels, random, values

__all__ = ["JointMixture", "Mixture", "MixtureOfOutputs"]


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Law):
    r"""Finite mixtures of Gaussian laws with common weights, one mixture for each query point and output.

    .. math:: p(f) = \sum_i w_i\, N(f;\ \text{means}_i, \text{variances}_i)

    Parameters
    ----------
    weights : array of shape (m,)
        Weights of the components, of sum one.
    means, variances : arrays of shape (m, n) or (m, n, D)
        Means, less the offset, and variances (not standard deviations) of the components.
    offset : array of shape () or (D,)
        What is added to all values. It may be so large that the means would be lost in it.

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
    offset: np.ndarray = field(default_factory=lambda: np.zeros(()), kw_only=True)
    mean: np.ndarray = field(init=False)
    variance: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", np.array(self.weights))  # a copy: the model keeps the weights too
        mean = np.tensordot(self.weights, self.means, 1)
        object.__setattr__(self, "mean", self.offset + mean)
        spread = self.variances + (self.means - mean) ** 2
        object.__setattr__(self, "variance", np.tensordot(self.weights, spread, 1))

    @classmethod
    def concatenate(cls, laws: Sequence[Self]) -> Self:
        """Return one law for the query points of several, whose weights are the same."""
        means, variances = (
            np.concatenate([getattr(law, name) for law in laws], axis=1) for name in ("means", "variances")
        )
        return cls(laws[0].weights, means, variances, offset=laws[0].offset)

    def _standardised(self, y: ArrayLike) -> np.ndarray:
        """Return (y − means)/std of all components. A point mass gives ±infinity."""
        above = np.asarray(y, dtype=float) - self.means
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.variances > 0, above / np.sqrt(self.variances), np.where(above >= 0, np.inf, -np.inf))

    def _particulars(self) -> list[str]:
        return [f"{len(self.weights)} components"]

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis.

        They lie between the lowest and the highest quantile of the components, and are solved for to the last digit.
        """
        p = levels(p)
        points = self.mean.size
        means, stds = (x.reshape(len(self.weights), points) for x in (self.means, np.sqrt(self.variances)))
        centres = self.weights @ means
        found = np.empty((points, p.size))
        for column, level in zip(found.T, p.ravel(), strict=True):
            column[:] = (
                np.copysign(np.inf, level - 0.5)
                if level in (0, 1)
                else inverse_cdf(self.weights, means, stds, centres, self.std.ravel(), level)
            )
        offset = np.asarray(self.offset)
        return offset.reshape(offset.shape + (1,) * p.ndim) + found.reshape(self.mean.shape + p.shape)

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probability of a value below y, entry by entry."""
        return np.tensordot(self.weights, ndtr(self._standardised(values(y, self.mean) - self.offset)), 1)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y, entry by entry: infinite at point masses, which elsewhere have none."""
        log_density = Gaussian(self.means, self.variances).logpdf(values(y, self.mean) - self.offset)
        weights = self.weights.reshape((-1,) + (1,) * (log_density.ndim - 1))
        return np.asarray(logsumexp(log_density, axis=0, b=weights))

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n independent values at each query point, along a new first axis."""
        n, rng = random(n, random_state)
        shape = (n, *self.mean.shape)
        chosen = rng.choice(len(self.weights), size=shape, p=self.weights)
        means, variances = (np.take_along_axis(x, chosen, axis=0) for x in (self.means, self.variances))
        return self.offset + (means + np.sqrt(variances) * rng.standard_normal(shape))


@dataclass(frozen=True, eq=False, repr=False)
class _Coupled(Mixture):
    """A mixture whose components couple the query points."""

    def _component(self, i: int) -> Gaussian:
        """Return the joint law of one component."""
        raise NotImplementedError

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density of all values y (n,) or (n, D) together.

        Raises
        ------
        ValueError
            If a covariance is singular to rounding, as it is for query points that repeat, or that are many and close
            together under a smooth kernel.
        """
        y = values(y, self.mean) - self.offset
        return np.asarray(logsumexp([self._component(i).logpdf(y) for i in range(len(self.weights))], b=self.weights))

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        n, rng = random(n, random_state)
        chosen = rng.choice(len(self.weights), size=n, p=self.weights)
        draws = np.empty((n, *self.mean.shape))
        for i in np.unique(chosen):
            rows = np.flatnonzero(chosen == i)
            draws[rows] = self._component(i).sample(len(rows), rng)
        return self.offset + draws


@dataclass(frozen=True, eq=False, repr=False)
class JointMixture(_Coupled):
    r"""A finite mixture of joint Gaussian laws at all query points.

    .. math:: p(f_1, \dots, f_n) = \sum_i w_i\, N(f;\ \text{means}_i, \text{covariances}_i)

    Within a component D outputs are independent, with the same covariance up to the square of the output's unit.

    Parameters
    ----------
    weights : array of shape (m,)
        Weights of the components, of sum one.
    means, variances : arrays of shape (m, n) or (m, n, D)
        Means of the components, and the diagonals of their covariances, times the squared units.
    covariances : array of shape (m, n, n)
        Covariances between the query points, in each output's units.
    units, offset : arrays of shape () or (D,)
        Units of the outputs, and what is added to all values.
    error : float
        The largest relative error of a covariance, where it is above rounding.

    Attributes
    ----------
    mean, variance : arrays of shape (n,) or (n, D)
        Moments of the mixture.
    covariance : array of shape (n, n) or (n, n, D)
        Covariance of the mixture between the query points, of each output.

    Examples
    --------
    >>> law = JointMixture.of(np.array([0.5, 0.5]), np.zeros((2, 2)), np.array([np.eye(2), 4 * np.eye(2)]))
    >>> law.covariance.tolist(), round(float(law.logpdf([0.0, 0.0])), 6)
    ([[2.5, 0.0], [0.0, 2.5]], -2.307881)
    """

    covariances: np.ndarray
    units: np.ndarray = field(default_factory=lambda: np.ones(()))
    error: float = 0.0
    covariance: np.ndarray = field(init=False)

    @classmethod
    def of(
        cls,
        weights: np.ndarray,
        means: np.ndarray,
        covariances: np.ndarray,
        units: ArrayLike = 1.0,
        error: float = 0.0,
        offset: ArrayLike = 0.0,
    ) -> Self:
        """Return the mixture with the variances that the covariances say."""
        variances = np.diagonal(covariances, axis1=1, axis2=2)
        variances = variances.reshape(variances.shape + (1,) * (means.ndim - 2)) * np.asarray(units) ** 2
        variances = np.array(np.broadcast_to(variances, means.shape))
        units, offset = np.array(units, dtype=float), np.array(offset, dtype=float)
        return cls(weights, means, variances, covariances, units, error, offset=offset)

    def __post_init__(self) -> None:
        super().__post_init__()
        shifts = self.means - np.tensordot(self.weights, self.means, 1)
        between = np.einsum("m,mi...,mj...->ij...", self.weights, shifts, shifts)
        squares = np.broadcast_to(self.units**2, self.mean.shape[1:])
        within = np.multiply.outer(np.tensordot(self.weights, self.covariances, 1), squares)
        object.__setattr__(self, "covariance", within + between)

    def _component(self, i: int) -> Gaussian:
        if self.mean.ndim == 1:
            return JointGaussian(self.means[i], self.variances[i], self.units**2 * self.covariances[i], self.error)
        units = np.broadcast_to(self.units, self.mean.shape[1:])
        covariances = [unit**2 * self.covariances[i] for unit in units]
        return IndependentOutputs.joint(self.means[i], covariances, error=self.error)


@dataclass(frozen=True, eq=False, repr=False)
class MixtureOfOutputs(_Coupled):
    r"""A finite mixture of joint laws of several outputs at all query points, each with a rotation of its own.

    Its components are made one at a time, on request: all their covariances together may not fit into memory.

    Parameters
    ----------
    weights : array of shape (m,)
        Weights of the components, of sum one.
    means, variances : arrays of shape (m, n, D)
        Means and variances of the components.
    covariance : array of shape (n, n, D)
        Covariance of the mixture between the query points, of each output.
    component : callable
        From the number of a component to its law.

    Examples
    --------
    >>> parts = [IndependentOutputs.joint(np.zeros((2, 2)), [s * np.eye(2), np.eye(2)]) for s in (1.0, 3.0)]
    >>> law = MixtureOfOutputs.of(np.array([0.5, 0.5]), parts.__getitem__)
    >>> law.covariance[0, 0].tolist(), law.sample(3, random_state=0).shape
    ([2.0, 1.0], (3, 2, 2))
    """

    covariance: np.ndarray
    component: Callable[[int], IndependentOutputs]

    @classmethod
    def of(cls, weights: np.ndarray, component: Callable[[int], Any]) -> Self:
        """Return the mixture with the moments that its components say."""
        means, variances = [], []
        within: Any = 0.0
        for i, weight in enumerate(weights):
            law = component(i)
            means.append(law.mean)
            variances.append(law.variance)
            within = within + weight * law.covariance
        shifts = np.stack(means) - np.tensordot(weights, means, 1)
        between = np.einsum("m,mid,mjd->ijd", weights, shifts, shifts)
        return cls(weights, np.stack(means), np.stack(variances), within + between, component)

    def _component(self, i: int) -> Gaussian:
        return self.component(i)
