r"""Many order parameters: their posterior by importance sampling about the saddle points.

In log Q the posterior is close to a Gaussian whose precision is half the Hessian of the action at its minimum. Points
are drawn from a multivariate Student's t of that shape, one for each saddle point, and weighted:

.. math:: p(y) \approx \frac1n \sum_i w_i, \qquad w_i = \frac{p(\log Q_i)\, N(y; 0, A(Q_i))}{q(\log Q_i)}

They are scrambled Sobol points, whose error falls faster than that of independent draws. A few independent scrambles
give the error; points are added until it is small.

References
----------
Theory notes, section 4 (finite N beyond the saddle). Owen, Monte Carlo theory, methods and examples, chapters 9 and 17.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular
from scipy.special import gammaln, logsumexp, ndtri
from scipy.stats import chi2, qmc
from sklearn.exceptions import ConvergenceWarning

from stpbnn.scale.posterior import OrderParameterPosterior, weighted
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["ACCURACY", "Actions", "Draws", "importance_draws", "importance_posterior"]

ACCURACY = 2e-3  # relative standard error of the evidence and of the means of Q
SCRAMBLES = 4
FEWEST, MOST = 128, 4096  # points of a scramble
PROPOSAL_DF = 10.0  # tails that are heavier than those of the posterior
NEGLIGIBLE = 1e-6  # weight, relative to the largest one, of nodes that are dropped

Actions = Callable[[Float[np.ndarray, "n L"]], Float[np.ndarray, " n"]]


class Draws(NamedTuple):
    """Points (n, m), the logarithms of their weights, whose sum is the evidence, and its relative error."""

    points: Float[np.ndarray, "n m"]
    log_weights: Float[np.ndarray, " n"]
    error: float


def importance_posterior(
    actions: Actions, points: list[SaddlePoint], size: int, random: np.random.Generator
) -> OrderParameterPosterior:
    """Return p(Q | y) as weighted draws, with the evidence and the relative standard error of evidence and means.

    Parameters
    ----------
    actions : callable
        From log Q (n, L) to the n values of -2 log p(log Q, y) without the P log 2π; infinity where A(Q) is not
        positive definite.
    points : list of SaddlePoint
        Minima of the action, the lowest first.
    size : int
        P, the number of targets.
    random : numpy Generator
        Scrambles of the points.

    Warns
    -----
    ConvergenceWarning
        If the standard error stays above two thousandths.
    """
    centres = np.log([point.order_parameters for point in points])
    drawn = importance_draws(actions, centres, [point.hessian for point in points], size, random)
    return weighted(*drawn, negligible=NEGLIGIBLE)


def importance_draws(
    actions: Actions,
    centres: Float[np.ndarray, "k L"],
    hessians: list[Float[np.ndarray, "L L"]],
    size: int,
    random: np.random.Generator,
    observed: Callable[[np.ndarray], np.ndarray] = np.exp,
    accuracy: float = ACCURACY,
) -> Draws:
    """Return weighted draws about centres in any coordinates, given approximate Hessians of the action there.

    Parameters
    ----------
    actions : callable
        From points (n, L) to the n values of -2 log of the density, without the P log 2π.
    centres : array of shape (k, L)
        Where it is low.
    hessians : list of arrays of shape (L, L)
        Its second derivatives there.
    size : int
        P, the number of targets.
    random : numpy Generator
        Scrambles of the points.
    observed : callable
        From points (..., L) to positive numbers (..., m) whose means are to be known.
    accuracy : float
        The relative standard error of the evidence and of these means, below which it is enough.
    """
    roots = [_root(hessian / 2) for hessian in hessians]
    L, constant = centres.shape[1], size * np.log(2 * np.pi) / 2
    engines = [qmc.Sobol(L + 2, rng=random) for _ in range(SCRAMBLES)]
    places, logs, seen = np.empty((SCRAMBLES, 0, L)), np.empty((SCRAMBLES, 0)), []
    count = FEWEST
    while True:
        uniform = np.stack([engine.random(count) for engine in engines])
        drawn = _proposals(uniform, centres, roots)
        values = actions(drawn.reshape(-1, L)).reshape(drawn.shape[:2])
        places = np.concatenate([places, drawn], axis=1)
        seen.append(observed(drawn))
        logs = np.concatenate([logs, -values / 2 - constant - _log_density(drawn, centres, roots)], axis=1)
        error = _standard_error(np.concatenate(seen, axis=1), logs)
        count = logs.shape[1]
        if error < accuracy or count >= MOST:
            break
    if not error < accuracy:
        warnings.warn(
            f"the integral over the order parameters is known to a relative {error:.1e} only with {logs.size} points, "
            f"more than {accuracy:g}; raise the temperature or the widths, or use ProportionalLimitRegressor",
            ConvergenceWarning,
            stacklevel=4,
        )
    return Draws(places.reshape(-1, L), logs.ravel() - np.log(logs.size), error)


def _root(precision: Float[np.ndarray, "L L"]) -> Float[np.ndarray, "L L"]:
    """Return R with R R^T the inverse of a precision."""
    factor = cholesky(precision, lower=True)
    return solve_triangular(factor, np.eye(len(factor)), lower=True).T


def _proposals(
    uniform: Float[np.ndarray, "s n m"], centres: Float[np.ndarray, "k L"], roots: list[Float[np.ndarray, "L L"]]
) -> Float[np.ndarray, "s n L"]:
    """Return draws of a mixture of multivariate Student's t laws from uniform numbers: place, length and direction."""
    inside = np.clip(uniform, 1e-12, 1 - 1e-12)
    place = np.minimum((inside[..., 0] * len(centres)).astype(int), len(centres) - 1)
    length = np.sqrt(PROPOSAL_DF / chi2.ppf(inside[..., 1], PROPOSAL_DF))
    steps = np.einsum("snij,snj->sni", np.array(roots)[place], ndtri(inside[..., 2:]))
    return centres[place] + length[..., None] * steps


def _log_density(
    log_q: Float[np.ndarray, "s n L"], centres: Float[np.ndarray, "k L"], roots: list[Float[np.ndarray, "L L"]]
) -> Float[np.ndarray, "s n"]:
    L, nu = log_q.shape[-1], PROPOSAL_DF
    constant = gammaln((nu + L) / 2) - gammaln(nu / 2) - L / 2 * np.log(nu * np.pi)
    found = []
    for centre, root in zip(centres, roots, strict=True):
        white = solve_triangular(root, (log_q - centre).reshape(-1, L).T)
        squares = np.sum(white**2, axis=0).reshape(log_q.shape[:-1])
        found.append(constant - np.log(np.diag(root)).sum() - (nu + L) / 2 * np.log1p(squares / nu))
    return logsumexp(found, axis=0) - np.log(len(found))


def _standard_error(observed: Float[np.ndarray, "s n m"], logs: Float[np.ndarray, "s n"]) -> float:
    """Return the largest relative standard error of the evidence and of the means, from the scrambles."""
    evidence = np.exp(logsumexp(logs, axis=1) - logsumexp(logs) + np.log(len(logs)))
    weights = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    means = np.einsum("sn,snl->sl", weights, observed)
    relative = np.column_stack([evidence, means / means.mean(axis=0)])
    return float(np.max(relative.std(axis=0, ddof=1)) / np.sqrt(len(logs)))
