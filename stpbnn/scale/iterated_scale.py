"""More examples than can be factorised: one scale of a network, or the random one of a Student's t-process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from stpbnn._linalg import mirrored
from stpbnn.iterative import Blocks, TiledMatrix
from stpbnn.kernels import KernelMap, cross_kernel, feature_map, symmetric_kernel
from stpbnn.network import FullyConnected, Prior
from stpbnn.predictive import Gaussian, IndependentOutputs, JointGaussian
from stpbnn.scale.iterated import NEGLIGIBLE, IteratedProblem, NumericalErrors, Scales
from stpbnn.scale.one_scale import OneScale
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.priors import InverseGamma
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint
from stpbnn.scale.student_t import NOT_REACHED, NoiseBeside, NoiseInside
from stpbnn.scale.trapezoid import scale_posterior

__all__ = ["IteratedKernel", "IteratedScale", "iterated_beside", "iterated_inside", "iterated_problem"]


def network_blocks(kernel: KernelMap, prior: Prior, X: Float[np.ndarray, "P N0"]) -> Blocks:
    """Return the function that makes a block of a network's kernel, given its rows and columns."""

    def block(rows: slice, columns: slice) -> Float[np.ndarray, "n m"]:
        if rows != columns:
            return cross_kernel(kernel, prior, X[rows], X[columns]).entries
        return mirrored(symmetric_kernel(kernel, prior, X[rows]))

    return block


def iterated_problem(
    net: FullyConnected, X: np.ndarray, V: Float[np.ndarray, "P k"], T: float, scales: Scales
) -> IteratedProblem:
    """Return the problem of the kernel of a network's last features, with its output bias beside it."""
    matrix = TiledMatrix.of(len(X), network_blocks(feature_map(net), net.prior, X))
    return IteratedProblem.of(matrix, V, T, net.prior.bias_variance, scales)


@dataclass(frozen=True)
class IteratedKernel:
    """The Gaussian process at one scale of a network's kernel, on a Krylov space.

    Parameters
    ----------
    net : FullyConnected
        The network.
    X : array of shape (P, N_0)
        Training inputs.
    resolvent : Resolvent
        The kernel of the features, without the output bias.
    u : float
        The logarithm of the scale.
    several : bool
        Whether targets have an axis of outputs.
    """

    net: FullyConnected
    X: Float[np.ndarray, "P N0"]
    resolvent: Resolvent
    u: float
    several: bool = False

    def mean(self, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, "n ..."]:
        """Return the mean of f at query points."""
        return self.law(X, joint=False, noise=False).mean

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""
        features, prior = feature_map(self.net), self.net.prior
        k = cross_kernel(features, prior, X, self.X)
        within = np.array(cross_kernel(features, prior, X).entries) if joint else None
        added = self.resolvent.temperature if noise else 0.0
        projected, outside = self.resolvent.projected(k.entries, joint=joint)
        found = self.resolvent.moments(np.array([self.u]), projected, k.left, within, outside)
        means = found.means[0] if self.several else found.means[0, :, 0]
        variances = found.variances[0] + added
        if found.covariances is None:
            of_outputs = variances[:, None] if self.several else variances
            return Gaussian(means, np.array(np.broadcast_to(of_outputs, means.shape)))
        covariance = found.covariances[0] + added * np.eye(len(X))
        if self.several:
            return IndependentOutputs.joint(means, [covariance] * means.shape[1], error=found.error(added))
        return JointGaussian(means, variances, covariance, found.error(added))


@dataclass(frozen=True)
class IteratedScale(OneScale):
    """A network whose order parameters enter as one scale, on a Krylov space.

    Parameters
    ----------
    solved : IteratedProblem
        The space, and its errors.
    """

    solved: IteratedProblem

    @classmethod
    def iterated(
        cls, net: FullyConnected, X: np.ndarray, y: Float[np.ndarray, " P"], temperature: float, *, mixture: bool
    ) -> IteratedScale:
        """Reduce the kernel, whose scales are those of the saddle points, or of the posterior where it is wanted."""

        def scales(resolvent: Resolvent) -> Float[np.ndarray, " n"]:
            problem = OneScale(net, X, y, temperature, resolvent)
            if mixture:
                return problem.posterior().scales_that_matter(NEGLIGIBLE)
            return np.array([np.log(point.order_parameters).sum() for point in problem.saddle_points()])

        solved = iterated_problem(net, X, y[:, None], temperature, scales)
        return cls(net, X, y, temperature, solved.resolvent, solved)

    def conditioned(self, point: SaddlePoint) -> IteratedKernel:  # type: ignore[override]
        """Return the Gaussian process at a saddle point."""
        return IteratedKernel(self.net, self.X, self.resolvent, float(np.log(point.order_parameters).sum()))

    def errors(self, found: SaddlePoint | OrderParameterPosterior) -> NumericalErrors:
        """Return the numerical errors at a saddle point, or of the posterior of the order parameter."""
        if isinstance(found, SaddlePoint):
            return self.solved.errors(float(np.linalg.eigvalsh(found.hessian)[0]))
        return self.solved.errors(found.curvature)


@dataclass(frozen=True)
class IteratedInside(NoiseInside):
    """The multivariate t on a Krylov space, which has no factor.

    Parameters
    ----------
    resolvent : Resolvent
        K and T, taken at the scale one.
    """

    resolvent: Resolvent
    _why_negative: ClassVar[str] = NOT_REACHED

    @property
    def log_det(self) -> float:
        """The logarithm of the determinant of A."""
        return float(self.resolvent.at(np.zeros(1)).log_det[0])

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> tuple[np.ndarray, Any]:
        """Return k·A^{-1} k of each query point, and if `joint` of each pair."""
        at = self.resolvent.at(np.zeros(1))
        inside, outside = self.resolvent.projected(cross, joint=joint)
        root, left = inside / np.sqrt(at.shifted[0]), at.outside[0] * outside
        if joint:
            products = root @ root.T + left
            return np.diag(products), products
        return np.einsum("ij,ij->i", root, root) + left, None


def iterated_inside(
    blocks: Blocks, y: Float[np.ndarray, "P ..."], law: InverseGamma, temperature: float
) -> tuple[IteratedInside, NumericalErrors]:
    """Condition on targets with the noise inside the scale, given the function that makes blocks of K."""
    solved = IteratedProblem.of(
        TiledMatrix.of(len(y), blocks), y.reshape(len(y), -1), temperature, 0.0, lambda resolvent: np.zeros(1)
    )
    alpha = solved.resolvent.coefficients(0.0).reshape(y.shape)
    quadratic = float(solved.resolvent.at(np.zeros(1)).misfit[0])
    slope = (law.df + y.size) / (law.excess + quadratic)
    errors = solved.errors(slope_of_misfit=slope)
    return IteratedInside(np.empty((0, 0)), alpha, quadratic, law, temperature, solved.resolvent), errors


def iterated_beside(
    blocks: Blocks, y: Float[np.ndarray, "P ..."], law: InverseGamma, temperature: float
) -> tuple[NoiseBeside, NumericalErrors]:
    """Condition on targets with the noise beside the scale, given the function that makes blocks of K."""

    def scales(resolvent: Resolvent) -> Float[np.ndarray, " n"]:
        return scale_posterior(resolvent, law).scales_that_matter(NEGLIGIBLE)

    solved = IteratedProblem.of(TiledMatrix.of(len(y), blocks), y.reshape(len(y), -1), temperature, 0.0, scales)
    posterior = scale_posterior(solved.resolvent, law)
    return NoiseBeside(solved.resolvent, y.shape, law, posterior), solved.errors(posterior.curvature)
