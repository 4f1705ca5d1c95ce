r"""Several hidden layers: one scale a layer, at one Cholesky factorisation a value.

References
----------
Theory notes, sections 3 (closures) and 4 (4.1).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky

from stpbnn.kernels import (
    Closure,
    KernelMap,
    cross_kernel,
    feature_map,
    input_tiles,
    lower_triangle,
    map_tiles,
    renormalised_map,
)
from stpbnn.scale import importance, lattice
from stpbnn.scale.elastic import elastic_minimum
from stpbnn.scale.factorised import FactorisedKernel, conditioned_matrix, refuse_ill_conditioned
from stpbnn.scale.fluctuation import CLOSURE_ACTIONS, Ingredients, Landscape, gaussian_gradient
from stpbnn.scale.layered import LayeredAction, LayeredEvaluation, descend
from stpbnn.scale.left_out import Resolved, inverse_diagonal
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
    def _minima(self) -> list[tuple[SaddlePoint, LayeredEvaluation]]:
        """The minima of the action with what was factorised there, the lowest first.

        The landscape of the global closure is one-dimensional: all of its minima are found, and are the starts.
        """
        net, prior = self.net, self.net.prior
        action = LayeredAction(net, input_tiles(prior, self.X), self.y, self.temperature, self.closure)
        K = lower_triangle(map_tiles(feature_map(net), action.tiles), len(self.X))
        resolvent = Resolvent.tridiagonal(K, self.y[:, None], self.temperature, prior.bias_variance)
        starts = [self._start(resolvent, point) for point in saddle_points_of_scale(resolvent, self.widths)]
        if self.closure == "wishart":  # which is known to be positive definite about Q = 1 alone
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
        kernel = self._kernel(point.order_parameters)
        return FactorisedKernel.factorised(self.net.prior, self.X, kernel, at.alpha, self.temperature, at.factor)

    def _kernel(self, Q: Float[np.ndarray, " L"]) -> KernelMap:
        return renormalised_map(self.net, Q, self.closure)

    def _at_node(self, Q: Float[np.ndarray, " L"]) -> FactorisedKernel:
        """Return the Gaussian process at any order parameters; LinAlgError where A is not positive definite."""
        kernel, prior = self._kernel(Q), self.net.prior
        A = conditioned_matrix(prior, self.X, kernel, self.temperature)
        factor = cholesky(A, lower=True, overwrite_a=True, check_finite=False)
        alpha = cho_solve((factor, True), self.y, check_finite=False)
        return FactorisedKernel.factorised(prior, self.X, kernel, alpha, self.temperature, factor)

    def action(self, log_q: Float[np.ndarray, " L"]) -> float:
        """Return -2 log p(log Q, y) without the P log 2π; infinity where A(Q) is not positive definite."""
        try:
            process = self._at_node(np.exp(log_q))
        except np.linalg.LinAlgError:
            return np.inf
        prior = sum(Gamma(N).value(u) for N, u in zip(self.widths, log_q, strict=True))
        return float(prior + process.log_det + self.y @ process.alpha)

    @property
    def accuracy(self) -> float:
        """The relative error of evidence and means of Q below which `posterior` has converged."""
        return lattice.ACCURACY if self.net.depth <= LATTICE_DEPTH else importance.ACCURACY

    def posterior(self, seed: int = 0) -> OrderParameterPosterior:
        """Return p(Q | y): on a lattice for up to three layers, by importance sampling beyond."""
        points = self.saddle_points()
        if self.net.depth <= LATTICE_DEPTH:
            return lattice.lattice_posterior(self.action, points, len(self.y))
        return importance.importance_posterior(self.action, points, len(self.y), np.random.default_rng(seed))

    def moments(self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Moments:
        """Return mean and variance of f at query points for each node of the posterior; covariances if `joint`."""
        laws: list[Any] = [self._at_node(Q).law(X, joint=joint, noise=False) for Q in posterior.nodes]
        means, variances = (np.stack([getattr(law, name) for law in laws]) for name in ("mean", "variance"))
        prior = np.stack([cross_kernel(self._kernel(Q), self.net.prior, X, X[:1]).left for Q in posterior.nodes])
        return Moments(means, variances, np.stack([law.covariance for law in laws]) if joint else None, prior)

    def resolved(self, posterior: OrderParameterPosterior) -> Resolved:
        """Return A^{-1} y and the diagonal of A^{-1} at each node of the posterior."""
        processes = map(self._at_node, posterior.nodes)
        alpha, diagonals = zip(*((at.alpha, inverse_diagonal(at.factor)) for at in processes), strict=True)
        return Resolved(np.stack(alpha), np.stack(diagonals))

    def posterior_gradient(self, posterior: OrderParameterPosterior) -> Float[np.ndarray, " m"]:
        """Return the gradient of the mixture's log evidence in the logarithms of precisions and temperature."""
        landscape = Landscape.of(self.net, self.X, self.ingredients)
        nodes = zip(posterior.weights, np.log(posterior.nodes), strict=True)
        gradients = (w * gaussian_gradient(landscape, log_q, self.y, self.temperature) for w, log_q in nodes)
        return sum(gradients, start=np.zeros(len(landscape.theta) + 1))
