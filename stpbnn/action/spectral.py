r"""One scale of one kernel: A(ρ) = ρ K + b 11^T + T 1 at O(P) a value, after one tridiagonalisation of K.

This is the whole problem for one hidden layer and, at any depth, for the global closure, where only the product
:math:`\rho = \prod_l Q_l` enters the kernel. There stationarity reads :math:`N_l (Q_l - 1) = c` with the same c for
all layers, so that one number, here :math:`u = \log Q` of the narrowest layer, runs through all candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigvalsh_tridiagonal, lapack, solveh_banded
from scipy.optimize import brentq

__all__ = ["Spectrum", "Terms", "minima", "order_parameters", "terms", "tridiagonalise"]

GRID_STEP = 0.1  # in log Q: the two minima of known double-well actions are 2 or more apart


class Spectrum(NamedTuple):
    """K = H J H^T with J tridiagonal: its eigenvalues, both diagonals, and H^T y and H^T 1 as columns."""

    eigenvalues: Float[np.ndarray, " P"]
    diagonal: Float[np.ndarray, " P"]
    off_diagonal: Float[np.ndarray, " P-1"]
    vectors: Float[np.ndarray, "P 2"]


class Terms(NamedTuple):
    """log det A + y^T A^{-1} y, with its first and second derivatives in log ρ."""

    value: float
    slope: float
    curvature: float


def tridiagonalise(K: Float[np.ndarray, "P P"], y: Float[np.ndarray, " P"]) -> Spectrum:
    """Reduce a symmetric kernel to tridiagonal form, and carry the targets along."""
    vectors = np.stack([y, np.ones_like(y)], axis=1)
    if len(K) == 1:
        return Spectrum(K[0], K[0], np.empty(0), vectors)
    lwork, _ = lapack.dsytrd_lwork(len(K), lower=1)
    reflectors, diagonal, off_diagonal, tau, _ = lapack.dsytrd(K, lower=1, lwork=int(lwork))
    rotated, *_ = lapack.dormqr("L", "T", reflectors[1:, :-1], tau, vectors[1:], lwork=64 * len(K))
    eigenvalues = eigvalsh_tridiagonal(diagonal, off_diagonal, check_finite=False)
    return Spectrum(np.maximum(eigenvalues, 0), diagonal, off_diagonal, np.vstack([vectors[:1], rotated]))


def terms(spectrum: Spectrum, log_scale: float, temperature: float, bias_variance: float = 0.0) -> Terms:
    """Return log det A + y^T A^{-1} y and its derivatives in log ρ; the output bias is a rank-one term.

    Raises
    ------
    numpy.linalg.LinAlgError
        If ρK + T is not positive definite to working precision.
    """
    scale = np.exp(log_scale)
    scaled = scale * spectrum.eigenvalues
    shifted = scaled + temperature
    if not shifted.min() > 0:
        raise np.linalg.LinAlgError("the kernel plus temperature is singular")
    log_det = np.array(
        [np.log(shifted).sum(), (scaled / shifted).sum(), (scaled / shifted * (temperature / shifted)).sum()]
    )
    vectors = spectrum.vectors if bias_variance else spectrum.vectors[:, :1]
    banded = np.zeros((min(2, len(scaled)), len(scaled)))
    banded[0] = scale * spectrum.diagonal + temperature
    banded[1:, :-1] = scale * spectrum.off_diagonal

    def solve(V: Float[np.ndarray, "P k"]) -> Float[np.ndarray, "P k"]:
        return solveh_banded(banded, V, lower=True, check_finite=False)

    # F = V^T M^{-1} V with M = ρJ + T, and its derivatives in log ρ
    Z = solve(vectors)
    R = vectors - temperature * Z  # ρ J Z
    ZR = Z.T @ R
    forms = np.array([vectors.T @ Z, -ZR, 2 * R.T @ solve(R) - ZR])
    quadratic = forms[:, 0, 0]
    if bias_variance:
        rank_one, quadratic = _output_bias(forms, bias_variance)
        log_det = log_det + rank_one
    return Terms(*(log_det + quadratic))


def _output_bias(
    forms: Float[np.ndarray, "3 2 2"], b: float
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Return log(1 + b F_11) and F_yy − b F_y1² / (1 + b F_11), each with two derivatives."""
    (f, f1, f2), (c, c1, c2) = forms[:, 0, 0], forms[:, 0, 1]
    p, p1, p2 = np.array([1.0, 0.0, 0.0]) + b * forms[:, 1, 1]
    rank_one = np.array([np.log(p), p1 / p, p2 / p - (p1 / p) ** 2])
    r = c / p
    r1 = (c1 - r * p1) / p
    r2 = (c2 - 2 * r1 * p1 - r * p2) / p
    return rank_one, np.array([f - b * c * r, f1 - b * (c1 * r + c * r1), f2 - b * (c2 * r + 2 * c1 * r1 + c * r2)])


def order_parameters(u: float, widths: Float[np.ndarray, " L"]) -> Float[np.ndarray, " L"]:
    """Return the Q of all layers that go with log Q = u of the narrowest: N_l (Q_l − 1) the same for all."""
    share = widths.min() / widths
    return share * np.exp(u) + (1 - share)


def _force(u: float, spectrum: Spectrum, widths: Float[np.ndarray, " L"], temperature: float, bias: float) -> float:
    """N_l (Q_l − 1) + d/dlogρ (log det A + y^T A^{-1} y): zero where S is stationary, of the sign of its slope."""
    log_scale = float(np.log(order_parameters(u, widths)).sum())
    return float(widths.min() * np.expm1(u) + terms(spectrum, log_scale, temperature, bias).slope)


def _bracket(
    spectrum: Spectrum, widths: Float[np.ndarray, " L"], temperature: float, bias: float
) -> tuple[float, float]:
    """Return bounds of log Q of the narrowest layer that hold every minimum of S."""
    narrow = widths.min()
    if temperature > 0:
        square = float(spectrum.vectors[:, 0] @ spectrum.vectors[:, 0])
        # y^T A^{-1} ρK A^{-1} y <= |y|²/T, and tr A^{-1} ρK <= ρ tr K / T
        trace = spectrum.eigenvalues.sum() / temperature
        lower = min(0.5 ** len(widths), narrow / (2 * trace)) if trace > 0 else 0.5 ** len(widths)
        return np.log(lower), np.log1p(square / temperature / narrow)
    lower = upper = 1.0  # T = 0: y^T A^{-1} y and with it the force falls and rises without bound
    while _force(-lower, spectrum, widths, temperature, bias) > 0:
        lower *= 2
        if lower > 500:
            raise np.linalg.LinAlgError("the action has no minimum at T = 0: it falls without bound as Q goes to zero")
    while _force(upper, spectrum, widths, temperature, bias) < 0:
        upper *= 2
    return -lower, upper


def minima(spectrum: Spectrum, widths: Float[np.ndarray, " L"], temperature: float, bias: float = 0.0) -> list[float]:
    """Return log Q of the narrowest layer at every minimum of S, found on a grid and refined to rounding."""
    lower, upper = _bracket(spectrum, widths, temperature, bias)
    arguments = (spectrum, widths, temperature, bias)
    grid = np.linspace(lower - GRID_STEP, upper + GRID_STEP, int((upper - lower) / GRID_STEP) + 3)
    forces = np.array([_force(u, *arguments) for u in grid])
    rising = np.flatnonzero((forces[:-1] < 0) & (forces[1:] >= 0))
    return [brentq(_force, grid[i], grid[i + 1], args=arguments, xtol=1e-15, rtol=1e-15) for i in rising]
