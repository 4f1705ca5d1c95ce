r"""Laplace's approximation of a Gaussian process under noise with the tails of Student's t.

.. math:: f \sim N(0, K), \qquad \log Z = \log p(y \mid \hat f) - \tfrac12 a^T \hat f - \tfrac12 \log\det(1 + K W),
          \qquad \hat f = K a, \quad a = \nabla \log p(y \mid \hat f)

The posterior may have several modes. The search begins at that for Gaussian noise of the size of the targets, which no
outlier pulls far and which leads to higher modes than the noise of variance T does. Its first steps are those of the
expectation-maximisation algorithm, which weigh each example by the precision that its noise is expected to have: they
need no curvature and always go up. Newton's follow where the curvature of the posterior is that of a maximum.

The derivative of log Z is, with :math:`s_i = -\tfrac12 \Sigma_{ii}\, \partial W_i/\partial f_i` and v = s − M K s,

.. math:: d \log Z = \langle \tfrac12 [a a^T - M + v a^T + a v^T],\, dK \rangle
          + \sum_i \Big[\partial \log p_i - \tfrac12 \Sigma_{ii}\, \partial W_i + (K v)_i\, \partial a_i\Big] d\theta

for T and ν: the terms with v are the mode that moves. To the next order the mean of f is not the mode, but

.. math:: \bar f = \hat f + \Sigma s = K (a + v),

by the third derivatives of the likelihood. Near hyper-parameters where the mode ceases to be a maximum Σ grows without
bound; where a training point would move by more than half a standard deviation, the mode is the mean.

References
----------
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 3 and 5; Vanhatalo, Jylänki, Vehtari,
NeurIPS 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from stpbnn.scale.either_sign import Precisions
from stpbnn.scale.outputwise import ColumnSlopes
from stpbnn.scale.student_noise import NoiseSlopes, StudentNoise

__all__ = ["OutlierMode"]

GENTLE = 8  # steps of the expectation-maximisation algorithm, before the first of Newton's
MAX_STEPS = 200
EXACT = 1e-12  # of the residual in units of 1/√T: the search ends
CONVERGED = 1e-6  # above it, something was wrong
SMALLEST_STEP = 0.5**30
FARTHEST = 0.5  # standard deviations that the mean may be from the mode
ROUNDING = 1e-13  # of the size of the terms of the objective

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]


@dataclass(frozen=True)
class OutlierMode:
    """A Gaussian about a mode of the posterior of one latent function.

    Parameters
    ----------
    noise : StudentNoise
        The noise.
    kernel : array of shape (P, P)
        K.
    targets, mode : arrays of shape (P,)
        y, and a: the mode is K a.
    residual : float
        The largest entry of the gradient minus a, in units of 1/√T.
    precisions : Precisions
        W at the mode.
    """

    noise: StudentNoise
    kernel: Square
    targets: Vector
    mode: Vector
    residual: float
    precisions: Precisions

    @classmethod
    def of(cls, K: Square, y: Vector, noise: StudentNoise) -> OutlierMode:
        """Return the approximation at the mode that the search leads to.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the kernel is not positive semidefinite, or there is no maximum where the search ended.
        OverflowError
            If the numbers are out of the range of double precision.

        Examples
        --------
        The second of three targets of one constant is an outlier.

        >>> found = OutlierMode.of(np.full((3, 3), 4.0), np.array([1.0, 9.0, 1.1]), StudentNoise(0.01, 4.0))
        >>> (found.kernel @ found.mode).round(2), found.converged
        (array([1.05, 1.05, 1.05]), True)
        """
        unit = np.sqrt(noise.temperature)
        a = Precisions.of(K, np.full(len(y), 1 / (noise.temperature + np.median(y**2)))).damp(y)
        f = K @ a
        objective, last = noise.value(y - f) - np.vdot(a, f) / 2, np.inf
        for step in range(MAX_STEPS):
            rest = noise.gradient(y - f) - a
            residual = float(np.abs(rest).max()) * unit
            if not np.isfinite(residual):
                raise OverflowError
            if residual < EXACT or (residual < CONVERGED and residual > last / 2):
                break
            last = residual
            push = rest - _ascent(noise, K, y - f, newton=step >= GENTLE).damp(K @ rest)
            along, part = K @ push, 1.0
            rounding = ROUNDING * (abs(objective) + abs(float(np.vdot(a, f))) + 1)
            while part > SMALLEST_STEP:
                there, f_there = a + part * push, f + part * along
                value = noise.value(y - f_there) - np.vdot(there, f_there) / 2
                if value >= objective - rounding:
                    break
                part /= 2
            else:
                break
            a, f, objective = there, f_there, value
        f = K @ a
        residual = float(np.abs(noise.gradient(y - f) - a).max()) * unit
        return cls(noise, K, y, a, residual, Precisions.of(K, noise.curvature(y - f)))

    @property
    def converged(self) -> bool:
        """Whether the mode was found."""
        return bool(self.residual < CONVERGED)

    @cached_property
    def residuals(self) -> Vector:
        """The targets less the mode."""
        return self.targets - self.kernel @ self.mode

    @cached_property
    def variances(self) -> Vector:
        """The variances of f at the training points."""
        return np.diag(self.kernel) - self.precisions.explained(self.kernel, joint=False)

    @cached_property
    def pull(self) -> Vector:
        """The vector v."""
        s = -self.variances * self.noise.curvature_slope(self.residuals) / 2
        return s - self.precisions.damp(self.kernel @ s)

    @property
    def alpha(self) -> Vector:
        """What the kernel with the training points is multiplied by to give the mean."""
        moved = np.abs(self.kernel @ self.pull)
        return self.mode + self.pull if (moved < FARTHEST * np.sqrt(self.variances)).all() else self.mode

    @property
    def log_evidence(self) -> float:
        """Log Z."""
        quadratic = float(np.vdot(self.mode, self.targets - self.residuals))
        return self.noise.value(self.residuals) - quadratic / 2 - self.precisions.log_det / 2

    @property
    def slopes(self) -> ColumnSlopes:
        """Derivatives of log Z."""
        r, a, v = self.residuals, self.mode, self.pull
        moved = self.kernel @ v
        kernel = (np.outer(a, a) - self.precisions.matrix() + np.outer(v, a) + np.outer(a, v)) / 2

        def along(of: NoiseSlopes) -> float:
            return float(np.sum(of.value - self.variances * of.curvature / 2 + moved * of.gradient))

        temperature = along(self.noise.temperature_slopes(r)) / self.noise.temperature
        return ColumnSlopes(kernel, temperature, along(self.noise.df_slopes(r)))

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> Float[np.ndarray, ...]:
        """Return what the targets take from the variances, or covariances, of the kernel at query points."""
        return self.precisions.explained(cross, joint=joint)

    def left_out(self) -> tuple[Vector, Vector]:
        """Return mean and variance of f at each training point given the other targets.

        The Gaussian at the mode without the factor of one target, as expectation propagation would have its cavity.
        """
        left = 1 - self.variances * self.noise.curvature(self.residuals)
        variances = self.variances / left
        return self.targets - self.residuals - variances * self.mode, variances


def _ascent(noise: StudentNoise, K: Square, r: Vector, newton: bool) -> Precisions:
    """Return the precisions of a step up: Newton's where they are those of a maximum, or the expected ones."""
    if newton:
        try:
            return Precisions.of(K, noise.curvature(r))
        except np.linalg.LinAlgError:
            pass
    return Precisions.of(K, noise.weight(r))
