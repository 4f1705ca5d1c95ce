"""Several outputs whose layers enter by the product of their matrices: one hidden layer, or the global closure.

The outputs decouple in the eigenbasis of the product.

References
----------
Theory notes, section 4 (D outputs); Baglioni et al., arXiv:2412.15911.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stpbnn.kernels import cross_kernel, feature_map, symmetric_kernel
from stpbnn.network import FullyConnected
from stpbnn.predictive import Gaussian, IndependentOutputs
from stpbnn.scale.landscape import FEATURES, Landscape
from stpbnn.scale.matrix import matrix_saddle_points, of_product
from stpbnn.scale.matrix_fluctuation import matrix_saddle_gradient
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.resolvent import Moments, Resolvent
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
    def of(cls, net: FullyConnected, X: np.ndarray, y: Float[np.ndarray, "P D"], temperature: float) -> SeveralOutputs:
        """Diagonalise the kernel."""
        K = symmetric_kernel(feature_map(net), net.prior, X)
        return cls(net, X, y, temperature, Resolvent.spectral(K, y, temperature, net.prior.bias_variance))

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the minima of the action that were found, the lowest first."""
        return matrix_saddle_points(self.resolvent, self.widths)

    def conditioned(self, point: SaddlePoint) -> DecoupledOutputs:
        """Return the Gaussian process at a saddle point, where the product of all layers is V diag(q) V^T."""
        q, V = of_product(point.order_parameters)
        return DecoupledOutputs(self.net, self.X, self.resolvent.with_columns(self.resolvent.columns @ V), q, V)

    def saddle_gradient(self, point: SaddlePoint) -> Float[np.ndarray, " m"]:
        """Return the gradient of the log evidence at a saddle point in the logarithms of precisions and temperature."""
        landscape = Landscape.of(self.net, self.X, FEATURES)
        return matrix_saddle_gradient(landscape, self.resolvent, of_product(point.order_parameters), self.widths)


@dataclass(frozen=True)
class DecoupledOutputs:
    """Outputs that decouple after a rotation V, each with its own scale of one kernel: A_d = q_d K + b + T."""

    net: FullyConnected
    X: Float[np.ndarray, "P N0"]
    resolvent: Resolvent
    scales: Float[np.ndarray, " D"]
    rotation: Float[np.ndarray, "D D"]

    def mean(self, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, "n D"]:
        """Return the mean of f at query points."""
        return self.law(X, joint=False, noise=False).mean

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""
        prior, features = self.net.prior, feature_map(self.net)
        cross = cross_kernel(features, prior, X, self.X)
        within = cross_kernel(features, prior, X).entries if joint else None
        added = self.resolvent.temperature if noise else 0.0
        projected = cross.entries @ self.resolvent.eigenvectors
        found: Moments = self.resolvent.moments(np.log(self.scales), projected, cross.left, within)
        means = np.einsum("dqd->qd", found.means)
        if found.covariances is None:
            return Gaussian(means @ self.rotation.T, (found.variances.T + added) @ self.rotation.T**2)
        covariances = list(found.covariances + added * np.eye(len(X)))
        return IndependentOutputs.joint(means, covariances, self.rotation, found.error(added))

    def left_out(self, y: Float[np.ndarray, "P D"]) -> Gaussian:
        """Return the law of each target given the others; the outputs of an example are left out together."""
        alpha, diagonal = self.resolvent.resolved(np.log(self.scales))
        variance = 1 / diagonal.T
        mean = y @ self.rotation - np.einsum("dpd->pd", alpha) * variance
        return Gaussian(mean @ self.rotation.T, variance @ self.rotation.T**2)
