"""A Gaussian process conditioned on the training set by one Cholesky factorisation: the predictions (4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, cho_solve, lapack, solve_triangular

from stpbnn import kernels
from stpbnn._linalg import log_det_of, lower_cholesky
from stpbnn.kernels import KernelMap
from stpbnn.network import Network, Prior
from stpbnn.predictive import Gaussian, IndependentOutputs, JointGaussian, relative_rounding
from stpbnn.scale.design import Query
from stpbnn.scale.leave_one_out import Resolved, inverse_diagonal, left_out_gaussian

__all__ = [
    "ZERO_TARGETS",
    "FactorisedKernel",
    "conditioned_matrix",
    "query_of",
    "refuse_ill_conditioned",
    "refuse_singular",
    "well_conditioned_cholesky",
]

ZERO_TARGETS = (
    "y: got targets that are all zero at temperature 0, where the action falls without bound as the order parameter "
    "goes to zero; give a temperature above 0"
)

SUSPICIOUS = 1e-6  # ratio of pivots, far above rounding: only below it is the condition number worth estimating


def well_conditioned_cholesky(A: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return the lower Cholesky factor of A, whose lower triangle is read, and overwritten where in Fortran's order.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where A is singular to rounding.
    """
    norm = float(blas.dsymv(1.0, np.abs(A), np.ones(len(A)), lower=1).max())
    factor, failure = lower_cholesky(A, clean=True)
    if failure:
        raise np.linalg.LinAlgError(f"the leading minor of order {failure} is not positive")
    refuse_ill_conditioned(factor, norm)
    return factor


def refuse_ill_conditioned(factor: Float[np.ndarray, "P P"], norm: float | None = None) -> None:
    """Raise LinAlgError where the matrix with this lower Cholesky factor is singular to rounding.

    Its largest sum of absolute values in a column costs as much as several factorisations where it is not given.
    """
    pivots = np.diag(factor) ** 2
    if pivots.min() < SUSPICIOUS * pivots.max():
        norm = float(np.linalg.norm(factor @ factor.T, 1)) if norm is None else norm
        reciprocal, _ = lapack.dpocon(factor, norm, uplo="L")
        if reciprocal < np.finfo(np.float64).eps:
            raise np.linalg.LinAlgError(f"condition number above {1 / max(reciprocal, 1e-300):.0e}")


def refuse_singular(net: Network, X: Float[np.ndarray, "P N0"], temperature: float) -> None:
    """Raise LinAlgError at T = 0 where the kernel is singular to rounding: no theory has a meaning there."""
    if temperature == 0:
        try:
            well_conditioned_cholesky(kernels.symmetric_kernel(kernels.nngp_map(net), net.prior, X))
        except np.linalg.LinAlgError as error:
            raise np.linalg.LinAlgError(f"the kernel is singular at T = 0: {error}") from None


@dataclass(frozen=True)
class FactorisedKernel:
    """A = K^R + T and α = A^{-1} y: the same kernel for every output. A is factorised when variances are asked for."""

    prior: Prior
    X: Float[np.ndarray, "P N0"]
    kernel: KernelMap
    alpha: Float[np.ndarray, "P ..."]
    temperature: float

    @classmethod
    def of(
        cls,
        prior: Prior,
        X: Float[np.ndarray, "P N0"],
        y: Float[np.ndarray, "P ..."],
        kernel: KernelMap,
        temperature: float,
    ) -> FactorisedKernel:
        """Factorise A and condition on targets y."""
        factor = well_conditioned_cholesky(conditioned_matrix(prior, X, kernel, temperature))
        return cls.factorised(prior, X, kernel, cho_solve((factor, True), y, check_finite=False), temperature, factor)

    @classmethod
    def factorised(
        cls,
        prior: Prior,
        X: Float[np.ndarray, "P N0"],
        kernel: KernelMap,
        alpha: Float[np.ndarray, "P ..."],
        temperature: float,
        factor: Float[np.ndarray, "P P"],
    ) -> FactorisedKernel:
        """Return the process from a given factorisation of A."""
        process = cls(prior, X, kernel, alpha, temperature)
        process.__dict__["factor"] = factor
        return process

    @cached_property
    def factor(self) -> Float[np.ndarray, "P P"]:
        """The lower Cholesky factor of A."""
        return well_conditioned_cholesky(conditioned_matrix(self.prior, self.X, self.kernel, self.temperature))

    def mean(self, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, "n ..."]:
        """Return the mean of f at query points."""
        query = self._query(X, joint=False)
        return _weighted(query.cross, self.alpha) + query.trend

    def _query(self, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Query:
        """Return the kernel at query points."""
        return query_of(self.kernel, self.prior, X, self.X, joint=joint)

    @property
    def log_det(self) -> float:
        """The logarithm of the determinant of A."""
        return log_det_of(self.factor)

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""
        return self.law_of(self._query(X, joint=joint), self.temperature if noise else 0.0)

    def gradient(self, query: Query) -> Gaussian:
        """Return the law of the gradient of f at a point, given derivatives of the kernel as query points."""
        return self.law_of(query, 0.0)

    def law_of(self, query: Query, added: float) -> Gaussian:
        r"""Return the law of f + noise of that variance, given the kernel at query points; joint if with `within`.

        .. math:: \bar f = k A^{-1} y, \qquad \sigma^2 = k_{**} - k A^{-1} k^T \qquad (4.2)
        """
        mean = _weighted(query.cross, self.alpha) + query.trend
        explained = solve_triangular(self.factor, query.cross.T, lower=True, check_finite=False)
        variance = np.maximum(query.variances - np.einsum("pn,pn->n", explained, explained), 0)
        variance = variance + added + query.noise_variances
        variance = np.array(np.broadcast_to(variance.reshape((-1,) + (1,) * (mean.ndim - 1)), mean.shape))
        if query.within is None:
            return Gaussian(mean, variance)
        error = relative_rounding(query.variances, variance)
        covariance = query.within - explained.T @ explained + query.noise
        covariance[np.diag_indices_from(covariance)] = variance if mean.ndim == 1 else variance[:, 0]
        covariance = (covariance + covariance.T) / 2
        if mean.ndim == 1:
            return JointGaussian(mean, variance, covariance, error)
        return IndependentOutputs.joint(mean, [covariance] * mean.shape[1], error=error)

    def left_out(self, y: Float[np.ndarray, "P ..."]) -> Gaussian:
        """Return the law of each target given the others."""
        return left_out_gaussian(Resolved(self.alpha, inverse_diagonal(self.factor)), y)


def query_of(
    kernel: KernelMap, prior: Prior, X: Float[np.ndarray, "n N0"], X_train: Float[np.ndarray, "P N0"], *, joint: bool
) -> Query:
    """Return the kernel of a network at query points."""
    cross = kernels.cross_kernel(kernel, prior, X, X_train)
    within = np.array(kernels.cross_kernel(kernel, prior, X).entries) if joint else None
    return Query(np.asarray(cross.entries), np.asarray(cross.left), within)


def _weighted(entries: Float[np.ndarray, "n P"], alpha: Float[np.ndarray, "P ..."]) -> Float[np.ndarray, "n ..."]:
    """Return K α."""
    return blas.dgemm(1.0, entries.T, alpha.reshape(len(alpha), -1), trans_a=1).reshape((-1, *alpha.shape[1:]))


def conditioned_matrix(
    prior: Prior, X: Float[np.ndarray, "P N0"], kernel: KernelMap, temperature: float
) -> Float[np.ndarray, "P P"]:
    """Return A = K^R + T on the training set."""
    A = kernels.symmetric_kernel(kernel, prior, X)
    A[np.diag_indices_from(A)] += temperature
    return A
