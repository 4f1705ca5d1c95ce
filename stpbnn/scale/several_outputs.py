"""Several outputs whose layers enter by the product of their matrices: one hidden layer, or the global closure.

The outputs decouple in the eigenbasis of the product.

References
----------
Theory notes, section 4 (D outputs); Baglioni et al., arXiv:2412.15911.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from stpbnn.kernels import feature_map, symmetric_kernel
from stpbnn.network import FullyConnected
from stpbnn.predictive import Gaussian, IndependentOutputs, Mixture, MixtureOfOutputs, SideBySide
from stpbnn.scale.contrasts import Contrasts
from stpbnn.scale.design import PLAIN, Design, Query
from stpbnn.scale.landscape import FEATURES, Landscape
from stpbnn.scale.leave_one_out import side_by_side
from stpbnn.scale.matrix import matrix_saddle_points, of_product
from stpbnn.scale.matrix_fluctuation import matrix_saddle_gradient
from stpbnn.scale.matrix_posterior import MATRIX_ACCURACY, chunks, matrix_posterior, products_of_layers
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["DecoupledOutputs", "SeveralOutputs"]


@dataclass(frozen=True)
class SeveralOutputs(NetworkProblem):
    """A network with D outputs whose order parameters enter as one matrix times one kernel.

    Parameters
    ----------
    resolvent : Resolvent
        The kernel of the features without the output bias, in its eigenbasis, with the targets (P, D).
    """

    resolvent: Resolvent

    @classmethod
    def of(
        cls,
        net: FullyConnected,
        X: np.ndarray,
        y: Float[np.ndarray, "P D"],
        temperature: float,
        design: Design = PLAIN,
    ) -> SeveralOutputs:
        """Diagonalise the kernel."""
        K = symmetric_kernel(feature_map(net), net.prior, X)
        contrasts, resolvent = Contrasts.of(design, K, y, temperature, net.prior.bias_variance, spectral=True)
        return cls(net, X, y, temperature, resolvent, contrasts=contrasts)

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the minima of the action that were found, the lowest first."""
        return [self.of_targets(point) for point in matrix_saddle_points(self.resolvent, self.widths)]

    def conditioned(self, point: SaddlePoint) -> DecoupledOutputs:
        """Return the Gaussian process at a saddle point, where the product of all layers is V diag(q) V^T."""
        return self._decoupled(*of_product(point.order_parameters))

    @property
    def accuracy(self) -> float:
        """The relative error of evidence and means of the matrices below which `posterior` has converged."""
        return MATRIX_ACCURACY

    def posterior(self, seed: int = 0) -> OrderParameterPosterior:
        """Return the posterior of the matrices of all layers, by importance sampling."""
        points, random = self.saddle_points(), np.random.default_rng(seed)
        return self.of_targets(matrix_posterior(self.resolvent, self.widths, points, random))

    def _decoupled(self, q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"]) -> DecoupledOutputs:
        """Return the Gaussian process at Q = V diag(q) V^T."""
        return DecoupledOutputs(self, self.resolvent.with_columns(self.resolvent.columns @ V), q, V)

    def mixture(
        self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, noise: bool, joint: bool
    ) -> Any:
        """Return the mixture over the posterior of Gaussian laws of f, or of a new target, at query points."""
        (q, V), added = products_of_layers(posterior.nodes), self.temperature if noise else 0.0
        query = self.of_features(X, joint=joint)
        if joint:
            return MixtureOfOutputs.of(posterior.weights, lambda i: self._decoupled(q[i], V[i]).law_of(query, added))
        means, variances = [], []
        for part in chunks(self.resolvent, q):
            found = self.resolvent.moments(np.log(q[part]).ravel(), *query[:3])
            of_nodes = found.means.reshape(*q[part].shape, *found.means.shape[1:])
            means.append(np.einsum("naqd,nda,nea->nqe", of_nodes, V[part], V[part], optimize=True) + query.trend)
            turned = found.variances.reshape(*q[part].shape, -1)
            own = np.reshape(query.noise_variances, (-1, 1))
            variances.append(np.einsum("naq,nda->nqd", turned, V[part] ** 2) + own + added)
        return Mixture(posterior.weights, np.concatenate(means), np.concatenate(variances))

    def left_out(self, posterior: OrderParameterPosterior) -> SideBySide:
        """Return the law of each target given the others; the outputs of an example are left out together."""
        q, V = products_of_layers(posterior.nodes)
        means, variances = [], []
        for part in chunks(self.resolvent, q):
            alpha, diagonal = self.resolvent.resolved(np.log(q[part]).ravel(), self.design.expanded)
            variances.append(1 / np.swapaxes(diagonal.reshape(*q[part].shape, -1), 1, 2))
            own = np.einsum("napd,nda->npa", alpha.reshape(*q[part].shape, *self.y.shape), V[part])
            means.append(self.y @ V[part] - own * variances[-1])
        mean, variance, turned = np.concatenate(means), np.concatenate(variances), np.swapaxes(V, 1, 2)
        density = Gaussian(mean, variance).logpdf(self.y @ V).sum(axis=2)
        return side_by_side(posterior.weights, mean @ turned, variance @ turned**2, density)

    def saddle_gradient(self, point: SaddlePoint) -> Float[np.ndarray, " m"]:
        """Return the gradient of the log evidence at a saddle point in the logarithms of precisions and temperature."""
        landscape = Landscape.of(self.net, self.X, FEATURES)
        product = of_product(point.order_parameters)
        return matrix_saddle_gradient(landscape, self.resolvent, product, self.widths, self.design)

    def of_features(self, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Query:
        """Return the kernel of the features at query points, with the contrasts in the basis of the resolvent."""
        query = self.query(feature_map(self.net), X, joint=joint)
        return query._replace(cross=query.cross @ self.resolvent.eigenvectors)


@dataclass(frozen=True)
class DecoupledOutputs:
    """Outputs that decouple after a rotation V, each with its own scale of one kernel: A_d = q_d K + b + T."""

    problem: SeveralOutputs
    resolvent: Resolvent
    scales: Float[np.ndarray, " D"]
    rotation: Float[np.ndarray, "D D"]

    def mean(self, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, "n D"]:
        """Return the mean of f at query points."""
        return self.law(X, joint=False, noise=False).mean

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""
        query = self.problem.of_features(X, joint=joint)
        return self.law_of(query, self.resolvent.temperature if noise else 0.0)

    def law_of(self, query: Query, added: float) -> Gaussian:
        """Return the law of f + noise of that variance, given the kernel at query points; joint if with `within`."""
        found = self.resolvent.moments(np.log(self.scales), *query[:3])
        turned = np.broadcast_to(query.trend, (len(query.cross), len(self.scales))) @ self.rotation
        found = found.beside(query._replace(trend=turned))
        means = np.einsum("dqd->qd", found.means)
        if found.covariances is None:
            return Gaussian(means @ self.rotation.T, (found.variances.T + added) @ self.rotation.T**2)
        covariances = list(found.covariances + added * np.eye(len(means)))
        return IndependentOutputs.joint(means, covariances, self.rotation, found.error(added))

    def left_out(self, y: Float[np.ndarray, "P D"]) -> Gaussian:
        """Return the law of each target given the others; the outputs of an example are left out together."""
        alpha, diagonal = self.resolvent.resolved(np.log(self.scales), self.problem.design.expanded)
        variance = 1 / diagonal.T
        mean = y @ self.rotation - np.einsum("dpd->pd", alpha) * variance
        return Gaussian(mean @ self.rotation.T, variance @ self.rotation.T**2)
