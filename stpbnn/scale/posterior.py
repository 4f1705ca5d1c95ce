"""The posterior of the order parameters, as weighted nodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from scipy.special import logsumexp

__all__ = ["OrderParameterPosterior", "weighted"]

NEGLIGIBLE = 1e-16  # weight, relative to the largest one, of nodes that are dropped


class OrderParameterPosterior(NamedTuple):
    """p(Q | y) as nodes Q (n, L) with weights (n,) of sum one, log p(y), and the estimated relative error of both.

    Where the mean of the features is kept, every node has an amplitude a of it also, theory notes (3.3).

    Examples
    --------
    >>> posterior = OrderParameterPosterior(np.array([[0.5], [1.0]]), np.array([0.25, 0.75]), -1.0, 0.0)
    >>> posterior.mean
    array([0.875])
    """

    nodes: Float[np.ndarray, "n L"]
    weights: Float[np.ndarray, " n"]
    log_evidence: float
    error: float
    amplitudes: Float[np.ndarray, " n"] | None = None

    @property
    def mean(self) -> Float[np.ndarray, " L"]:
        """Posterior means of Q_1..Q_L."""
        return self.weights @ self.nodes

    @property
    def std(self) -> Float[np.ndarray, " L"]:
        """Posterior standard deviations of Q_1..Q_L."""
        return np.sqrt(self.weights @ (self.nodes - self.mean) ** 2)

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles of each Q_l; for an array of levels they lie along a new last axis.

        They are read off the cumulated weights, interpolated monotonically in log Q: good to about 0.002 in p for the
        quadrature of one layer and 0.01 for lattices and chains, which is enough for plots and tables.
        """
        levels = np.asarray(p, dtype=float)
        if not np.all((levels >= 0) & (levels <= 1)):
            raise ValueError(f"p: got {p!r}, expected probabilities between 0 and 1")
        return np.array([np.exp(_inverse_cdf(log_q, self.weights, levels)) for log_q in np.log(self.nodes).T])


def _inverse_cdf(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], levels: np.ndarray) -> np.ndarray:
    places, group = np.unique(values.round(9), return_inverse=True)
    mass = np.bincount(group, weights)
    cumulated = np.cumsum(mass) - mass / 2
    rising = np.append(True, np.diff(cumulated) > 1e-12)
    places, cumulated = places[rising], cumulated[rising]
    if len(places) == 1:
        return np.full(levels.shape, places[0])
    return PchipInterpolator(cumulated, places)(np.clip(levels, cumulated[0], cumulated[-1]))


def weighted(
    log_q: Float[np.ndarray, "n L"],
    log_weights: Float[np.ndarray, " n"],
    error: float,
    amplitudes: Float[np.ndarray, " n"] | None = None,
    negligible: float = NEGLIGIBLE,
) -> OrderParameterPosterior:
    """Return the posterior with normalised weights; the evidence is the sum of the weights that are given."""
    log_evidence = float(logsumexp(log_weights))
    relevance = log_weights + np.maximum(log_q.sum(axis=1), 0)  # for the mean of Q also
    kept = relevance - relevance.max() > np.log(negligible)
    weights = np.exp(log_weights[kept] - log_evidence)
    amplitudes = None if amplitudes is None else amplitudes[kept]
    return OrderParameterPosterior(np.exp(log_q[kept]), weights / weights.sum(), log_evidence, error, amplitudes)
