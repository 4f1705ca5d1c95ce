r"""Sites: the Gaussian factors that stand for the likelihoods of a process under Student's t noise.

The likelihood of each target is replaced by a site of precision τ_i and linear term b_i. Without the part η of it, and
with the same power of the true likelihood in its place, each f_i has the moments that it has with the site:

.. math:: q(f) \propto N(f; 0, K) \prod_i e^{b_i f_i - \tau_i f_i^2/2}, \qquad
          Z_i = \int q_{-i}(f_i)\, p(y_i \mid f_i)^\eta\, \mathrm{d}f_i

η = 1 is expectation propagation. It is the most exact, and where several explanations of the targets compete its fixed
point is lost: precisions become negative where a target is an outlier, until the laws cease to exist. That of a smaller
power is kept much longer:

.. math:: \eta = \frac{c \nu + 1}{\nu + 1}, \qquad
          p(y \mid f)^\eta \propto \text{Student's t of } c \nu \text{ degrees of freedom and squared scale } T/c

All sites are updated at once, by Anderson's extrapolation from the last updates or by a damped one, which is halved
where a law does not exist after it, or is further from the fixed point. There

.. math:: \log Z = \log\int N(f; 0, K) \prod_i e^{b_i f_i - \tau_i f_i^2/2}\, \mathrm{d}f
          + \frac1\eta \sum_i \Big[\log Z_i + \Phi(q_{-i}) - \Phi(q_i)\Big], \qquad
          d \log Z = \tfrac12 \langle a a^T - M, dK \rangle + \frac1\eta \sum_i \partial_\theta \log Z_i\, d\theta

with Φ the logarithm of the integral of a Gaussian, a = K^{-1} E f and M = (K + diag τ^{-1})^{-1}: log Z is stationary
in the sites. At little noise these terms are large and cancel. With m and v the mean and variance of f_i, and
:math:`v_-` those without the part η of its site, they are

.. math:: \log Z = -\tfrac12 \log\det(1 + K \tau) + \frac1\eta \sum_i \Big[\log Z_i + \tfrac12 \log\frac{v_-}{v}\Big]
          + \tfrac12 \sum_i (\eta v_- a_i^2 - m a_i)

References
----------
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 3.6; Jylänki, Vanhatalo, Vehtari, JMLR
12, 3227 (2011); Minka, Power EP, Microsoft Research MSR-TR-2004-149.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from stpbnn.scale.either_sign import Precisions
from stpbnn.scale.steps import extrapolated
from stpbnn.scale.student_noise import StudentNoise, Told

__all__ = ["Sites"]

SHARE = 0.25  # c, of the degrees of freedom
DAMPING = 0.8
MAX_STEPS = 200
SMALLEST_STEP = 1e-3
REMEMBERED = 6  # updates from which the next is extrapolated
NEAR = 0.3  # of the fixed point, where that begins
WORSE = 1.1  # times further from the fixed point than the last were, which a step may lead to
EXACT = 1e-7  # differences of means in standard deviations, and of variances relative to them: the search ends
ROUNDED = 1e-5  # below it, the rounding of the kernel may be all that is left
CONVERGED = 1e-4  # above it, something was wrong
PRECISE = 0.1  # of the prior precision, from which on a variance is computed without the prior variance

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]


@dataclass(frozen=True)
class Sites:
    """The sites of one output, with the laws that they make.

    Parameters
    ----------
    noise : StudentNoise
        The noise.
    kernel : array of shape (P, P)
        K.
    targets, precision, linear : arrays of shape (P,)
        y, τ and b.
    factors : Precisions
        τ with the kernel.
    share : float
        c.
    """

    noise: StudentNoise
    kernel: Square
    targets: Vector
    precision: Vector
    linear: Vector
    factors: Precisions
    share: float = SHARE

    @classmethod
    def of(
        cls,
        K: Square,
        y: Vector,
        noise: StudentNoise,
        near: Float[np.ndarray, "2 P"] | None = None,
        accuracy: float = EXACT,
    ) -> Sites:
        """Return gentle sites at a fixed point.

        The search begins at what others have `learnt`, if that is given and near enough, or else at those for Gaussian
        noise of the targets' size.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the kernel is not positive semidefinite.
        OverflowError
            If the numbers are out of the range of double precision.
        """
        if near is not None:
            start = cls._at(K, y, noise, *near / noise.temperature)
            if start and start.residual < NEAR and (found := start.matched(accuracy)).converged:
                return found
        precision = np.full(len(y), 1 / (noise.temperature + np.median(y**2)))
        start = cls._at(K, y, noise, precision, precision * y)
        if start is None:
            raise OverflowError
        return start.matched(accuracy)

    @classmethod
    def _at(
        cls, K: Square, y: Vector, noise: StudentNoise, precision: Vector, linear: Vector, share: float = SHARE
    ) -> Sites | None:
        """Return the laws with these sites, or nothing where one of them does not exist."""
        try:
            found = cls(noise, K, y, precision, linear, Precisions.of(K, precision), share)
        except np.linalg.LinAlgError:
            if (precision >= 0).all():
                raise
            return None
        exists = found.variances.min() > 0 and (found.power * found.variances * precision).max() < 1
        return found if exists and np.isfinite(found.residual) else None

    def matched(self, accuracy: float = EXACT) -> Sites:
        """Return the sites at the fixed point that the search leads to from here, or where it ended."""
        here, part, residuals = self, DAMPING, [self.residual]
        known: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=REMEMBERED)
        for _ in range(MAX_STEPS):
            stuck = here.residual < ROUNDED and here.residual > min(residuals[:-REMEMBERED], default=np.inf) / 2
            if here.residual < accuracy or stuck or part < SMALLEST_STEP:
                break
            known.append((here._state, here._update - here._state))
            there = here._moved(extrapolated(known, part) if here.residual < NEAR else part * known[-1][1])
            if there is None or not there.residual < WORSE * max(residuals[-REMEMBERED:]):
                part /= 2
                known.clear()
                continue
            here, part = there, min(DAMPING, 1.5 * part)
            residuals.append(here.residual)
        return here

    @property
    def learnt(self) -> Float[np.ndarray, "2 P"]:
        """Precisions and linear terms in units of 1/T, hardly changed at other hyper-parameters nearby."""
        return np.stack([self.precision, self.linear]) * self.noise.temperature

    @property
    def _state(self) -> Float[np.ndarray, " 2P"]:
        """Precisions and linear terms without their units."""
        return self._united(self.precision, self.linear)

    @property
    def _update(self) -> Float[np.ndarray, " 2P"]:
        return self._united(*self.updated)

    def _united(self, precision: Vector, linear: Vector) -> Float[np.ndarray, " 2P"]:
        unit = np.sqrt(self.noise.temperature)
        return np.concatenate([precision * unit**2, linear * unit])

    def _moved(self, step: Float[np.ndarray, " 2P"]) -> Sites | None:
        precision, linear = np.split(self._state + step, 2)
        unit = np.sqrt(self.noise.temperature)
        return self._at(self.kernel, self.targets, self.noise, precision / unit**2, linear / unit, self.share)

    @property
    def exact(self) -> Sites | None:
        """The sites of expectation propagation proper, searched for from these; None where they are not found."""
        start = self._at(self.kernel, self.targets, self.noise, self.precision, self.linear, 1.0)
        found = start.matched() if start else None
        return found if found and found.converged else None

    @property
    def power(self) -> float:
        """The power η."""
        return (self.share * self.noise.df + 1) / (self.noise.df + 1)

    @cached_property
    def matrix(self) -> Square:
        """The matrix M."""
        return self.factors.matrix()

    @cached_property
    def alpha(self) -> Vector:
        """What the kernel with the training points is multiplied by to give the mean."""
        targets = np.divide(self.linear, self.precision, out=np.zeros_like(self.linear), where=self._strong)
        rest = np.where(self._strong, 0, self.linear)
        return self.factors.damp(targets - self.kernel @ rest) + rest

    @property
    def _strong(self) -> Float[np.ndarray, " P"]:
        """Whether a site says as much of its f_i as the prior: then differences of two large numbers are avoided."""
        return self.precision * np.diag(self.kernel) > 1

    @cached_property
    def means(self) -> Vector:
        """The means of f at the training points."""
        rest = self.linear - self.alpha
        return np.divide(rest, self.precision, out=self.kernel @ self.alpha, where=self._strong)

    @cached_property
    def variances(self) -> Vector:
        """The variances of f at the training points."""
        prior = np.diag(self.kernel)
        weak = np.abs(self.precision) * prior < PRECISE
        divided = np.where(weak, 1.0, self.precision)
        found = (1 - self.factors.diagonal() / divided) / divided
        found[weak] = prior[weak] - self.factors.explained(self.kernel[weak], joint=False)
        return found

    def covariances(self, cross: Float[np.ndarray, "q P"]) -> Float[np.ndarray, "q P"]:
        """Return those of f at query points with f at the training points; M itself would bury them in its rounding."""
        return cross - self.factors.damp(cross.T).T @ self.kernel

    @cached_property
    def left(self) -> tuple[Vector, Vector]:
        """Means and variances of f at the training points without the part η of a site."""
        variance = self.variances / (1 - self.power * self.variances * self.precision)
        return self.means - self.power * variance * self.alpha, variance

    @cached_property
    def told(self) -> Told:
        """The logarithms of Z_i and their derivatives."""
        mean, variance = self.left
        return self._part.told(self.targets - mean, variance)

    @cached_property
    def _part(self) -> StudentNoise:
        """The noise whose density is in proportion to the power η of that of the noise."""
        return StudentNoise(self.noise.temperature / self.share, self.share * self.noise.df)

    @cached_property
    def updated(self) -> tuple[Vector, Vector]:
        """Precisions and linear terms that match the moments."""
        mean, variance = self.left
        slope, curvature = self.told.slopes
        precision = -curvature / (1 + variance * curvature)
        return precision / self.power, (slope + precision * (mean + variance * slope)) / self.power

    @cached_property
    def residual(self) -> float:
        """How far the moments are from being matched."""
        mean, variance = self.left
        means = np.abs(mean + variance * self.told.slopes[0] - self.means) / np.sqrt(self.variances)
        variances = np.abs(variance / (1 + variance * self.power * self.updated[0]) / self.variances - 1)
        return float(np.maximum(means, variances).max())

    @property
    def converged(self) -> bool:
        """Whether the fixed point was found."""
        return self.residual < CONVERGED

    @property
    def log_evidence(self) -> float:
        """Log Z."""
        moved = np.vdot(self.power * self.left[1] * self.alpha - self.means, self.alpha)
        return float(self._tilted / self.power + (moved - self.factors.log_det) / 2)

    @property
    def _tilted(self) -> float:
        """The sum of log Z_i, and of what the variances have changed by."""
        changed = np.log(self.left[1] / self.variances) / 2
        return float((self.told.value + changed).sum() + len(self.targets) * self._normalisation[0])

    @property
    def _normalisation(self) -> tuple[float, float, float]:
        """The logarithm of what p^η is times that density, and its derivatives in log T and ν."""
        (value, slope), (other, other_slope) = self.noise.peak, self._part.peak
        eta = self.power
        return eta * value - other, (1 - eta) / 2, eta * slope - self.share * other_slope + self._power_slope * value

    @property
    def _power_slope(self) -> float:
        """The derivative of η in ν."""
        return (self.share - 1) / (self.noise.df + 1) ** 2

    @property
    def noise_slopes(self) -> tuple[float, float]:
        """Derivatives of log Z in log T and in ν."""
        P, eta = len(self.targets), self.power
        _, of_T, of_df = self._normalisation
        temperature = (float(self.told.temperature.sum()) + P * of_T) / eta
        df = (self.share * float(self.told.df.sum()) + P * of_df) / eta
        moved = eta * np.vdot(self.left[1], self.alpha**2) - np.vdot(self.precision, self.variances)
        of_eta = -(self._tilted / eta + float(moved) / 2) / eta
        return temperature, df + of_eta * self._power_slope
