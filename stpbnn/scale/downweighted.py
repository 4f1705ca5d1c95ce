r"""The robust and conjugate Gaussian process: examples far from what the others make of them count less.

The likelihood of Gaussian noise is replaced by a weighted score-matching loss, quadratic in f. With residuals r_i from
a centre given for each target and weights :math:`w_i^2 \propto (1 + r_i^2/c^2)^{-1}` the posterior is that of Gaussian
noise of variances T J_i about other targets z:

.. math:: \bar f(x) = k^T A^{-1} z, \qquad A = K + T\, \mathrm{diag}\, J, \qquad J_i = 1 + \frac{r_i^2}{c^2}, \qquad
          z_i = y_i - T\, \partial_y \log w_i^2 = y_i + \frac{2 T r_i}{c^2 + r_i^2}

No likelihood of y belongs to it, hence no evidence. Hyper-parameters are chosen by the log density of each target given
the others, under a t law of four degrees of freedom, so that outliers do not choose them:

.. math:: \sum_i \log t_4\big(y_i;\; z_i - \alpha_i/d_i,\; (1/d_i - T J_i + T)/1.448\big), \qquad
          \alpha = A^{-1} z, \quad d = \mathrm{diag}\, A^{-1}

There T is the scale of a loss. What it is worth for predictions is another matter: the variance of the noise of a new
target, `noise_of_new`, is that in the place of the last T at which the same score is highest.

References
----------
Altamirano, Briol, Knoblauch, ICML 2024, arXiv:2311.00463.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize_scalar

from stpbnn._linalg import mirrored
from stpbnn.scale.factorised import well_conditioned_cholesky
from stpbnn.scale.outputwise import ColumnSlopes
from stpbnn.scale.student_noise import StudentNoise

__all__ = ["Downweighted", "noise_of_new"]

DF = 4.0  # of the law in which the score is taken, so that outliers do not choose the hyper-parameters
SOUGHT = (-12.0, 6.0)  # where the logarithm of a variance is sought, in units of the median of squared errors
CORE = StudentNoise(1.0, DF).clean_variance  # in units of the squared scale of the t law that is taken for Gaussian

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]


@dataclass(frozen=True)
class Downweighted:
    """One output.

    Parameters
    ----------
    factor : array of shape (P, P)
        Lower Cholesky factor of A.
    targets, spread, shifted, alpha : arrays of shape (P,)
        y, J, z and A^{-1} z.
    push : array of shape (P,)
        (z − y)/T.
    temperature : float
        T.
    """

    factor: Square
    targets: Vector
    spread: Vector
    shifted: Vector
    alpha: Vector
    push: Vector
    temperature: float
    converged: bool = True

    @classmethod
    def of(cls, K: Square, y: Vector, temperature: float, centre: Vector | float, contamination: float) -> Downweighted:
        """Condition on targets with this contaminated part; c is the matching quantile of |r|.

        Examples
        --------
        >>> y = np.array([1.0, 9.0, 1.1, 0.9])
        >>> found = Downweighted.of(np.full((4, 4), 4.0), y, 0.01, centre=1.0, contamination=0.4)
        >>> round(float(np.full(4, 4.0) @ found.alpha), 1)
        1.0
        """
        r = y - centre
        c2 = float(np.median(np.abs(r)) / stats.norm.ppf(0.75) * stats.norm.ppf(1 - contamination / 2)) ** 2
        if c2 == 0:  # most targets are as expected
            c2 = float(np.square(r).max()) or 1.0
        spread, push = 1 + r**2 / c2, 2 * r / (c2 + r**2)
        A = np.array(K, order="F")
        A[np.diag_indices_from(A)] += temperature * spread
        factor = well_conditioned_cholesky(A)
        shifted = y + temperature * push
        alpha = cho_solve((factor, True), shifted, check_finite=False)
        return cls(factor, y, spread, shifted, alpha, push, temperature)

    @cached_property
    def _inverse(self) -> Square:
        inverse, _ = lapack.dpotri(self.factor, lower=1)
        return mirrored(inverse)

    def left_out(self) -> tuple[Vector, Vector]:
        """Return mean and variance of f at each training point given the other targets."""
        d = np.diag(self._inverse)
        return self.shifted - self.alpha / d, 1 / d - self.temperature * self.spread

    def _judged(self) -> tuple[Vector, Vector]:
        """Return how far each target is from the mean given the others, and the squared scale of the t law there."""
        mean, variance = self.left_out()
        return self.targets - mean, (variance + self.temperature) / CORE

    @property
    def log_evidence(self) -> float:
        """The leave-one-out score."""
        error, scale = self._judged()
        return float(stats.t(DF, scale=np.sqrt(scale)).logpdf(error).sum())

    @property
    def slopes(self) -> ColumnSlopes:
        """Its derivatives."""
        error, scale = self._judged()
        d = np.diag(self._inverse)
        pull = (DF + 1) * error / (DF * scale + error**2)
        by_error, by_variance = -pull, (pull * error - 1) / scale / 2 / CORE
        by_diagonal = -(by_error * self.alpha + by_variance) / d**2
        b = self._inverse @ (by_error / d)
        shared = np.outer(b, self.alpha)
        kernel = -(shared + shared.T) / 2 - (self._inverse * by_diagonal) @ self._inverse
        temperature = np.diag(kernel) @ self.spread + (b - by_error) @ self.push + by_variance @ (1 - self.spread)
        return ColumnSlopes(kernel, float(temperature), 0.0)

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> Float[np.ndarray, ...]:
        """Return what the targets take from the variances, or covariances, of the kernel at query points."""
        parts = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        return parts.T @ parts if joint else np.einsum("ij,ij->j", parts, parts)


def noise_of_new(columns: Sequence[Downweighted]) -> float:
    """Return the variance of Gaussian noise at which the targets given the others score highest, of all outputs."""
    means, variances = (np.concatenate(parts) for parts in zip(*(each.left_out() for each in columns), strict=True))
    error = np.concatenate([each.targets for each in columns]) - means
    unit = float(np.median(error**2))
    if not unit > 0:  # most targets are as expected
        return columns[0].temperature
    variances = np.maximum(variances, 0)

    def lost(log_noise: float) -> float:
        scale = np.sqrt((variances + unit * np.exp(log_noise)) / CORE)
        return -float(stats.t(DF, scale=scale).logpdf(error).sum())

    return unit * float(np.exp(minimize_scalar(lost, bounds=SOUGHT, method="bounded", options={"xatol": 1e-8}).x))
