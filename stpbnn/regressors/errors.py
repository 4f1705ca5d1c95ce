"""The generalisation error, eq. (4.2), squared bias plus variance; and R²."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "NOTHING_EXPLAINED",
    "GeneralizationError",
    "StandardError",
    "error_parts",
    "explained",
    "finite_error",
    "own_errors",
]

LARGEST = np.sqrt(np.finfo(np.float64).max) / 2**20  # of numbers whose squares are summed
NOTHING_EXPLAINED = 0.01  # of the targets' variance, at the training inputs


class GeneralizationError(NamedTuple):
    """Mean over test rows of (y − f̄)² + σ²: the sum, and its two parts."""

    total: float
    squared_bias: float
    variance: float


class StandardError(NamedTuple):
    """Monte Carlo standard errors of the mean and of the variance of f."""

    mean: np.ndarray
    variance: np.ndarray


def error_parts(mean: np.ndarray, variance: np.ndarray, y: np.ndarray) -> tuple[Any, Any, Any]:
    """Return ε = ⟨(y − f̄)² + σ²⟩ of eq. (4.2), then its squared bias and its variance.

    Predictions are (..., n[, D]) and targets (n[, D]): an average over rows, a sum over outputs.
    """
    axes = tuple(range(-y.ndim, 0))
    with np.errstate(over="ignore"):  # infinite
        squared_bias, spread = np.sum((y - mean) ** 2, axis=axes) / len(y), np.sum(variance, axis=axes) / len(y)
    return squared_bias + spread, squared_bias, spread


def finite_error(parts: Iterable[Any], y: np.ndarray) -> GeneralizationError:
    """Return the error as numbers; refuse targets whose squares overflow."""
    error = GeneralizationError(*map(float, parts))
    if not np.isfinite(error).all() and np.abs(y).max() > LARGEST:
        raise ValueError(
            f"y: got targets up to {np.abs(y).max():.0e}, whose squares are out of the range of double precision; "
            "rescale them"
        )
    return error


def explained(y: np.ndarray, mean: np.ndarray) -> float:
    """Return R², the part of the targets' variance that predictions explain: one for targets that do not vary."""
    spread = float(np.sum((y - y.mean(axis=0)) ** 2))
    return 1 - float(np.sum((y - mean) ** 2)) / spread if spread > 0 else 1.0


def own_errors(theory: Any, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of the generalisation error, and of its two parts, that a theory itself has: all, systematic.

    Of simulated theories the first is the Monte Carlo error and, where it is known, the second: that of clusters which
    are too small, NaN where one size alone was solved. Of closed forms both are zero.
    """
    if not hasattr(theory, "generalization_error_systematic_error"):
        return np.zeros(3), np.zeros(3)
    systematic = np.array(theory.generalization_error_systematic_error(X, y))
    return np.hypot(theory.generalization_error_standard_error(X, y), np.nan_to_num(systematic)), systematic
