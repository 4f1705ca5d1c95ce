r"""The robust and conjugate Gaussian process: examples far from what the others make of them count less.

The likelihood of Gaussian noise is replaced by a weighted score-matching loss, quadratic in f. With residuals r_i from
a centre given for each target and weights :math:`w_i^2 \propto (1 + r_i^2/c^2)^{-1}` the posterior is that of Gaussian
noise of variances T J_i about other targets z:

.. math:: \bar f(x) = k^T A^{-1} z, \qquad A = K + T\, \mathrm{diag}\, J, \qquad J_i = 1 + \frac{r_i^2}{c^2}, \qquad
          z_i = y_i - T\, \partial_y \log w_i^2 = y_i + \frac{2 T r_i}{c^2 + r_i^2}

No likelihood of y belongs to it, hence no evidence. Hyper-parameters are chosen by the log density of each target given
those at all other inputs, under a t law of four degrees of freedom, so that outliers do not choose them:

.. math:: \sum_i \log t_4\big(y_i;\; z_i - (M \alpha)_i,\; (M_{ii} - T J_i + T)/1.448\big), \qquad
          \alpha = A^{-1} z, \quad M_{GG} = ((A^{-1})_{GG})^{-1}

for the targets G of each input, which is left out as a whole. One by one those with an equal one at the same input are
foretold exactly as T vanishes: that score rises without bound, outliers beside them cost it a logarithm, and T would
be learned as nothing.

Here T is the scale of a loss. What it is worth for predictions is another matter: the variance of the noise of a new
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
from jaxtyping import Float, Int
from scipy import stats
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize_scalar

from stpbnn._linalg import inverse_of, mirrored
from stpbnn.scale.design import Query
from stpbnn.scale.factorised import well_conditioned_cholesky
from stpbnn.scale.outputwise import ColumnSlopes
from stpbnn.scale.student_noise import StudentNoise

__all__ = ["Downweighted", "noise_of_new"]

DF = 4.0  # of the law in which the score is taken, so that outliers do not choose the hyper-parameters
SOUGHT = (-12.0, 6.0)  # where the logarithm of a variance is sought, in units of the median of squared errors
CORE = StudentNoise(1.0, DF).clean_variance  # in units of the squared scale of the t law that is taken for Gaussian

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]
Repeated = Sequence[Int[np.ndarray, " G"]]


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
    repeated : tuple of arrays of int
        Which targets are of one input, of the inputs that have several.
    """

    factor: Square
    targets: Vector
    spread: Vector
    shifted: Vector
    alpha: Vector
    push: Vector
    temperature: float
    repeated: Repeated = ()
    converged: bool = True

    @classmethod
    def of(
        cls,
        K: Square,
        y: Vector,
        temperature: float,
        centre: Vector | float,
        contamination: float,
        repeated: Repeated = (),
    ) -> Downweighted:
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
        return cls(factor, y, spread, shifted, alpha, push, temperature, repeated)

    @cached_property
    def _inverse(self) -> Square:
        return mirrored(inverse_of(self.factor))

    def left_out(self) -> tuple[Vector, Vector]:
        """Return mean and variance of f at each training point given the other targets."""
        d = np.diag(self._inverse)
        return self.shifted - self.alpha / d, 1 / d - self.temperature * self.spread

    @cached_property
    def _blocks(self) -> list[tuple[Int[np.ndarray, " G"], Float[np.ndarray, "G G"]]]:
        """The parts of M that are not single numbers."""
        factors = [(G, cholesky(self._inverse[np.ix_(G, G)], lower=True)) for G in self.repeated]
        return [(G, mirrored(inverse_of(factor))) for G, factor in factors]

    def _foretold(self, v: Vector) -> Vector:
        """Return M v."""
        found = v / np.diag(self._inverse)
        for G, M in self._blocks:
            found[G] = M @ v[G]
        return found

    def input_left_out(self) -> tuple[Vector, Vector]:
        """Return mean and variance of f at each training point given the targets at other inputs."""
        variance = 1 / np.diag(self._inverse)
        for G, M in self._blocks:
            variance[G] = np.diag(M)
        return self.shifted - self._foretold(self.alpha), variance - self.temperature * self.spread

    def _judged(self) -> tuple[Vector, Vector]:
        """Return how far each target is from that mean, and the squared scale of the t law there."""
        mean, variance = self.input_left_out()
        return self.targets - mean, (variance + self.temperature) / CORE

    @property
    def log_evidence(self) -> float:
        """The score."""
        error, scale = self._judged()
        return float(stats.t(DF, scale=np.sqrt(scale)).logpdf(error).sum())

    @property
    def slopes(self) -> ColumnSlopes:
        """Its derivatives."""
        error, scale = self._judged()
        pull = (DF + 1) * error / (DF * scale + error**2)
        by_error, by_variance = -pull, (pull * error - 1) / scale / 2 / CORE
        inverse, a, c = self._inverse, self._foretold(by_error), self._foretold(self.alpha)
        through = inverse * (a * c + by_variance / np.diag(inverse) ** 2)
        for G, M in self._blocks:
            crossed = np.outer(a[G], c[G])
            through[:, G] = inverse[:, G] @ ((crossed + crossed.T) / 2 + (M * by_variance[G]) @ M)
        b = inverse @ a
        shared = np.outer(b, self.alpha)
        kernel = through @ inverse - (shared + shared.T) / 2
        temperature = np.diag(kernel) @ self.spread + (b - by_error) @ self.push + by_variance @ (1 - self.spread)
        return ColumnSlopes(kernel, float(temperature), 0.0)

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> Float[np.ndarray, ...]:
        """Return what the targets take from the variances, or covariances, of the kernel at query points."""
        parts = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        return parts.T @ parts if joint else np.einsum("ij,ij->j", parts, parts)

    def shapes(self, query: Query) -> None:
        """Return nothing: the laws of f are Gaussian."""


def noise_of_new(columns: Sequence[Downweighted]) -> float:
    """Return the variance of Gaussian noise, for all outputs, at which targets given other inputs' score highest."""
    left = [each.input_left_out() for each in columns]
    means, variances = (np.concatenate(parts) for parts in zip(*left, strict=True))
    error = np.concatenate([each.targets for each in columns]) - means
    unit = float(np.median(error**2))
    if not unit > 0:  # most targets are as expected
        return columns[0].temperature
    variances = np.maximum(variances, 0)

    def lost(log_noise: float) -> float:
        scale = np.sqrt((variances + unit * np.exp(log_noise)) / CORE)
        return -float(stats.t(DF, scale=scale).logpdf(error).sum())

    return unit * float(np.exp(minimize_scalar(lost, bounds=SOUGHT, method="bounded", options={"xatol": 1e-8}).x))
