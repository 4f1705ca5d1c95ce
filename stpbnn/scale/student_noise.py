r"""Independent noise with the tails of Student's t: a mixture of Gaussian laws, and what a target tells through it.

.. math:: \log p(y \mid f) = \sum_i \log\frac{\Gamma(\frac{\nu+1}2)}{\Gamma(\frac\nu2) \sqrt{\pi\nu T}}
          - \frac{\nu + 1}2 \log\Big(1 + \frac{(y_i - f_i)^2}{\nu T}\Big), \qquad
          e_i \mid w_i \sim N(0, T/w_i), \quad w_i \sim \mathrm{Gamma}(\tfrac\nu2, \tfrac\nu2)

T is its scale, squared; where ν > 2 its variance is T ν/(ν − 2).

References
----------
Vanhatalo, Jylänki, Vehtari, NeurIPS 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import erfcx, log_softmax, softmax

from stpbnn._special import log_gamma_ratio

__all__ = ["StudentNoise", "Told"]

SMALLEST = 32.0  # the logarithm of the part of the noise that is left out, with another sign
STEP = 0.4  # step of the quadrature, in the logarithm of a precision

Vector = Float[np.ndarray, " P"]


@dataclass(frozen=True)
class Told:
    """log Z of each target, and its derivatives when they are asked for.

    Parameters
    ----------
    value : array of shape (P,)
        log Z.
    shares : array of shape (P, n)
        Of Z, by the Gaussian laws that the noise is a mixture of.
    z, precision : arrays of shape (P, n)
        r over the variance of y under each of them, and one over that variance.
    weights, own, growth : arrays of shape (n,)
        Weights and variances of these laws, and the derivative of log weights in ν before they are normalised.
    """

    value: Vector
    shares: Float[np.ndarray, "P n"]
    z: Float[np.ndarray, "P n"]
    precision: Float[np.ndarray, "P n"]
    weights: Float[np.ndarray, " n"]
    own: Float[np.ndarray, " n"]
    growth: Float[np.ndarray, " n"]

    @cached_property
    def slopes(self) -> tuple[Vector, Vector]:
        """The first two derivatives in m."""
        first, second = self._moment(self.z), self._moment(self._second)
        return first, second - first**2

    @cached_property
    def higher(self) -> tuple[Vector, Vector]:
        """The third and the fourth derivative in m."""
        z, precision = self.z, self.precision
        d1, d2 = self._moment(z), self._moment(self._second)
        d3 = self._moment(z * (z**2 - 3 * precision))
        d4 = self._moment(z**4 - 6 * z**2 * precision + 3 * precision**2)
        return d3 - 3 * d2 * d1 + 2 * d1**3, d4 - 4 * d3 * d1 - 3 * d2**2 + 12 * d2 * d1**2 - 6 * d1**4

    @property
    def temperature(self) -> Vector:
        """The derivative in log T."""
        return (self.shares * self._second) @ self.own / 2

    @property
    def df(self) -> Vector:
        """The derivative in ν."""
        return self.shares @ self.growth - self.weights @ self.growth

    @cached_property
    def _second(self) -> Float[np.ndarray, "P n"]:
        """The second derivatives of the Gaussian densities, relative to these."""
        return self.z**2 - self.precision

    def _moment(self, of: Float[np.ndarray, "P n"]) -> Vector:
        return np.einsum("ij,ij->i", self.shares, of)


@dataclass(frozen=True)
class StudentNoise:
    """Noise of squared scale T and ν degrees of freedom.

    Examples
    --------
    >>> from scipy import stats
    >>> noise = StudentNoise(temperature=0.25, df=4.0)
    >>> found = noise.told(np.array([1.0]), np.array([1e-9])).value  # the function is known
    >>> bool(np.isclose(found[0], stats.t(4.0, scale=0.5).logpdf(1.0)))
    True
    """

    temperature: float
    df: float

    def _nodes(self, farthest: float = 0.0) -> Vector:
        """Return the logarithms of precisions w at which the mixture is taken, for residuals with squares up to this T.

        A residual r puts w near (ν + 1)/(ν + r²/T), far out in the tail of its prior.
        """
        half = self.df / 2
        step = STEP / np.sqrt(1 + self.df / 8)
        reach = SMALLEST / half  # t − e^t + 1 > −reach
        lowest, highest = -min(reach + 1, np.sqrt(2 * reach) + reach), min(np.log1p(reach) + 1.5, np.sqrt(2 * reach))
        told = SMALLEST / (half + 0.5)
        there = np.log((self.df + 1) / (self.df + farthest)) - min(told + 1, np.sqrt(2 * told) + told)
        return step * np.arange(np.floor(min(lowest, there) / step), np.ceil(highest / step) + 1)

    @cached_property
    def mixture(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Weights and variances of the Gaussian laws that it is a mixture of.

        By the trapezoidal rule in log w, of which the error falls exponentially with the step.

        Examples
        --------
        >>> from scipy import stats
        >>> weights, variances = StudentNoise(0.25, 3.0).mixture
        >>> density = weights @ stats.norm(0, np.sqrt(variances[:, None])).pdf([0.0, 40.0])
        >>> bool(np.allclose(density, stats.t(3.0, scale=0.5).pdf([0.0, 40.0]), rtol=1e-9))
        True
        """
        t = self._nodes()
        return softmax(self.df / 2 * (t - np.expm1(t))), self.temperature * np.exp(-t)

    @property
    def peak(self) -> tuple[float, float]:
        """The logarithm of its density at zero, and the derivative of that in ν."""
        value, slope = log_gamma_ratio(self.df / 2, 0.5)
        return value - float(np.log(2 * np.pi * self.temperature)) / 2, slope / 2

    def told(self, r: Vector, v: Vector) -> Told:
        """Return log Z = log ∫ p(y | f) N(f; m, v) df and its derivatives, given r = y − m."""
        square = float(np.max(r**2, initial=0.0)) / self.temperature
        t = self._nodes(square if np.isfinite(square) else 0.0)
        log_weights, own = log_softmax(self.df / 2 * (t - np.expm1(t))), self.temperature * np.exp(-t)
        precision = 1 / (v[:, None] + own)
        z = r[:, None] * precision
        density = log_weights + (np.log(precision / (2 * np.pi)) - r[:, None] * z) / 2
        top = density.max(axis=1)
        parts = np.exp(density - top[:, None])
        total = parts.sum(axis=1)
        parts /= total[:, None]
        growth = (t - np.expm1(t)) / 2
        return Told(np.log(total) + top, parts, z, precision, np.exp(log_weights), own, growth)

    @property
    def clean_variance(self) -> float:
        r"""The variance of the Gaussian noise for which this is taken: noise without its outliers.

        Where all noise is Gaussian of variance s², the T that fits it best solves

        .. math:: E\,\frac{\nu T}{\nu T + e^2} = \frac{\nu}{\nu + 1}, \qquad e \sim N(0, s^2).

        Examples
        --------
        >>> round(StudentNoise(1.0, 4.0).clean_variance, 4), round(StudentNoise(1.0, 1e6).clean_variance, 4)
        (1.4481, 1.0)
        """

        def excess(log_ratio: float) -> float:
            a = np.exp(log_ratio) / 2
            return float(np.sqrt(np.pi * a) * erfcx(np.sqrt(a)) - self.df / (self.df + 1))

        lowest, highest = np.log(self.df) - 3, np.log(self.df) + 3
        return self.df * self.temperature / float(np.exp(brentq(excess, lowest, highest, xtol=1e-13)))
