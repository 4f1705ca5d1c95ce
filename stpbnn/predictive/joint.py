"""Joint densities, from a factorised covariance; one that rounding has spoiled is refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, lapack, solve_triangular

from stpbnn._linalg import log_det_of

__all__ = ["Whitened", "relative_rounding", "whiten"]

TINY = float(np.finfo(np.float64).tiny)
EPS = float(np.finfo(np.float64).eps)
LOST = 0.01  # error of a log density by rounding, above which it is refused
SAME = 100 * EPS  # variance of a difference, relative to the variances, below which two values are the same


class Whitened(NamedTuple):
    """log det C and residual^T C^{-1} residual, summed over outputs."""

    log_det: float
    quadratic: float


def relative_rounding(before: np.ndarray, after: np.ndarray) -> float:
    """Return the relative error of a covariance, given its variances before and after a subtraction.

    Examples
    --------
    >>> relative_rounding(np.array([1.0]), np.array([1e-6])) < 1e-9
    True
    """
    return EPS * float(np.max(before, initial=0.0)) / max(float(np.max(after, initial=0.0)), TINY)


def whiten(covariance: np.ndarray, residual: np.ndarray, error: float = 0.0) -> Whitened:
    r"""Return log det C and r^T C^{-1} r of a covariance C (n, n) and residuals r, (n,) or (n, D).

    Errors of size ε in C change the one by about :math:`\epsilon |C^{-1}|` and the other by
    :math:`\epsilon |C^{-1} r|^2`.

    Parameters
    ----------
    covariance : array of shape (n, n)
        C.
    residual : array of shape (n,) or (n, D)
        Values less their means.
    error : float
        The size of the errors of the entries of C relative to its largest variance, where it is above rounding.

    Raises
    ------
    ValueError
        If C is singular to rounding, so that its smallest eigenvalues and with them the density are lost.

    Examples
    --------
    >>> log_det, quadratic = whiten(np.diag([1.0, 4.0]), np.array([1.0, 2.0]))
    >>> round(log_det, 6), quadratic
    (1.386294, 2.0)
    """
    error = max(EPS, error) * float(np.diag(covariance).max())
    try:
        factor = cholesky(covariance, lower=True)
    except np.linalg.LinAlgError:
        raise _lost(covariance, error) from None
    size = np.abs(covariance).sum(axis=0).max()
    reciprocal, _ = lapack.dpocon(factor, size, uplo="L")
    white = solve_triangular(factor, residual, lower=True)
    columns, quadratic = residual.size // len(residual), float(np.sum(white**2))
    alpha = solve_triangular(factor, white, lower=True, trans=1)
    lost = columns * error / max(reciprocal * size, TINY) + error * np.sum(alpha**2) / max(1.0, quadratic)
    if not lost / 2 < LOST:
        raise _lost(covariance, error)
    return Whitened(columns * log_det_of(factor), quadratic)


def _lost(covariance: np.ndarray, error: float) -> ValueError:
    """Return the error for a singular covariance: two points that are the same, or points too close together."""
    variances = np.diag(covariance)
    apart = variances[:, None] + variances - 2 * covariance
    apart[np.diag_indices_from(apart)] = np.inf
    i, j = divmod(int(apart.argmin()), len(apart))
    same = apart[i, j] <= max(SAME * max(variances[i], variances[j]), 4 * error)
    if variances.min() <= 4 * error:
        reason = f"the value at query point {int(variances.argmin())} is certain"
    elif same:
        reason = f"repeated query points: numbers {i} and {j} cannot be told apart"
    else:
        reason = f"{len(variances)} query points are too close together for so smooth a kernel"
    return ValueError(
        f"logpdf: the joint law has no density to working precision: {reason}; "
        "take fewer points, or ask for the law with noise=True"
    )
