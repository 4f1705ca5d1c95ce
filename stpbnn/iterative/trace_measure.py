r"""The spectrum of a large matrix as nodes and weights, which give its trace, log determinant and the like.

.. math:: \mathrm{tr} f(K) \approx \sum_j w_j f(\theta_j), \qquad \sum_j w_j (1, \theta_j, \theta_j^2)
          = (P,\, \mathrm{tr} K,\, \|K\|_F^2)

Eigenvalues that the Krylov space has found count once. The rest of the spectrum is known by random probes: each gives
the nodes and weights of a Gauss quadrature, and these are corrected, by a polynomial of second degree, until the three
moments above, known from the entries, are exact. The error has three parts: the scatter of the probes about that
correction; the truncation of the space, by how far the rules of Gauss and of Gauss and Radau are apart; and the
rounding of the entries of K.

References
----------
Golub and Meurant, Matrices, Moments and Quadrature (2010), chapter 6, for the two rules that enclose the truth.
Ubaru, Chen, Saad, SIAM J. Matrix Anal. Appl. 38, 1075 (2017), for the quadrature; Deville and Särndal, J. Am. Stat.
Assoc. 87, 376 (1992), for weights that are corrected to known totals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stpbnn.iterative.krylov import RitzPairs

Function = Callable[[np.ndarray], np.ndarray]
Rule = tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]

__all__ = ["SpectralMeasure", "found", "spectral_measure"]

FOUND = 0.01  # residual of an eigenvalue that has been found, relative to it
NEGATIVE = 1e-6  # the size of a negative eigenvalue, relative to the largest, that single precision does not explain
PLAUSIBLE = (0.2, 5.0)  # factors of a correction


@dataclass(frozen=True)
class SpectralMeasure:
    """Nodes (k,), rising, with weights of the sum P, and what is known of the error.

    Parameters
    ----------
    nodes, weights : arrays of shape (k,)
        θ and w.
    rest : boolean array of shape (k,)
        Which nodes are not eigenvalues that have been found.
    single : array of shape (m, n)
        Weights of these by one of m probes alone.
    powers : array of shape (n, d)
        Powers of these nodes, to which the weights were corrected.
    rules : pair of pairs of arrays
        Nodes and weights of the rules of Gauss and of Gauss and Radau, by all probes.
    rounding : float
        The size of what rounding adds to K: its Frobenius norm.
    unexplained : float
        What the nodes leave of the trace of K.
    """

    nodes: Float[np.ndarray, " k"]
    weights: Float[np.ndarray, " k"]
    rest: np.ndarray
    single: Float[np.ndarray, "m n"]
    powers: Float[np.ndarray, "n d"]
    rules: tuple[Rule, Rule] | None = None
    rounding: float = 0.0
    unexplained: float = 0.0

    def error(self, function: Function) -> float:
        """Return the standard error of Σ w f, given a function f that is steepest at zero."""
        parts = self._scatter, self._truncation, self._of_rounding, self._of_the_rest
        return float(np.linalg.norm([part(function) for part in parts]))

    def _scatter(self, function: Function) -> float:
        """Return the standard error of the mean over probes."""
        f = function(self.nodes[self.rest])
        if not len(f) or len(self.single) < 2:
            return 0.0
        weights = self.single.mean(axis=0)
        f = f - self.powers @ _fitted(self.powers, weights, weights * f)
        return float(np.std(self.single @ f, ddof=1) / np.sqrt(len(self.single)))

    def _truncation(self, function: Function) -> float:
        """Return how far two rules that enclose the truth are apart."""
        if self.rules is None:
            return 0.0
        one, other = (weights @ function(nodes) for nodes, weights in self.rules)
        return float(abs(one - other))

    def _of_the_rest(self, function: Function) -> float:
        """Return what a trace that no node explains, of as many eigenvalues as there are, may add."""
        count = max(float(self.weights.sum()), 1.0)
        spread = function(np.array([0.0, self.unexplained / count]))
        return float(count * abs(spread[1] - spread[0]))

    def _of_rounding(self, function: Function) -> float:
        """Return what rounding makes of K, to first order, and of values that it does not tell from zero."""
        zero = function(np.zeros(1))
        null = np.abs(self.nodes) <= -self.nodes[0]
        lost = self.weights[null] @ (function(self.nodes[null]) - zero)
        return float(np.hypot(lost, (function(np.full(1, self.rounding)) - zero)[0]))

    @property
    def beyond(self) -> Float[np.ndarray, " k"]:
        """How many eigenvalues each node stands for beside its own: those outside of the Krylov space."""
        return np.maximum(self.weights - 1, 0.0)


def found(pairs: RitzPairs) -> np.ndarray:
    """Return which values are eigenvalues: all above the highest that is none.

    A choice among those further down would favour eigenvectors of which the probes have much.
    """
    missed = np.flatnonzero(~(pairs.residuals <= FOUND * pairs.values))
    return np.arange(len(pairs.values)) > missed.max(initial=-1)


def _fitted(powers: np.ndarray, weights: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return the coefficients whose polynomial, with these weights, has the moments Σ powers · moments."""
    return np.linalg.lstsq(powers.T @ (weights[:, None] * powers), powers.T @ moments, rcond=None)[0]


def spectral_measure(
    pairs: RitzPairs,
    probes: Float[np.ndarray, "k m"],
    size: int,
    trace: float,
    squares: float,
    *,
    closed: tuple[np.ndarray, np.ndarray] | None = None,
    precision: float = 0.0,
) -> SpectralMeasure:
    """Return the measure of a positive semidefinite matrix, given Ritz pairs and the components of random probes.

    Parameters
    ----------
    pairs : RitzPairs
        Of a Krylov space that holds the probes.
    probes : array of shape (k, m)
        Components of the probes along the Ritz vectors.
    size : int
        P.
    trace, squares : float
        tr K, and the sum of the squares of its entries.
    closed : pair of arrays of shapes (n,) and (n, m), optional
        Values of the rule of Gauss and Radau, and the components of the probes along its vectors.
    precision : float
        The relative rounding of the entries, its root mean square.

    Raises
    ------
    ValueError
        If the matrix has a negative eigenvalue.
    """
    lowest, highest = pairs.values[0], pairs.values[-1]
    if lowest < -NEGATIVE * max(highest, 0.0) or not highest >= 0:
        raise ValueError(
            f"kernel: not positive semidefinite on the training inputs: it has the eigenvalues {lowest:.1e} and "
            f"{highest:.1e}; give one that is a covariance for inputs of this dimension"
        )
    nodes = pairs.values  # those that are zero to rounding scatter about zero, as they must: their mean is none
    weights, rest = np.ones(len(nodes)), ~found(pairs)
    missing, rounding = size - np.count_nonzero(~rest), precision * float(np.sqrt(squares))
    if len(nodes) == size:
        none = np.zeros((0, 0))
        return SpectralMeasure(nodes, weights, np.zeros(size, bool), none, none, rounding=rounding)
    if not rest.any():  # low rank: the lowest value, zero, stands for all that lies outside of the space
        rest[0], missing = True, missing + 1
    shares = probes[rest].T ** 2
    single = missing * shares / shares.sum(axis=1, keepdims=True)
    x, drawn = nodes[rest], missing * shares.sum(axis=0) / shares.sum()
    kept = nodes[~rest]
    totals = np.array([missing, trace - kept.sum(), squares - np.sum(kept**2)])
    for degree in (2, 1, 0):
        powers = (x / (x.max() or 1.0))[:, None] ** np.arange(degree + 1)
        wanted = totals[: degree + 1] / (x.max() or 1.0) ** np.arange(degree + 1)
        gram = powers.T @ (drawn[:, None] * powers)
        factors = 1 + powers @ np.linalg.lstsq(gram, wanted - powers.T @ drawn, rcond=None)[0]
        if PLAUSIBLE[0] < factors.min() and factors.max() < PLAUSIBLE[1]:
            break
    weights[rest] = drawn * factors
    gauss = _rule(nodes, probes, size)
    rules = None if closed is None else (gauss, _rule(*closed, size))
    unexplained = abs(trace - float(weights @ nodes)) if degree == 0 or len(x) == 1 else 0.0
    return SpectralMeasure(nodes, weights, rest, single, powers, rules, rounding, unexplained)


def _rule(nodes: np.ndarray, probes: np.ndarray, size: int) -> Rule:
    """Return nodes, with weights by the mean over probes."""
    shares = np.sum(probes**2, axis=1)
    return nodes, size * shares / shares.sum()
