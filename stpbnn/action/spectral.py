r"""One scale of one kernel: A(ρ) = ρ K + b 11^T + T 1 at O(P) a value, after one tridiagonalisation of K.

This is the whole problem for one hidden layer and, at any depth, for the global closure, where only the product
:math:`\rho = \prod_l Q_l` enters the kernel. There stationarity reads :math:`N_l (Q_l - 1) = c` with the same c for
all layers, so that one number, here :math:`u = \log Q` of the narrowest layer, runs through all candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh, solveh_banded
from scipy.optimize import brentq

from stpbnn.action.tridiagonal import Diagonalisation, Reduction, reduce

__all__ = [
    "Forms",
    "Spectrum",
    "Terms",
    "bracket",
    "eigenbasis",
    "finite",
    "forms",
    "minima",
    "order_parameters",
    "solution",
    "terms",
    "tridiagonalise",
]

GRID_STEP = 0.1  # in log Q: the two minima of known double-well actions are 2 or more apart


class Spectrum(NamedTuple):
    """K = H J H^T with J tridiagonal: its eigenvalues, both diagonals, columns H^T [V, 1] that go with it, and H."""

    eigenvalues: Float[np.ndarray, " P"]
    diagonal: Float[np.ndarray, " P"]
    off_diagonal: Float[np.ndarray, " P-1"]
    vectors: Float[np.ndarray, "P k"]
    basis: Reduction | Diagonalisation | None = None


class Forms(NamedTuple):
    """Everything that the action needs at one scale, with B = ρK + b 11^T + T."""

    log_det: float  # log det B
    trace: float  # tr B^{-1} K
    trace_squared: float  # tr B^{-1} K B^{-1} K
    inverse: Float[np.ndarray, "k k"]  # V^T B^{-1} V
    slope: Float[np.ndarray, "k k"]  # V^T B^{-1} K B^{-1} V
    curvature: Float[np.ndarray, "k k"]  # V^T B^{-1} K B^{-1} K B^{-1} V


class Terms(NamedTuple):
    """log det A + y^T A^{-1} y, with its first and second derivatives in log ρ."""

    value: float
    slope: float
    curvature: float


def tridiagonalise(K: Float[np.ndarray, "P P"], *columns: Float[np.ndarray, " P"]) -> Spectrum:
    """Reduce a symmetric kernel to tridiagonal form, and carry vectors V, y the first of them, and ones along.

    The lower triangle of K is read, and overwritten where K is in Fortran's order.
    """
    vectors = np.stack([*columns, np.ones(len(K))], axis=1)
    if len(K) == 1:
        return Spectrum(K[0], K[0], np.empty(0), vectors, reduce(K))
    reduction = reduce(K)
    eigenvalues = reduction.eigenvalues
    if eigenvalues[0] > rounding(eigenvalues):
        rotated = reduction.rotate(vectors, transpose=True)
        return Spectrum(eigenvalues, reduction.diagonal, reduction.off_diagonal, rotated, reduction)
    # in the null space only the eigenbasis tells zero from rounding
    basis, k = Diagonalisation(reduction.eigenvectors), _positive(eigenvalues)
    return Spectrum(k, k, np.zeros(len(k) - 1), basis.rotate(vectors, transpose=True), basis)


def rounding(eigenvalues: Float[np.ndarray, " P"]) -> float:
    """Return the size below which an eigenvalue of a kernel is zero to rounding."""
    return float(len(eigenvalues) * np.finfo(np.float64).eps * eigenvalues[-1])


def eigenbasis(K: Float[np.ndarray, "P P"]) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, "P P"]]:
    """Diagonalise a kernel; eigenvalues that are zero to rounding are zero."""
    k, U = eigh(K, driver="evd", check_finite=False)
    return _positive(k), U


def _positive(k: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    return np.where(k > rounding(k), k, 0.0)


def _solver(
    spectrum: Spectrum, scale: float, temperature: float
) -> Callable[[Float[np.ndarray, "P k"]], Float[np.ndarray, "P k"]]:
    """Return V → (ρJ + T)^{-1} V."""
    banded = np.zeros((min(2, len(spectrum.diagonal)), len(spectrum.diagonal)))
    banded[0] = scale * spectrum.diagonal + temperature
    banded[1:, :-1] = scale * spectrum.off_diagonal
    return lambda V: solveh_banded(banded, V, lower=True, check_finite=False)


def solution(spectrum: Spectrum, scale: float, temperature: float, bias: float = 0.0) -> Float[np.ndarray, " P"]:
    """Return A^{-1} y with A = ρK + b 11^T + T.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A is singular to working precision.
    """
    shifted = scale * spectrum.eigenvalues + temperature
    if not shifted.min() > np.finfo(np.float64).eps * shifted.max():
        raise np.linalg.LinAlgError(f"condition number above {shifted.max() / max(shifted.min(), 1e-300):.0e}")
    assert spectrum.basis is not None
    z, g = _solver(spectrum, scale, temperature)(spectrum.vectors[:, [0, -1]]).T
    ones = spectrum.vectors[:, -1]
    z = z - bias * (ones @ z) / (1 + bias * (ones @ g)) * g
    return spectrum.basis.rotate(z[:, None])[:, 0]


def forms(spectrum: Spectrum, scale: float, temperature: float, bias: float = 0.0) -> Forms:
    """Return determinant, traces and quadratic forms of B = ρK + b 11^T + T: the bias is a rank-one term.

    Raises
    ------
    numpy.linalg.LinAlgError
        If ρK + T is not positive definite to working precision.
    """
    shifted = scale * spectrum.eigenvalues + temperature
    if not shifted.min() > 0:
        raise np.linalg.LinAlgError("the kernel plus temperature is singular")
    share = spectrum.eigenvalues / shifted
    log_det, trace, trace_squared = np.log(shifted).sum(), share.sum(), (share * share).sum()
    diagonal, off_diagonal = spectrum.diagonal[:, None], spectrum.off_diagonal[:, None]
    solve = _solver(spectrum, scale, temperature)

    def multiply(V: Float[np.ndarray, "P k"]) -> Float[np.ndarray, "P k"]:
        product = diagonal * V
        product[:-1] += off_diagonal * V[1:]
        product[1:] += off_diagonal * V[:-1]
        return product

    V, ones = spectrum.vectors[:, :-1], spectrum.vectors[:, -1:]
    Z, correction = solve(V), 0.0
    if bias:  # B^{-1} = M^{-1} − β g g^T with M = ρK + T and g = M^{-1} 1
        g = solve(ones)
        Kg = multiply(g)
        overlap = bias * (ones.T @ g).item()
        beta = bias / (1 + overlap)
        pull = beta * (g.T @ Kg).item()
        log_det, trace = log_det + np.log1p(overlap), trace - pull
        trace_squared += pull**2 - 2 * beta * (Kg.T @ solve(Kg)).item()
        Z = Z - beta * g * (g.T @ V)
        correction = beta * np.outer(Kg.T @ Z, Kg.T @ Z)
    KZ = multiply(Z)
    curvature = KZ.T @ solve(KZ) - correction
    return Forms(float(log_det), float(trace), float(trace_squared), V.T @ Z, Z.T @ KZ, curvature)


def terms(spectrum: Spectrum, log_scale: float, temperature: float, bias: float = 0.0) -> Terms:
    """Return log det A + y^T A^{-1} y and its derivatives in log ρ."""
    scale = float(np.exp(log_scale))
    found = forms(spectrum, scale, temperature, bias)
    slope = scale * (found.trace - found.slope[0, 0])
    curvature = slope + scale**2 * (2 * found.curvature[0, 0] - found.trace_squared)
    return Terms(found.log_det + float(found.inverse[0, 0]), float(slope), float(curvature))


def order_parameters(u: float, widths: Float[np.ndarray, " L"]) -> Float[np.ndarray, " L"]:
    """Return the Q of all layers that go with log Q = u of the narrowest: N_l (Q_l − 1) the same for all."""
    share = widths.min() / widths
    return share * np.exp(u) + (1 - share)


def _force(u: float, spectrum: Spectrum, widths: Float[np.ndarray, " L"], temperature: float, bias: float) -> float:
    """N_l (Q_l − 1) + d/dlogρ (log det A + y^T A^{-1} y): zero where S is stationary, of the sign of its slope."""
    log_scale = float(np.log(order_parameters(u, widths)).sum())
    return float(widths.min() * np.expm1(u) + terms(spectrum, log_scale, temperature, bias).slope)


def bracket(
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


def finite(force: Callable[..., float], u: float, *arguments: Any) -> float:
    """Return the force, or NaN where ρK + T is singular to rounding: far out, such scales are no candidates."""
    try:
        return force(u, *arguments)
    except np.linalg.LinAlgError:
        return np.nan


def minima(spectrum: Spectrum, widths: Float[np.ndarray, " L"], temperature: float, bias: float = 0.0) -> list[float]:
    """Return log Q of the narrowest layer at every minimum of S, found on a grid and refined to rounding."""
    lower, upper = bracket(spectrum, widths, temperature, bias)
    arguments = (spectrum, widths, temperature, bias)
    grid = np.linspace(lower - GRID_STEP, upper + GRID_STEP, int((upper - lower) / GRID_STEP) + 3)
    forces = np.array([finite(_force, u, *arguments) for u in grid])
    rising = np.flatnonzero((forces[:-1] < 0) & (forces[1:] >= 0))
    if not len(rising):
        raise np.linalg.LinAlgError("no minimum of the action where the kernel plus temperature is regular")
    return [brentq(_force, grid[i], grid[i + 1], args=arguments, xtol=1e-15, rtol=1e-15) for i in rising]
