r"""Convolutional layers whose readout has weights of its own at each position: local kernel renormalisation.

.. math:: K^R(x, x') = \frac{1}{\lambda_L d} \sum_l \sum_{ij} Q_{l,ij} \hat K^l_{ij}(x, x') \;(+ 1/\lambda_b)

with the kernels of `stpbnn.kernels.pair_kernels`, and Q_l from the order parameters W_l by a `LocalChain`.

References
----------
Aiudi, Pacelli et al., arXiv:2307.11807; theory notes, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from stpbnn._memory import refuse_beyond
from stpbnn._slices import slices
from stpbnn.kernels import pair_kernels, pair_variances
from stpbnn.network import Convolutional, links
from stpbnn.scale import local_posterior
from stpbnn.scale.design import Query
from stpbnn.scale.factorised import FactorisedKernel, refuse_ill_conditioned
from stpbnn.scale.leave_one_out import Resolved, inverse_diagonal
from stpbnn.scale.local_action import LocalAction, of_invariant_measure, of_wishart
from stpbnn.scale.local_chain import LocalChain, blocks
from stpbnn.scale.local_minima import LocalMinimum, local_minima
from stpbnn.scale.patch_pairs import PatchPairs, pair_entries, pair_weights, symmetric_pairs
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.resolvent import Moments
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["LocalKernel", "LocalProblem"]

TOGETHER = 2**24  # entries of kernels at nodes of the posterior that are held at a time


def chain_of(net: Convolutional) -> LocalChain:
    """Return the chain of a network's layers, among the positions that have a part in its outputs."""
    found = links(net.windows)
    return LocalChain((*(link.below for link in found), net.positions), found)


def _scale(net: Convolutional) -> float:
    return 1 / (net.precisions[-1] * net.positions)


@dataclass(frozen=True)
class LocalKernel:
    """The renormalised kernel of a network at matrices Q of every layer."""

    net: Convolutional
    matrices: list[Float[np.ndarray, "d d"]]

    def between(self, X1: Float[np.ndarray, "n N0"], X2: Float[np.ndarray, "m N0"]) -> Float[np.ndarray, "n m"]:
        """Return the kernel between two sets of inputs."""
        out = np.empty((len(X1), len(X2)))
        for rows, columns, values in pair_kernels(self.net, X1, X2):
            out[rows, columns] = sum(np.tensordot(Q, K, 2) for Q, K in zip(self.matrices, values, strict=True))
        return out * _scale(self.net) + self.net.prior.bias_variance

    def variances(self, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, " n"]:
        """Return the variances at inputs."""
        values = zip(self.matrices, pair_variances(self.net, X), strict=True)
        total = np.sum([np.tensordot(K, Q, 2) for Q, K in values], axis=0)
        return total * _scale(self.net) + self.net.prior.bias_variance


@dataclass(frozen=True)
class LocalProcess(FactorisedKernel):
    """The Gaussian process of a renormalised kernel, conditioned on the training set."""

    kernel: LocalKernel  # type: ignore[assignment]

    def _query(self, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Query:
        within = self.kernel.between(X, X) if joint else None
        return Query(self.kernel.between(X, self.X), self.kernel.variances(X), within)


@dataclass(frozen=True)
class LocalProblem(NetworkProblem):
    """A network of convolutional layers and one output, whose readout has weights of its own at each position.

    Parameters
    ----------
    pairs : PatchPairs
        The kernels at pairs of positions on the training set.
    chain : LocalChain
        The positions of the layers, and how they are linked.
    """

    net: Convolutional
    pairs: PatchPairs
    chain: LocalChain

    @classmethod
    def of(cls, net: Convolutional, X: np.ndarray, y: Float[np.ndarray, " P"], temperature: float) -> LocalProblem:
        """Compute the kernels of the training set."""
        P, chain = len(X), chain_of(net)
        pairs = [d * (d + 1) // 2 for d in chain.positions]
        moves = sum(pairs) * sum(d * d for d in chain.positions)  # how the matrices move along the coordinates
        size = 8 * (2 * (P * (P + 1) // 2) * sum(pairs) + 4 * moves)
        at = " and ".join(map(str, chain.positions))
        refuse_beyond(size, f"X: got {P} inputs, whose kernels at {at} positions", "take fewer, or larger strides")
        found = PatchPairs.of(pair_kernels(net, X), chain.positions, P, _scale(net))
        return cls(net, X, y, temperature, found, chain)

    def _action(self, exponents: Callable[[int, int], Float[np.ndarray, " r"]]) -> LocalAction:
        net, sizes = self.net, zip(self.net.channels, self.chain.positions, strict=True)
        each = [exponents(N, d) for N, d in sizes]
        bias = net.prior.bias_variance
        return LocalAction(self.pairs, self.chain, self.y, self.temperature, bias, net.channels, each)

    @cached_property
    def _saddle(self) -> LocalAction:
        return self._action(of_invariant_measure)

    def _matrices(self, W: Float[np.ndarray, "... D D"]) -> list[Float[np.ndarray, "... d d"]]:
        """Return the Q of every layer at order parameters W."""
        return self.chain.at(blocks(W, self.chain.positions)).Q

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the minima of the action that were found, the lowest first; Hessians are in Cholesky coordinates."""
        return [self._point(minimum) for minimum in local_minima(self._saddle)]

    def _point(self, minimum: LocalMinimum) -> SaddlePoint:
        at, hessian = minimum.at, minimum.hessian
        evidence = self._saddle.log_evidence(at, hessian)
        return SaddlePoint(at.order_parameters, at.value, at.residual, hessian, evidence)

    def conditioned(self, point: SaddlePoint) -> LocalProcess:
        """Return the Gaussian process at a saddle point."""
        matrices = self._matrices(point.order_parameters)
        factor, alpha = self._saddle.conditioned(matrices)
        refuse_ill_conditioned(factor)
        kernel = LocalKernel(self.net, matrices)
        process = LocalProcess(self.net.prior, self.X, kernel, alpha, self.temperature)
        process.__dict__["factor"] = factor
        return process

    @property
    def accuracy(self) -> float:
        """The error of evidence and means of Q below which `posterior` has converged."""
        return local_posterior.ACCURACY

    def posterior(self, seed: int = 0) -> OrderParameterPosterior:
        """Return p(W | y) as weighted particles."""
        return local_posterior.local_posterior(self._action(of_wishart), np.random.default_rng(seed))

    def moments(self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Moments:
        """Return mean and variance of f at query points for each node of the posterior; covariances if `joint`."""
        bias, matrices = self.net.prior.bias_variance, self._matrices(posterior.nodes)
        weights = pair_entries(matrices) * pair_weights(self.chain.positions) * _scale(self.net)
        cross, own = self._cross(X, self.X), pair_entries(pair_variances(self.net, X))
        within = self._cross(X, X) if joint else None
        variances = weights @ own.T + bias
        means, left, covariances = [], [], []
        for rows in slices(len(weights), TOGETHER // (len(X) * len(self.X))):
            entries = np.tensordot(weights[rows], cross, 1) + bias
            for node, k, v in zip(range(rows.start, rows.stop), entries, variances[rows], strict=True):
                factor, alpha = self._saddle.conditioned([Q[node] for Q in matrices])
                explained = solve_triangular(factor, k.T, lower=True, check_finite=False)
                means.append(k @ alpha)
                left.append(np.maximum(v - np.einsum("pn,pn->n", explained, explained), 0))
                if within is not None:
                    covariance = np.tensordot(weights[node], within, 1) + bias - explained.T @ explained
                    covariance[np.diag_indices_from(covariance)] = left[-1]
                    covariances.append((covariance + covariance.T) / 2)
        return Moments(np.array(means), np.array(left), np.array(covariances) if joint else None, variances)

    def _cross(self, X1: Float[np.ndarray, "n N0"], X2: Float[np.ndarray, "m N0"]) -> Float[np.ndarray, "k n m"]:
        """Return the symmetric parts of the kernels K_ij of all layers between two sets of inputs, for i ≤ j."""
        out = np.empty((len(pair_weights(self.chain.positions)), len(X1), len(X2)))
        for rows, columns, values in pair_kernels(self.net, X1, X2):
            out[:, rows, columns] = symmetric_pairs(values)
        return out

    def resolved(self, posterior: OrderParameterPosterior) -> Resolved:
        """Return A^{-1} y and the diagonal of A^{-1} at each node of the posterior."""
        found = [self._saddle.conditioned(Q) for Q in zip(*self._matrices(posterior.nodes), strict=True)]
        alphas = np.array([alpha for _, alpha in found])
        return Resolved(alphas, np.array([inverse_diagonal(factor) for factor, _ in found]))
