"""What every problem that a network poses on a training set offers: saddle points, posterior, moments, gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from stpbnn.kernels import KernelMap
from stpbnn.predictive import Gaussian, JointMixture, Mixture, SideBySide
from stpbnn.scale.contrasts import Contrasts
from stpbnn.scale.design import Design, Query
from stpbnn.scale.factorised import query_of
from stpbnn.scale.fluctuation import saddle_gradient
from stpbnn.scale.landscape import Ingredients, Landscape
from stpbnn.scale.leave_one_out import Resolved, left_out_mixture
from stpbnn.scale.posterior import ACCURACY, OrderParameterPosterior
from stpbnn.scale.resolvent import Moments
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["ConditionedProcess", "NetworkProblem"]


@runtime_checkable
class ConditionedProcess(Protocol):
    """A Gaussian process conditioned on the training set."""

    def mean(self, X: Float[np.ndarray, "n N0"]) -> np.ndarray:
        """Return the mean of f at query points."""

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""

    def left_out(self, y: Float[np.ndarray, "P ..."]) -> Gaussian:
        """Return the law of each target given the others."""


@dataclass(frozen=True)
class NetworkProblem:
    """A network on a training set; each kind of order parameters is a subclass, which `pose` chooses.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network.
    X : array of shape (P, N_0)
        Training inputs.
    y : array of shape (P,) or (P, D)
        Targets.
    temperature : float
        T, the variance of the noise.
    contrasts : Contrasts
        A trend, and noise that differs between examples; by default neither.
    """

    net: Any
    X: Float[np.ndarray, "P N0"]
    y: Float[np.ndarray, "P ..."]
    temperature: float
    contrasts: Contrasts = field(default=Contrasts(), kw_only=True)

    @property
    def design(self) -> Design:
        """Trend and noise."""
        return self.contrasts.design

    def of_targets[Found: (SaddlePoint, OrderParameterPosterior)](self, found: Found) -> Found:
        """Return the result for the contrasts with the log evidence of the targets."""
        log_jacobian = self.design.log_jacobian * self.y.size / len(self.y)
        return found._replace(log_evidence=found.log_evidence + log_jacobian)

    def query(self, kernel: KernelMap, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Query:
        """Return a kernel of the network at query points, for the contrasts of the training set."""
        found = query_of(kernel, self.net.prior, X, self.X, joint=joint)
        return self.contrasts.query(found, X, self.temperature)

    @property
    def widths(self) -> Float[np.ndarray, " L"]:
        """N_1..N_L."""
        return np.asarray(self.net.hidden, dtype=np.float64)

    @property
    def ingredients(self) -> Ingredients:
        """Kernel and prior as functions of the coordinates of a saddle point."""
        raise NotImplementedError

    def coordinates(self, point: SaddlePoint) -> Float[np.ndarray, " k"]:
        """Return the coordinates z of a saddle point, in which its Hessian is taken: log Q."""
        return np.log(point.order_parameters)

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the stationary points of the action, the lowest first."""
        raise NotImplementedError

    def conditioned(self, point: SaddlePoint) -> ConditionedProcess:
        """Return the Gaussian process at a saddle point."""
        raise NotImplementedError

    def saddle_gradient(self, point: SaddlePoint) -> Float[np.ndarray, " m"]:
        """Return the gradient of the log evidence at a saddle point in the logarithms of precisions and temperature."""
        landscape, z = Landscape.of(self.net, self.X, self.ingredients), self.coordinates(point)
        return saddle_gradient(landscape, z, point.hessian, self.y, self.widths, self.temperature, self.design)

    @property
    def accuracy(self) -> float:
        """The relative error of evidence and means of Q below which `posterior` has converged."""
        return ACCURACY

    def posterior(self, seed: int = 0) -> OrderParameterPosterior:
        """Return the posterior of the order parameters, as nodes and weights."""
        raise NotImplementedError

    def moments(self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Moments:
        """Return mean and variance of f at query points for each node of the posterior; covariances if `joint`."""
        raise NotImplementedError

    def resolved(self, posterior: OrderParameterPosterior) -> Resolved:
        """Return A^{-1} (y − μ) and the diagonal of A^{-1} at each node of the posterior, with means μ."""
        raise NotImplementedError

    def left_out(self, posterior: OrderParameterPosterior) -> SideBySide:
        """Return the law of each target given the others, of the mixture over the posterior."""
        return left_out_mixture(posterior.weights, self.resolved(posterior), self.y)

    def posterior_gradient(self, posterior: OrderParameterPosterior) -> Float[np.ndarray, " m"]:
        r"""Return the gradient of the mixture's log evidence in the logarithms of precisions and temperature.

        .. math::
            \partial_\theta \log p(y) = E_{p(Q \mid y)}[\partial_\theta \log N(y; 0, A(Q))]
            = \tfrac12\, E\,\langle \alpha\alpha^T - A^{-1}, \partial_\theta A \rangle

        is exact (Fisher's identity): the prior of Q knows nothing of precisions and temperature.
        """
        raise NotImplementedError

    def lost(self, posterior: OrderParameterPosterior) -> float:
        """Return what the rounding of the kernel may have changed of the log evidence; known for one hidden layer."""
        return 0.0

    def mixture(
        self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, noise: bool, joint: bool
    ) -> Any:
        """Return the mixture over the posterior of Gaussian laws of f, or of a new target, at query points."""
        found, added = self.moments(posterior, X, joint=joint), self.temperature if noise else 0.0
        if found.covariances is None:
            return Mixture(posterior.weights, found.means, found.variances + added)
        covariances = found.covariances + added * np.eye(len(X))
        return JointMixture.of(posterior.weights, found.means, covariances, error=found.error(added))
