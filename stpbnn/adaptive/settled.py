r"""Whether a search has settled: numbers that tell a fixed point, and how they differ.

The numbers are squared bias and variance of f at each training input, had its own target been left out; with
Λ = (T + N/n Σ)^{-1} the residual is (y − f̄)_i / (T Λ_ii) and the variance 1/Λ_ii − T. Of a cluster that is the network
Λ is (1 − V/T)/T, which the noise of V makes negative: there the numbers are those of the training inputs as they are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from stpbnn.adaptive.fields import Averages, Problem, Response, fields

__all__ = ["checked", "monte_carlo_error", "moved", "stuck", "summary"]

SIGNIFICANT = 4.0  # drift in standard errors: the five-per-cent level of two drifts with as few populations
NEGLIGIBLE = 0.005  # a relative difference that is accepted whatever the standard error
COARSE = 0.25  # a larger one is no solution however large the noise
BIASED = 3.0  # what half of the particles change, in its standard errors
FORGETTING = 2  # correlation times that half of a round must have


def summary(problem: Problem, averages: Averages) -> list[float]:
    """Return squared bias and variance of f at training inputs whose own target is left out, where that is known."""
    covariance = averages.covariance()
    if problem.part == 1:
        T, leaves = problem.temperature, problem.temperature * problem.whitening @ problem.whitening  # the output bias
        residual = leaves @ (problem.y - averages.K @ (leaves @ problem.y) / T)
        variance = np.sum((leaves @ covariance) * leaves, axis=1) + T * (1 - np.diag(leaves))
        return [float(np.mean(residual**2)), float(np.mean(variance))]
    response = Response.of(problem, covariance)
    a, R = fields(problem, averages.K, response)
    residual = a - problem.reacting * (R @ (averages.K @ a))
    precision = response.vectors**2 @ (response.r * (1 - problem.reacting * response.g * response.r))
    precision = np.maximum(precision, 1e-12 / problem.temperature)
    return [float(np.mean((residual / precision) ** 2)), float(np.mean(1 / precision) - problem.temperature)]


def checked(rows: Float[np.ndarray, "groups 2 k"], whole: int) -> tuple[float, float, list[str]]:
    """Return the drift in standard errors, that with half of the particles, and the names of what failed.

    Parameters
    ----------
    rows : array of shape (populations, 2, k)
        Numbers that tell the fixed point, from the first and the second half of a round.
    whole : int
        How many populations have all particles; the rest have half as many.
    """
    scale, failed = np.abs(rows[:whole]).mean(axis=(0, 1)), []
    change = rows[:whole, 1] - rows[:whole, 0]
    drift = _most(change.mean(axis=0), _error_of_mean(change))
    relative = _most(change.mean(axis=0), scale)
    if not (relative < NEGLIGIBLE or (drift < SIGNIFICANT and relative < COARSE)):
        failed.append("drift")
    means = rows.mean(axis=1)
    less = means[whole:].mean(axis=0) - means[:whole].mean(axis=0)
    bias = _most(less, _error_of_mean(means[:whole]) * np.sqrt(1 + 2 * whole / (len(rows) - whole)))
    if bias > BIASED and _most(less, scale) > NEGLIGIBLE:
        failed.append("particles")
    return drift, bias, failed


def stuck(correlation: float, moves: int) -> bool:
    """Return whether particles hardly forget where they were within half of a round, so that no two halves differ.

    The correlation time of an autoregressive series is (1 + ρ)/(1 − ρ).

    Parameters
    ----------
    correlation : float
        ρ, from one move to the next.
    moves : int
        Of both halves of a round.

    Examples
    --------
    >>> stuck(0.8, 60), stuck(0.98, 60), stuck(0.98, 1000)
    (False, True, False)
    """
    return moves / 2 * (1 - correlation) < FORGETTING * (1 + correlation)


def monte_carlo_error(whole: Float[np.ndarray, "groups ..."], halved: Float[np.ndarray, "few ..."]) -> np.ndarray:
    """Return the standard error of the mean over populations, and with it what half of the particles change.

    That is, beyond twice its noise, the bias of all of them, for a bias falls as one over the number of particles.
    """
    noise = _error_of_mean(whole) ** 2
    if not len(halved):
        return np.sqrt(noise)
    change = np.mean(halved, axis=0) - np.mean(whole, axis=0)
    return np.sqrt(noise + np.maximum(change**2 - 4 * noise * (1 + 2 * len(whole) / len(halved)), 0))


def moved(rows: Float[np.ndarray, "groups k"], before: Float[np.ndarray, "groups k"]) -> bool:
    """Return whether the means differ by more than their standard error."""
    change = rows.mean(axis=0) - before.mean(axis=0)
    noise = np.hypot(_error_of_mean(rows), _error_of_mean(before))
    return bool((np.abs(change) > np.maximum(noise, NEGLIGIBLE * np.abs(rows.mean(axis=0)))).any())


def _error_of_mean(rows: Float[np.ndarray, "groups ..."]) -> np.ndarray:
    """Return the standard error of the mean over the first axis."""
    return np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))


def _most(change: np.ndarray, scale: np.ndarray) -> float:
    return float(np.max(np.abs(change) / np.maximum(scale, 1e-300)))
