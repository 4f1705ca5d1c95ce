"""A Gaussian process conditioned on the training set: one kernel for all outputs, or one for each after a rotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, lapack, solve_triangular

from stpbnn import kernels
from stpbnn.kernels import Gram
from stpbnn.mixtures import scale
from stpbnn.network import FullyConnected, Prior
from stpbnn.predictive import Gaussian, IndependentOutputs, JointGaussian

__all__ = [
    "DecoupledOutputs",
    "SharedKernel",
    "compiled_input_gram",
    "feature_kernel",
    "mean_kernel",
    "nngp_kernel",
    "refuse_singular",
    "renormalised_kernel",
    "well_conditioned_cholesky",
]

compiled_input_gram = jax.jit(kernels.input_gram)
_nngp = jax.jit(kernels.nngp, static_argnums=0)
_renormalised = jax.jit(kernels.renormalised, static_argnums=(0, 4))
_features = jax.jit(kernels.features, static_argnums=0)
_mean_kept = jax.jit(kernels.mean_kept, static_argnums=0)


def nngp_kernel(net: FullyConnected, gram: Gram) -> Gram:
    """Return K_L of infinite width."""
    return _nngp(net.sigma, net.prior, gram)


def renormalised_kernel(net: FullyConnected, Q: Float[np.ndarray, " L"], closure: kernels.Closure, gram: Gram) -> Gram:
    """Return K^R(Q)."""
    return _renormalised(net.sigma, net.prior, gram, Q, closure)


def feature_kernel(net: FullyConnected, gram: Gram) -> Gram:
    """Return κ(C)/λ_1 of one hidden layer, without the output bias."""
    return _features(net.sigma, gram, net.precisions[1])


def mean_kernel(net: FullyConnected, Q: float, p: float, gram: Gram) -> Gram:
    """Return Q (K_1 − m m^T) + p m m^T + 1/λ_b of one hidden layer."""
    return _mean_kept(net.sigma, net.prior, gram, Q, p)


def well_conditioned_cholesky(A: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return the lower Cholesky factor of A, which is overwritten; LinAlgError where A is singular to rounding."""
    norm = lapack.dlange("1", A.T)
    factor, failure = lapack.dpotrf(A.T, lower=1, clean=1, overwrite_a=1)  # in Fortran's order nothing is copied
    if failure:
        raise np.linalg.LinAlgError(f"the leading minor of order {failure} is not positive")
    reciprocal, _ = lapack.dpocon(factor, norm, uplo="L")
    if reciprocal < np.finfo(np.float64).eps:
        raise np.linalg.LinAlgError(f"condition number above {1 / max(reciprocal, 1e-300):.0e}")
    return factor


def refuse_singular(net: FullyConnected, gram: Gram, temperature: float) -> None:
    """Raise LinAlgError at T = 0 where the kernel is singular to rounding: no theory has a meaning there."""
    if temperature == 0:
        well_conditioned_cholesky(np.array(nngp_kernel(net, gram).entries))


@dataclass(frozen=True)
class SharedKernel:
    """A = K^R + T factorised, and α = A^{-1} y: the same kernel for every output."""

    prior: Prior
    X: Float[np.ndarray, "P N0"]
    kernel: Callable[[Gram], Gram]  # from the Gram matrix of the inputs to K^R
    factor: Float[np.ndarray, "P P"]
    alpha: Float[np.ndarray, "P ..."]
    temperature: float

    @classmethod
    def of(
        cls,
        prior: Prior,
        X: Float[np.ndarray, "P N0"],
        gram: Gram,
        y: Float[np.ndarray, "P ..."],
        kernel: Callable[[Gram], Gram],
        temperature: float,
    ) -> SharedKernel:
        """Condition on targets y, given the Gram matrix of the training inputs."""
        A = np.array(kernel(gram).entries)
        A[np.diag_indices_from(A)] += temperature
        factor = well_conditioned_cholesky(A)
        alpha = cho_solve((factor, True), y, check_finite=False)
        return cls(prior, X, kernel, factor, alpha, temperature)

    @property
    def log_det(self) -> float:
        """The logarithm of the determinant of A."""
        return float(2 * np.log(np.diag(self.factor)).sum())

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""
        cross = jax.tree.map(np.asarray, self.kernel(compiled_input_gram(self.prior, X, self.X)))
        added = self.temperature if noise else 0.0
        mean = cross.entries @ self.alpha
        explained = solve_triangular(self.factor, cross.entries.T, lower=True, check_finite=False)
        variance = np.maximum(cross.left - np.sum(explained**2, axis=0), 0) + added
        variance = np.array(np.broadcast_to(variance.reshape((-1,) + (1,) * (mean.ndim - 1)), mean.shape))
        if not joint:
            return Gaussian(mean, variance)
        covariance = np.array(self.kernel(compiled_input_gram(self.prior, X)).entries)
        covariance -= explained.T @ explained
        covariance[np.diag_indices_from(covariance)] = variance if mean.ndim == 1 else variance[:, 0]
        covariance = (covariance + covariance.T) / 2
        if mean.ndim == 1:
            return JointGaussian(mean, variance, covariance)
        return IndependentOutputs.joint(mean, [covariance] * mean.shape[1])


@dataclass(frozen=True)
class DecoupledOutputs:
    """Outputs that decouple after a rotation V, each with its own scale of one kernel: A_d = q_d K + b + T."""

    net: FullyConnected
    X: Float[np.ndarray, "P N0"]
    problems: list[scale.ScaleProblem]
    scales: Float[np.ndarray, " D"]
    rotation: Float[np.ndarray, "D D"]
    temperature: float

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""
        prior = self.net.prior
        cross = jax.tree.map(np.asarray, feature_kernel(self.net, compiled_input_gram(prior, X, self.X)))
        within = np.asarray(feature_kernel(self.net, compiled_input_gram(prior, X)).entries) if joint else None
        added = self.temperature if noise else 0.0
        projected = cross.entries @ self.problems[0].eigenvectors  # which all outputs share
        found = [
            scale.moments(problem, np.array([q]), projected, cross.left, within)
            for problem, q in zip(self.problems, self.scales, strict=True)
        ]
        means = np.stack([moments.means[0] for moments in found], axis=1)
        if not joint:
            variances = np.stack([moments.variances[0] for moments in found], axis=1) + added
            return Gaussian(means @ self.rotation.T, variances @ self.rotation.T**2)
        covariances = [moments.covariances[0] + added * np.eye(len(X)) for moments in found]  # type: ignore[index]
        return IndependentOutputs.joint(means, covariances, self.rotation)
