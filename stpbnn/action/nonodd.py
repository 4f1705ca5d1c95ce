r"""Activations that are not odd, one hidden layer: Q scales the fluctuating kernel, p the direction of the mean.

With m the Gaussian mean of the features, :math:`\tilde K = K_1 - m m^T` and :math:`p = 1/(1 + q)`,

.. math::
    S(q, Q) = N_1 [-qQ + \log(1 + q)] + E(Q, p), \qquad E = \log\det A + y^T A^{-1} y, \qquad
    A = Q \tilde K + p\, m m^T + b\, 11^T + T\,1

is stationary, not minimal, in (q, Q). Given Q, stationarity in q is a cubic equation for p; along its solution the
derivative in Q is a function of one variable, at O(P) a value after one tridiagonalisation of :math:`\tilde K`.

References
----------
Theory notes, sections 3 (3.3) and 4; Pacelli et al. (2023), who use the zero-mean form in their numerics.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from stpbnn.action.point import SaddlePoint
from stpbnn.action.spectral import GRID_STEP, Forms, Spectrum, bracket, finite, forms

__all__ = ["MeanTerms", "mean_scale", "mean_terms", "stationary_points"]


class MeanTerms(NamedTuple):
    """E(Q, p) with its first and second derivatives."""

    value: float
    Q: float
    p: float
    QQ: float
    Qp: float
    pp: float


def mean_terms(found: Forms, p: float) -> MeanTerms:
    """Return E(Q, p) and its derivatives from the forms of B = A − p m m^T, whose columns are y and m."""
    (f, nu), (_, mu) = found.inverse
    (g, g_ym), (_, g_mm) = found.slope
    (c, c_ym), (_, c_mm) = found.curvature
    d = 1 + p * mu
    a, r = nu / d, p / d  # a = m^T A^{-1} y
    return MeanTerms(
        value=found.log_det + np.log(d) + f - p * nu * a,
        p=mu / d - a**2,
        Q=found.trace - g - r * g_mm + 2 * p * a * g_ym - (p * a) ** 2 * g_mm,
        pp=-((mu / d) ** 2) + 2 * a**2 * mu / d,
        Qp=(-g_mm / d + 2 * a * g_ym - 2 * p * a**2 * g_mm) / d,
        QQ=-found.trace_squared
        + 2 * c
        + 2 * r * c_mm
        - (r * g_mm) ** 2
        - 2 * r * g_ym**2
        - 4 * p * a * c_ym
        + 4 * p * a * r * g_ym * g_mm
        + 2 * (p * a) ** 2 * c_mm
        - 2 * (p * a) ** 2 * r * g_mm**2,
    )


def mean_scale(width: float, Q: float, found: Forms) -> float:
    """Return p that makes S stationary in q at given Q: N (p − Q) = p² ∂E/∂p.

    With μ = m^T B^{-1} m and ν = m^T B^{-1} y this is N (p − Q)(1 + pμ)² = p² [μ (1 + pμ) − ν²]: a cubic, whose
    largest positive root is the one that goes to Q for wide networks. A single unit may have none.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no positive p is stationary.
    """
    mu, nu = float(found.inverse[1, 1]), float(found.inverse[0, 1])
    square = [mu * mu, 2 * mu, 1.0]  # (1 + pμ)²
    left = width * np.polysub(np.polymul([1.0, 0.0], square), np.multiply(Q, square))
    cubic = np.polysub(left, [mu * mu, mu - nu * nu, 0.0, 0.0])
    if mu * Q > 1:
        roots = np.roots(cubic)
    else:  # two roots are far out, near −1/μ, where the third would lose its digits: solve for 1/p
        inverse = np.roots(cubic[::-1])
        roots = 1 / inverse[inverse != 0]
    real = roots.real[(np.abs(roots.imag) <= 1e-7 * np.abs(roots)) & (roots.real > 0)]
    if not len(real):
        raise np.linalg.LinAlgError("no scale of the mean is stationary")
    p = float(real.max())
    for _ in range(3):  # the roots of a polynomial lose digits
        p -= float(np.polyval(cubic, p) / np.polyval(np.polyder(cubic), p))
    return p


def stationary_points(spectrum: Spectrum, width: int, temperature: float, bias: float = 0.0) -> list[SaddlePoint]:
    """Return the stationary points of S(q, Q) where its derivative in Q rises, the lowest action first.

    Parameters
    ----------
    spectrum : Spectrum
        K̃ = K_1 − m m^T, tridiagonal, with the columns y and m.
    width : int
        N_1.
    temperature : float
        T, the variance of the noise.
    bias : float
        1/λ_b, the variance of the output bias.

    Returns
    -------
    list of SaddlePoint
        `order_parameters` is (Q,), `conjugate` is q, and the Hessian is that in (q, Q): indefinite by nature.
    """
    N = float(width)

    def state(u: float) -> tuple[float, MeanTerms]:
        found = forms(spectrum, float(np.exp(u)), temperature, bias)
        p = mean_scale(N, float(np.exp(u)), found)
        return p, mean_terms(found, p)

    def force(u: float) -> float:
        p, E = state(u)
        return float(np.exp(u) * (N * (1 - 1 / p) + E.Q))

    lower, upper = bracket(spectrum, np.array([N]), temperature, bias)
    margin = np.log1p(1 / N) + upper / 2 + 1  # p/Q lies between N/(N + y^T B^{-1} y/4) and N/(N − 1)
    grid = np.arange(lower - margin, upper + margin + GRID_STEP, GRID_STEP)
    forces = np.array([finite(force, u) for u in grid])
    points = []
    for i in np.flatnonzero((forces[:-1] < 0) & (forces[1:] >= 0)):
        u = brentq(force, grid[i], grid[i + 1], xtol=1e-15, rtol=1e-15)
        Q, (p, E) = float(np.exp(u)), state(u)
        q = 1 / p - 1
        gradient = np.array([N * (p - Q) - p**2 * E.p, Q * (E.Q - N * q)])
        hessian = np.array(
            [
                [p**2 * (p**2 * E.pp + 2 * p * E.p - N), -N - p**2 * E.Qp],
                [-N - p**2 * E.Qp, E.QQ],
            ]
        )
        action = N * (-q * Q - np.log(p)) + E.value
        residual = float(np.abs(gradient).max() / (N * (Q + 1)))
        # the Gaussian integral over Q and imaginary q; for m = 0 it is that over log Q
        fluctuation = np.log(N) - np.log(np.abs(np.linalg.det(hessian))) / 2
        evidence = float(fluctuation - (action + len(spectrum.vectors) * np.log(2 * np.pi)) / 2)
        points.append(SaddlePoint(np.array([Q]), float(action), residual, hessian, evidence, conjugate=q))
    return sorted(points, key=lambda point: point.action)
