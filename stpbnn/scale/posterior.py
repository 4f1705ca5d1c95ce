"""The posterior of the order parameters, as weighted nodes."""

from __future__ import annotations

from reprlib import repr as short
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from scipy.special import logsumexp

from stpbnn.predictive import Mixture

__all__ = ["ACCURACY", "OrderParameterPosterior", "is_known", "weighted"]

ACCURACY = 1e-6  # relative error of evidence and mean, below which a quadrature over one layer has converged
LATTICE_KERNEL = 0.45  # standard deviations: a lattice of 0.75 leaves a ripple below one per cent
EXTREME = 1e-12  # the lowest level: a law given by nodes has no tails beyond
LOST = 0.01  # error of the log evidence by the rounding of K that is too much, unless it is a millionth of it
NEGLIGIBLE = 1e-16  # weight, relative to the largest one, of nodes that are dropped


class OrderParameterPosterior(NamedTuple):
    """p(Q | y) as nodes Q (n, L) with weights (n,) of sum one, log p(y), and the estimated relative error of both.

    Nodes of a network with an order parameter for each pair of d positions are matrices, (n, d, d), those of several
    layers along the diagonal of one; of D outputs every layer has a matrix, (n, L, D, D), W_l of a `wishart_chain`.

    Where the mean of the features is kept, every node has an amplitude a of it also, theory notes (3.3).

    Examples
    --------
    >>> posterior = OrderParameterPosterior(np.array([[0.5], [1.0]]), np.array([0.25, 0.75]), -1.0, 0.0)
    >>> posterior.mean
    array([0.875])
    """

    nodes: Float[np.ndarray, "n L ..."]
    weights: Float[np.ndarray, " n"]
    log_evidence: float
    error: float
    amplitudes: Float[np.ndarray, " n"] | None = None

    def __repr__(self) -> str:
        """Return one line: the number of nodes, means and standard deviations, log evidence and its error."""
        numbers = (
            np.array2string(x, precision=4, separator=", ", threshold=6, edgeitems=2) for x in (self.mean, self.std)
        )
        mean, std = (text.replace("\n", "") for text in numbers)
        known = f"log_evidence {self.log_evidence:.6g}, error {self.error:.1e}"
        return f"{type(self).__name__}({len(self.weights)} nodes, mean {mean}, std {std}, {known})"

    @property
    def mean(self) -> Float[np.ndarray, "L ..."]:
        """Posterior means of Q_1..Q_L."""
        return np.tensordot(self.weights, self.nodes, 1)

    @property
    def std(self) -> Float[np.ndarray, "L ..."]:
        """Posterior standard deviations of Q_1..Q_L."""
        return np.sqrt(np.tensordot(self.weights, (self.nodes - self.mean) ** 2, 1))

    def scales_that_matter(self, negligible: float) -> Float[np.ndarray, " 2"]:
        """Return the mean of log Q of one layer, and the largest log Q of a weight that is not negligible."""
        u = np.log(self.nodes[:, 0])
        return np.array([self.weights @ u, u[self.weights > negligible].max()])

    @property
    def curvature(self) -> float:
        """The second derivative in log Q of one layer that an action of this width would have."""
        u = np.log(self.nodes[:, 0])
        return 2 / float(self.weights @ (u - self.weights @ u) ** 2)

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles of each Q_l, of each entry of one matrix, and tr Q_l/D of several: levels along a last axis.

        Those of one layer are read off the cumulated weights of its quadrature, interpolated monotonically in log Q:
        good to about 0.002 in p. The nodes of lattices and chains, too coarse for that, are smoothed in log Q with
        Gaussian kernels that leave mean and variance as they are: good to about 0.01, which is enough for plots and
        tables.
        """
        levels = np.asarray(p, dtype=float)
        if not np.all((levels >= 0) & (levels <= 1)):
            raise ValueError(f"p: got {short(p)}, expected probabilities between 0 and 1")
        if self.nodes.ndim == 3:  # a matrix, whose entries have either sign
            entries = self.nodes.reshape(len(self.nodes), -1).T
            found = np.array([_smoothed_inverse_cdf(entry, self.weights, levels) for entry in entries])
            return found.reshape(*self.nodes.shape[1:], *levels.shape)
        inverse = _inverse_cdf if self.nodes.shape[1:] == (1,) else _smoothed_inverse_cdf
        scales = self.nodes if self.nodes.ndim == 2 else np.einsum("nlaa->nl", self.nodes) / self.nodes.shape[-1]
        return np.array([np.exp(inverse(log_q, self.weights, levels)) for log_q in np.log(scales).T])


def _inverse_cdf(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], levels: np.ndarray) -> np.ndarray:
    places, group = np.unique(values.round(9), return_inverse=True)
    mass = np.bincount(group, weights)
    cumulated = np.cumsum(mass) - mass / 2
    rising = np.append(True, np.diff(cumulated) > 1e-12)
    places, cumulated = places[rising], cumulated[rising]
    if len(places) == 1:
        return np.full(levels.shape, places[0])
    return PchipInterpolator(cumulated, places)(np.clip(levels, cumulated[0], cumulated[-1]))


def _smoothed_inverse_cdf(
    values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], levels: np.ndarray
) -> np.ndarray:
    """Return quantiles of nodes spread to Gaussian laws, and drawn towards their mean by as much as that widens them.

    Nodes of equal weight are draws, whose kernels are narrower the more there are; others are a lattice.
    """
    mean = weights @ values
    variance = weights @ (values - mean) ** 2
    share = 0.9 * len(values) ** -0.2 if np.ptp(weights) == 0 else LATTICE_KERNEL
    centres = mean + np.sqrt(1 - share**2) * (values - mean)
    kernels = np.full((len(values), 1), share**2 * variance)
    return Mixture(weights, centres[:, None], kernels).quantile(np.clip(levels, EXTREME, 1 - EXTREME))[0]


def is_known(lost: float, log_evidence: float) -> bool:
    """Return whether numbers can be trusted, given what rounding may have changed of the log evidence."""
    return lost < LOST * max(1.0, 1e-4 * abs(log_evidence))


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
