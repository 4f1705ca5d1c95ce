r"""Independent noise with the tails of Student's t: its log density, derivatives, and what it is as a mixture.

.. math:: \log p(y \mid f) = \sum_i \log\frac{\Gamma(\frac{\nu+1}2)}{\Gamma(\frac\nu2) \sqrt{\pi\nu T}}
          - \frac{\nu + 1}2 \log\Big(1 + \frac{(y_i - f_i)^2}{\nu T}\Big)

T is its scale, squared; where ν > 2 its variance is T ν/(ν − 2). It is not concave in f: from |y − f| = √(νT) on its
curvature is negative.

References
----------
Vanhatalo, Jylänki, Vehtari, NeurIPS 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from stpbnn._special import log_gamma_ratio

__all__ = ["NoiseSlopes", "StudentNoise"]

SMALLEST = 32.0  # the logarithm of the part of the noise that is left out, with another sign
STEP = 0.4  # of the quadrature, in the logarithm of a precision

Vector = Float[np.ndarray, " P"]


class NoiseSlopes(NamedTuple):
    """Derivatives, in log T or in ν, of the log density of each residual, of its gradient in f and of its curvature."""

    value: Vector
    gradient: Vector
    curvature: Vector


@dataclass(frozen=True)
class StudentNoise:
    """Noise of squared scale T and ν degrees of freedom; r = y − f are residuals.

    Examples
    --------
    >>> noise, r = StudentNoise(temperature=0.25, df=4.0), np.array([0.0, 1.0])
    >>> bool(np.isclose(noise.value(r), stats.t(4.0, scale=0.5).logpdf(r).sum()))
    True
    >>> noise.curvature(r), noise.weight(r)
    (array([5., 0.]), array([5. , 2.5]))
    """

    temperature: float
    df: float

    def _standardised(self, r: Vector) -> tuple[Vector, Vector]:
        """Return u = r/√T and ν + u²."""
        u = r / np.sqrt(self.temperature)
        return u, self.df + u**2

    def value(self, r: Vector) -> float:
        """Return the log density of the residuals."""
        u, _ = self._standardised(r)
        normalisation = log_gamma_ratio(self.df / 2, 0.5)[0] - np.log(2 * np.pi * self.temperature) / 2
        return float(len(r) * normalisation - (self.df + 1) / 2 * np.log1p(u**2 / self.df).sum())

    def gradient(self, r: Vector) -> Vector:
        """Return its gradient in f."""
        u, d = self._standardised(r)
        return (self.df + 1) * u / d / np.sqrt(self.temperature)

    def weight(self, r: Vector) -> Vector:
        """Return the precision that the noise of each example is expected to have, given its residual."""
        return (self.df + 1) / self._standardised(r)[1] / self.temperature

    def curvature(self, r: Vector) -> Vector:
        """Return the negative second derivatives in f, of either sign."""
        u, d = self._standardised(r)
        return (self.df + 1) * (self.df - u**2) / d**2 / self.temperature

    def curvature_slope(self, r: Vector) -> Vector:
        """Return the derivatives of the curvature in f."""
        u, d = self._standardised(r)
        return 2 * (self.df + 1) * u * (3 * self.df - u**2) / d**3 / self.temperature**1.5

    def temperature_slopes(self, r: Vector) -> NoiseSlopes:
        """Return derivatives in log T."""
        (u, d), nu, T = self._standardised(r), self.df, self.temperature
        return NoiseSlopes(
            -0.5 + (nu + 1) / 2 * u**2 / d,
            -(nu + 1) * nu * u / d**2 / np.sqrt(T),
            (nu + 1) * nu * (3 * u**2 - nu) / d**3 / T,
        )

    def df_slopes(self, r: Vector) -> NoiseSlopes:
        """Return derivatives in ν."""
        (u, d), nu, T = self._standardised(r), self.df, self.temperature
        normalisation = log_gamma_ratio(nu / 2, 0.5)[1]
        return NoiseSlopes(
            (normalisation - np.log1p(u**2 / nu) + (nu + 1) * u**2 / (nu * d)) / 2,
            u * (u**2 - 1) / d**2 / np.sqrt(T),
            (2 * nu + 1 - u**2 - 2 * (nu + 1) * (nu - u**2) / d) / d**2 / T,
        )

    @property
    def clean_variance(self) -> float:
        """The variance of the Gaussian law that has the quartiles of the noise: noise without its outliers."""
        return float(self.temperature * (stats.t.ppf(0.75, self.df) / stats.norm.ppf(0.75)) ** 2)

    @property
    def mixture(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        r"""Weights and variances of the Gaussian laws that it is a mixture of.

        .. math:: e \mid w \sim N(0, T/w), \qquad w \sim \mathrm{Gamma}(\tfrac\nu2, \tfrac\nu2)

        by the trapezoidal rule in log w, of which the error falls exponentially with the step.

        Examples
        --------
        >>> weights, variances = StudentNoise(0.25, 3.0).mixture
        >>> density = weights @ stats.norm(0, np.sqrt(variances[:, None])).pdf([0.0, 40.0])
        >>> bool(np.allclose(density, stats.t(3.0, scale=0.5).pdf([0.0, 40.0]), rtol=1e-9))
        True
        """
        half = self.df / 2
        step = STEP / np.sqrt(1 + self.df / 8)
        reach = SMALLEST / half  # t − e^t + 1 > −reach
        lowest, highest = -min(reach + 1, np.sqrt(2 * reach) + reach), min(np.log1p(reach) + 1.5, np.sqrt(2 * reach))
        t = step * np.arange(np.floor(lowest / step), np.ceil(highest / step) + 1)
        weights = np.exp(half * (t - np.expm1(t)))
        return weights / weights.sum(), self.temperature * np.exp(-t)
