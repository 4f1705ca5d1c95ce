r"""The priors of the scales: the prior's part of the action (4.1), and normalised mixing laws of one scale.

Both are functions of u = log scale, in which they are convex. Up to its constant the mixing law of a layer is that
layer's part of the action,

.. math:: -2 \log p(u) = N (Q - \log Q) + \text{const}, \qquad Q = e^u.

References
----------
Theory notes, eqs. (3.2) and (4.1), section 5.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from stpbnn._special import exponential_excess, stirling_error

__all__ = ["Gamma", "InverseGamma", "MixingLaw", "prior_action", "prior_curvature", "prior_slope"]


def prior_action(widths: Any, u: Any, xp: ModuleType = np) -> Any:
    r"""Return the prior's part of the action, :math:`\sum_l N_l (Q_l - \log Q_l)`, which is Σ N_l at its minimum.

    Parameters
    ----------
    widths : array of shape (L,)
        N_1..N_L.
    u : array of shape (L,)
        log Q.
    xp : module
        The array library: numpy or jax.numpy.
    """
    return widths @ (xp.exp(u) - u)


def prior_slope(widths: Float[np.ndarray, " L"], u: Float[np.ndarray, " L"]) -> Float[np.ndarray, " L"]:
    """Return the gradient of the prior's part of the action in log Q."""
    return widths * np.expm1(u)


def prior_curvature(widths: Float[np.ndarray, " L"], u: Float[np.ndarray, " L"]) -> Float[np.ndarray, "L L"]:
    """Return the Hessian of the prior's part of the action in log Q."""
    return np.diag(widths * np.exp(u))


@runtime_checkable
class MixingLaw(Protocol):
    """What the quadrature needs to know of a law: -2 log p(u), convex in u = log scale, its slope and its minimum."""

    @property
    def centre(self) -> float:
        """The most probable u."""

    def value(self, u: np.ndarray) -> np.ndarray:
        """Return -2 log p(u)."""

    def slope(self, u: np.ndarray) -> np.ndarray:
        """Return its derivative in u."""


class Gamma(NamedTuple):
    r"""The order parameter of a layer of N units: Gamma of shape and rate N/2, of mean one and variance 2/N.

    .. math:: p(u) = \frac{(N/2)^{N/2}}{\Gamma(N/2)} \exp[\tfrac N2 (u - e^u)], \qquad u = \log Q

    References
    ----------
    Theory notes, eq. (3.2).

    Examples
    --------
    >>> from scipy.stats import gamma
    >>> law, Q = Gamma(6.0), 1.3
    >>> bool(np.isclose(np.exp(-law.value(np.log(Q)) / 2), Q * gamma.pdf(Q, 3, scale=1 / 3)))
    True
    """

    width: float | np.ndarray  # an array for the slope alone

    @property
    def centre(self) -> float:
        """The most probable u, zero."""
        return 0.0

    def value(self, u: np.ndarray) -> np.ndarray:
        """Return -2 log p(u)."""
        N = float(self.width)
        return N * exponential_excess(u) - np.log(N / (4 * np.pi)) + 2 * stirling_error(N / 2)[0]

    def slope(self, u: np.ndarray) -> np.ndarray:
        """Return its derivative in u."""
        return self.width * np.expm1(u)


class InverseGamma(NamedTuple):
    r"""The scale of a Student's t-process with ν degrees of freedom.

    .. math:: r \sim \mathrm{InvGamma}(\tfrac\nu2, \tfrac s2), \qquad u = \log r

    With s = ν − 2, for ν > 2, its mean is one and the kernel is the covariance of the process; with s = ν the kernel is
    its scale matrix, for any ν > 0.

    References
    ----------
    Theory notes, section 5; Shah, Wilson, Ghahramani (2014).

    Examples
    --------
    >>> from scipy.stats import invgamma
    >>> law, r = InverseGamma(5.0), 0.7
    >>> bool(np.isclose(np.exp(-law.value(np.log(r)) / 2), r * invgamma.pdf(r, 2.5, scale=1.5)))
    True
    """

    df: float
    covariance: bool = True

    @property
    def excess(self) -> float:
        """The number s: ν − 2 where the kernel is the covariance, ν where it is the scale matrix."""
        return self.df - 2 if self.covariance else self.df

    @property
    def centre(self) -> float:
        """The most probable u, log s/ν."""
        return float(np.log1p((self.excess - self.df) / self.df))

    def value(self, u: np.ndarray) -> np.ndarray:
        """Return -2 log p(u)."""
        nu, lost = self.df, self.df - self.excess
        constant = -nu * np.log1p(-lost / nu) - np.log(nu / (4 * np.pi)) + 2 * stirling_error(nu / 2)[0]
        return nu * exponential_excess(np.negative(u)) - lost * np.exp(-u) + constant

    def slope(self, u: np.ndarray) -> np.ndarray:
        """Return its derivative in u."""
        return self.df - self.excess * np.exp(-u)

    def df_slope(self, u: np.ndarray) -> np.ndarray:
        """Return the derivative of -2 log p(u) in ν."""
        nu, lost = self.df, self.df - self.excess
        constant = -np.log1p(-lost / nu) - lost / self.excess - 1 / nu + stirling_error(nu / 2)[1]
        return u + np.expm1(-u) + constant
