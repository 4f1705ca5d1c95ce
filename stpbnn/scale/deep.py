r"""Several hidden layers: one scale a layer, at one Cholesky factorisation a value.

References
----------
Theory notes, sections 3 (closures) and 4 (4.1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, lapack

from stpbnn._linalg import log_det_of, lower_cholesky, mirrored
from stpbnn.kernels import (
    Closure,
    Tile,
    cross_kernels,
    feature_map,
    input_tiles,
    lower_triangle,
    map_tiles,
    renormalised_map,
    symmetric_kernels,
)
from stpbnn.scale import importance, lattice
from stpbnn.scale.contrasts import Contrasts, conditioned_kernel
from stpbnn.scale.design import Query
from stpbnn.scale.elastic import elastic_minimum
from stpbnn.scale.factorised import FactorisedKernel, refuse_ill_conditioned
from stpbnn.scale.landscape import CLOSURE_ACTIONS, Ingredients, Landscape, gaussian_gradient
from stpbnn.scale.layered import LayeredAction, LayeredEvaluation, descend
from stpbnn.scale.leave_one_out import Resolved
from stpbnn.scale.one_scale import saddle_points_of_scale
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.priors import Gamma
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.resolvent import Moments, Resolvent
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["LATTICE_DEPTH", "Layered"]

LATTICE_DEPTH = 3  # the number of nodes of a lattice is exponential in the depth
SAME_POINT = 1e-6  # relative distance of order parameters


@dataclass(frozen=True)
class Layered(NetworkProblem):
    """A deep network with one output.

    Parameters
    ----------
    closure : {"nested", "global", "wishart"}
        How the order parameters enter the kernel.
    """

    closure: Closure

    @property
    def ingredients(self) -> Ingredients:
        """Kernel and prior as functions of log Q."""
        return CLOSURE_ACTIONS[self.closure]

    @cached_property
    def _tiles(self) -> list[Tile]:
        """C on the training set."""
        return input_tiles(self.net.prior, self.X)

    @property
    def _targets(self) -> Float[np.ndarray, " c"]:
        """The contrasts of the targets."""
        return self.design.targets(self.y)[1]

    @cached_property
    def _minima(self) -> list[tuple[SaddlePoint, LayeredEvaluation]]:
        """The minima of the action with what was factorised there, the lowest first.

        The landscape of the global closure is one-dimensional: all of its minima are found, and are the starts.
        """
        net, prior = self.net, self.net.prior
        action = LayeredAction(net, self._tiles, self._targets, self.temperature, self.closure, self.design)
        K = lower_triangle(map_tiles(feature_map(net), self._tiles), len(self.X))
        given = K, self.y[:, None], self.temperature, prior.bias_variance
        _, resolvent = Contrasts.of(self.design, *given, spectral=False)
        starts = [self._start(resolvent, point) for point in saddle_points_of_scale(resolvent, self.widths)]
        if self.closure == "wishart":  # known to be positive definite near Q = 1 only
            starts.append((np.zeros(net.depth), np.diag(2 * self.widths)))
        found: list[tuple[SaddlePoint, LayeredEvaluation]] = []
        for start, hessian in starts:
            with contextlib.suppress(np.linalg.LinAlgError):
                point, at = descend(action, start, hessian)
                places = [other.order_parameters for other, _ in found]
                if not any(np.allclose(point.order_parameters, place, rtol=SAME_POINT) for place in places):
                    found.append((point, at))
        if not found:
            raise np.linalg.LinAlgError(
                f"with the closure {self.closure!r} the kernel is not positive definite where the minimum was sought"
            )
        return sorted(found, key=lambda pair: pair[0].action)

    def _start(
        self, resolvent: Resolvent, point: SaddlePoint
    ) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, "L L"]]:
        """Return log Q and an approximate Hessian near a minimum of the global closure."""
        log_q = np.log(point.order_parameters)
        try:
            with np.errstate(all="ignore"):
                near, hessian = elastic_minimum(self.net, self.closure, resolvent, self.X, log_q)
        except np.linalg.LinAlgError:
            return log_q, point.hessian
        good = np.isfinite(hessian).all() and np.isfinite(near).all() and np.linalg.eigvalsh(hessian)[0] > 0
        return (near, hessian) if good else (log_q, point.hessian)

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the minima of the action that were found, the lowest first."""
        return [point for point, _ in self._minima]

    def conditioned(self, point: SaddlePoint) -> FactorisedKernel:
        """Return the Gaussian process at a saddle point, with the factorisation of the last step."""
        (at,) = (at for other, at in self._minima if other is point)
        refuse_ill_conditioned(at.factor)
        kernel = renormalised_map(self.net, point.order_parameters, self.closure)
        if not self.design.plain:
            return conditioned_kernel(self.net.prior, self.X, self.y, kernel, self.temperature, self.design)
        return FactorisedKernel.factorised(self.net.prior, self.X, kernel, at.alpha, self.temperature, at.factor)

    def _conditioned(
        self, Q: Float[np.ndarray, "n L"]
    ) -> Iterator[tuple[Float[np.ndarray, "c c"], Float[np.ndarray, " c"], Contrasts] | None]:
        """Yield the lower Cholesky factor of A of the contrasts, α = A^{-1} y, and the rest of the kernel, at each Q.

        None where A is not positive definite.
        """
        shared, targets = self.design.targets(self.y)
        for K in symmetric_kernels(self.net, Q, self.closure, self._tiles, len(self.X)):
            blocks = self.design.reduced(K)
            A = blocks.contrasts
            A[np.diag_indices_from(A)] += self.temperature
            factor, failure = lower_cholesky(A, clean=False)
            rest = Contrasts(self.design, blocks, shared)
            yield None if failure else (factor, lapack.dpotrs(factor, targets, lower=1)[0], rest)

    def actions(self, log_q: Float[np.ndarray, "n L"]) -> Float[np.ndarray, " n"]:
        """Return -2 log p(log Q, y) without the P log 2π at each log Q; infinity where A is not positive definite."""
        prior = sum(Gamma(N).value(u) for N, u in zip(self.widths, log_q.T, strict=True))
        data = [
            np.inf if at is None else log_det_of(at[0]) + self._targets @ at[1]
            for at in self._conditioned(np.exp(log_q))
        ]
        return prior + np.array(data)

    @property
    def accuracy(self) -> float:
        """The relative error of evidence and means of Q below which `posterior` has converged."""
        return lattice.ACCURACY if self.net.depth <= LATTICE_DEPTH else importance.ACCURACY

    def posterior(self, seed: int = 0) -> OrderParameterPosterior:
        """Return p(Q | y): on a lattice for up to three layers, by importance sampling beyond."""
        points, size = self.saddle_points(), len(self._targets)
        if self.net.depth <= LATTICE_DEPTH:
            found = lattice.lattice_posterior(self.actions, points, size)
        else:
            found = importance.importance_posterior(self.actions, points, size, np.random.default_rng(seed))
        return self.of_targets(found)

    def moments(self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Moments:
        """Return mean and variance of f at query points for each node of the posterior; covariances if `joint`."""
        Q, laws = posterior.nodes, []
        cross = cross_kernels(self.net, Q, self.closure, X, self.X)
        within = symmetric_kernels(self.net, Q, self.closure, input_tiles(self.net.prior, X), len(X)) if joint else ()
        for at, between, own in zip_longest(self._conditioned(Q), cross, within):
            if at is None:
                raise np.linalg.LinAlgError("A is not positive definite at a node of the posterior")
            whole = None if own is None else mirrored(own)
            query = at[2].query(Query(between.entries, between.left, whole), X, self.temperature)
            explained = blas.dtrsm(1.0, at[0], query.cross.T, lower=1)
            variance = np.maximum(query.variances - np.einsum("pn,pn->n", explained, explained), 0)
            variance = variance + query.noise_variances
            covariance = query.within
            if covariance is not None:
                covariance = covariance - explained.T @ explained + query.noise
                covariance[np.diag_indices_from(covariance)] = variance
            laws.append((query.cross @ at[1] + query.trend, variance, covariance, query.variances))
        means, variances, covariances, prior = zip(*laws, strict=True)
        return Moments(np.stack(means), np.stack(variances), np.stack(covariances) if joint else None, np.stack(prior))

    def resolved(self, posterior: OrderParameterPosterior) -> Resolved:
        """Return A^{-1} y and the diagonal of A^{-1} at each node of the posterior."""
        nodes, of = self._conditioned(posterior.nodes), self.design
        found = [(of.expanded(at[1]), of.diagonal(at[0])) for at in nodes if at is not None]
        alpha, diagonals = map(np.stack, zip(*found, strict=True))
        return Resolved(alpha, diagonals)

    def posterior_gradient(self, posterior: OrderParameterPosterior) -> Float[np.ndarray, " m"]:
        """Return the gradient of the mixture's log evidence in the logarithms of precisions and temperature."""
        landscape = Landscape.of(self.net, self.X, self.ingredients)
        nodes = zip(posterior.weights, np.log(posterior.nodes), strict=True)
        given = self.y, self.temperature, self.design
        gradients = (w * gaussian_gradient(landscape, log_q, *given) for w, log_q in nodes)
        return sum(gradients, start=np.zeros(len(landscape.theta) + 1))
