"""Student's t laws: independent, and joint over the query points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from scipy.special import stdtr, stdtrit

from stpbnn._special import log_gamma_ratio
from stpbnn.predictive.joint import whiten
from stpbnn.predictive.law import Law, levels, random, values

__all__ = ["JointStudentT", "StudentT", "log_density"]


def log_density(df: float, size: int, log_det: ArrayLike, quadratic: ArrayLike) -> np.ndarray:
    r"""Return the log density of the multivariate Student's t law, with all its digits at any ν.

    .. math:: \log\frac{\Gamma(\frac{\nu + n}2)}{\Gamma(\frac\nu2) (\nu\pi)^{n/2}} - \tfrac12 \log\det\Sigma
              - \tfrac{\nu + n}2 \log\left(1 + \frac q\nu\right)

    Parameters
    ----------
    df : float
        ν > 0.
    size : int
        n, the number of values.
    log_det : float or array
        log det of the scale matrix Σ (not of the covariance).
    quadratic : float or array
        q, the residuals' quadratic form with Σ^{-1}.

    References
    ----------
    Theory notes, section 5.

    Examples
    --------
    >>> round(float(log_density(1e15, 1, 0.0, 0.0)), 6)  # the Gaussian
    -0.918939
    """
    normalisation = log_gamma_ratio(df / 2, size / 2)[0] - size * np.log(2 * np.pi) / 2
    return np.asarray(normalisation - np.asarray(log_det) / 2 - (df + size) / 2 * np.log1p(np.asarray(quadratic) / df))


def _variance(df: float, scale_squared: np.ndarray) -> np.ndarray:
    return scale_squared * (df / (df - 2)) if df > 2 else np.where(scale_squared > 0, np.inf, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class StudentT(Law):
    r"""Independent Student's t laws of the same degrees of freedom, one for each query point and output.

    .. math:: f(x) = \text{mean} + \text{scale} \cdot t_\nu, \qquad
              \text{variance} = \frac{\nu}{\nu - 2}\,\text{scale}^2

    Parameters
    ----------
    mean : array of shape (n,) or (n, D)
        Locations, which are the means where ν > 1.
    scale : array of the same shape
        Scales, as in `scipy.stats.t`: not standard deviations, which are larger by the root of ν/(ν − 2).
    df : float
        ν > 0, the degrees of freedom.

    Attributes
    ----------
    variance : array of the same shape
        Variances; infinite for ν ≤ 2.

    Examples
    --------
    >>> law = StudentT(np.array([0.0, 1.0]), np.array([1.0, 2.0]), 4.0)
    >>> law.variance, law.quantile(0.975).round(4)
    (array([2., 8.]), array([2.7764, 6.5529]))
    """

    mean: np.ndarray
    scale: np.ndarray
    df: float
    variance: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "variance", _variance(self.df, self.scale**2))

    @classmethod
    def concatenate(cls, laws: Sequence[Self]) -> Self:
        """Return one law for the query points of several."""
        return cls(np.concatenate([law.mean for law in laws]), np.concatenate([law.scale for law in laws]), laws[0].df)

    def _particulars(self) -> list[str]:
        return [f"df {self.df:.4g}"]

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis."""
        p = levels(p)
        mean, scale = (x.reshape(x.shape + (1,) * p.ndim) for x in (self.mean, self.scale))
        inside = (p > 0) & (p < 1)
        return np.where(
            inside, mean + scale * stdtrit(self.df, np.where(inside, p, 0.5)), np.where(p > 0, np.inf, -np.inf)
        )

    def _standardised(self, y: ArrayLike) -> np.ndarray:
        """Return (y − mean)/scale; a certain value gives ±infinity."""
        above = np.asarray(y, dtype=float) - self.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.scale > 0, above / self.scale, np.where(above >= 0, np.inf, -np.inf))

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probability of a value of at most y, entry by entry; at zero scale it is a step."""
        return stdtr(self.df, self._standardised(values(y, self.mean)))

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y, entry by entry; at zero scale there is none (infinite, or zero)."""
        y, certain = values(y, self.mean), self.scale == 0
        log_det = 2 * np.log(np.where(certain, 1, self.scale))
        density = log_density(self.df, 1, log_det, np.where(certain, 0, self._standardised(y)) ** 2)
        return np.where(certain, np.where(y == self.mean, np.inf, -np.inf), density)

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n independent values at each query point, along a new first axis."""
        n, rng = random(n, random_state)
        shape = (n, *self.mean.shape)
        return self.mean + self.scale * rng.standard_normal(shape) * np.sqrt(self.df / rng.chisquare(self.df, shape))


@dataclass(frozen=True, eq=False, repr=False)
class JointStudentT(StudentT):
    r"""The joint Student's t law at all query points: density and samples are joint, quantiles and cdf marginal.

    .. math:: (f(x_1), \dots, f(x_n)) \sim t_\nu(\text{mean}, \Sigma), \qquad
              \text{covariance} = \frac{\nu}{\nu - 2}\,\Sigma

    D outputs share one random scale: together they are one t law of scale matrix Σ for each output, times the square
    of the output's unit, and zero between outputs. They are uncorrelated, not independent.

    Parameters
    ----------
    mean : array of shape (n,) or (n, D)
        Locations, which are the means where ν > 1.
    scale : array of the same shape
        Marginal scales: the root of the diagonal of Σ, times the units.
    df : float
        ν > 0, the degrees of freedom.
    scale_matrix : array of shape (n, n)
        Σ: a scale matrix, as `shape` of `scipy.stats.multivariate_t`, not the covariance.
    units : array of shape () or (D,)
        Units of the outputs.
    error : float
        The relative error of Σ, where it is above rounding.

    Attributes
    ----------
    covariance : array of shape (n, n), or (n, n, D)
        Covariance between the query points, of each output; infinite for ν ≤ 2.

    Examples
    --------
    >>> law = JointStudentT.of(np.zeros(2), np.eye(2), 4.0)
    >>> law.covariance.tolist(), round(float(law.logpdf([0.0, 0.0])), 6)
    ([[2.0, 0.0], [0.0, 2.0]], -1.837877)
    """

    scale_matrix: np.ndarray
    units: np.ndarray = field(default_factory=lambda: np.ones(()))
    error: float = 0.0

    @classmethod
    def of(
        cls,
        mean: np.ndarray,
        scale_matrix: np.ndarray,
        df: float,
        units: ArrayLike = 1.0,
        error: float = 0.0,
    ) -> Self:
        """Return the law with the marginal scales that the scale matrix says."""
        scale = np.sqrt(np.diag(scale_matrix)).reshape((-1,) + (1,) * (mean.ndim - 1)) * np.asarray(units)
        scale, units = np.array(np.broadcast_to(scale, mean.shape)), np.array(units, dtype=float)
        return cls(mean, scale, df, scale_matrix, units, error)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance between the query points: ν/(ν − 2) times the scale matrix, for each output."""
        squares = np.broadcast_to(self.units**2, self.mean.shape[1:])
        return np.multiply.outer(_variance(self.df, self.scale_matrix), squares)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density of all values y (n,) or (n, D) together.

        Raises
        ------
        ValueError
            If the scale matrix is singular to rounding, as it is for query points that repeat, or that are many and
            close together under a smooth kernel.
        """
        residual = (values(y, self.mean) - self.mean) / self.units
        log_det, quadratic = whiten(self.scale_matrix, residual, self.error)
        log_units = len(residual) * np.log(np.broadcast_to(self.units, residual.shape[1:])).sum()
        return log_density(self.df, residual.size, log_det + 2 * log_units, quadratic)

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n functions at the query points, along a new first axis."""
        n, rng = random(n, random_state)
        values, directions = eigh(self.scale_matrix)
        root = directions * np.sqrt(np.maximum(values, 0))
        noise = np.einsum("ij,nj...->ni...", root, rng.standard_normal((n, *self.mean.shape)))
        spread = np.sqrt(self.df / rng.chisquare(self.df, n)).reshape((n,) + (1,) * self.mean.ndim)
        return self.mean + self.units * spread * noise
