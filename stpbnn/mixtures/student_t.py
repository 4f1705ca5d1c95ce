r"""A Student's t-process conditioned on a training set, with the noise inside the random scale or beside it.

.. math:: y \mid r \sim N(0,\, r (K + T\,1)) \quad \text{or} \quad y \mid r \sim N(0,\, r K + T\,1), \qquad
          r \sim \mathrm{InvGamma}(\tfrac\nu2, \tfrac s2)

The first is the multivariate t and costs one Cholesky factorisation. The second is a quadrature over r after one
tridiagonalisation. D outputs share r. Both give the log evidence, its derivatives (by Fisher's identity: those given r,
averaged over the posterior of r), and the predictive laws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, eigh_tridiagonal, lapack, solve_triangular

from stpbnn._special import log_gamma_ratio
from stpbnn.action.spectral import rounding
from stpbnn.mixtures import scale
from stpbnn.mixtures.laws import InverseGamma
from stpbnn.mixtures.posterior import OrderParameterPosterior
from stpbnn.predictive import JointMixture, JointStudentT, Mixture, StudentT
from stpbnn.predictive.student_t import log_density

__all__ = ["NoiseBeside", "NoiseInside", "Query", "Slopes"]


class Query(NamedTuple):
    """The kernel at query points: with the training points, of each with itself, and where asked between them."""

    cross: Float[np.ndarray, "q P"]
    variances: Float[np.ndarray, " q"]
    within: Float[np.ndarray, "q q"] | None = None


class Slopes(NamedTuple):
    """Derivatives of the log evidence: in the entries of K (lower triangle, both halves counted), in T and in ν."""

    kernel: Float[np.ndarray, "P P"]
    temperature: float
    df: float


def _columns(vector: Float[np.ndarray, " q"], like: np.ndarray) -> np.ndarray:
    """Return one number a query point in the shape of its outputs."""
    return np.array(np.broadcast_to(vector.reshape((-1,) + (1,) * (like.ndim - 1)), like.shape))


def _lower(matrix: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Fold a symmetric matrix, of which the lower triangle counts, into that triangle, in place."""
    matrix *= 2
    matrix[np.diag_indices_from(matrix)] /= 2
    return matrix


@dataclass(frozen=True)
class NoiseInside:
    r"""The closed form: y is multivariate t with K + T 1 as covariance, or as scale matrix.

    .. math:: f_* \mid y \sim t_{\nu + PD}\left(k^T A^{-1} y,\;
              \frac{s + q}{\nu + PD} [k_{**} - k^T A^{-1} k]\right), \qquad A = K + T\,1, \quad q = y^T A^{-1} y

    Parameters
    ----------
    factor : array of shape (P, P)
        Lower Cholesky factor of A.
    alpha : array of shape (P,) or (P, D)
        A^{-1} y.
    quadratic : float
        q, summed over outputs.
    law : InverseGamma
        The law of the scale.
    temperature : float
        T.
    """

    factor: Float[np.ndarray, "P P"]
    alpha: Float[np.ndarray, "P ..."]
    quadratic: float
    law: InverseGamma
    temperature: float

    @classmethod
    def of(cls, factor: np.ndarray, y: np.ndarray, law: InverseGamma, temperature: float) -> NoiseInside:
        """Condition on targets y, (P,) or (P, D), given the Cholesky factor of K + T."""
        alpha = cho_solve((factor, True), y, check_finite=False)
        return cls(factor, alpha, float(np.vdot(y, alpha)), law, temperature)

    @property
    def outputs(self) -> int:
        """D, the number of outputs."""
        return self.alpha.size // len(self.alpha)

    @property
    def error(self) -> float:
        """The relative error of the log evidence: none."""
        return 0.0

    @property
    def log_evidence(self) -> float:
        """Log p(y)."""
        nu, s, size = self.law.df, self.law.excess, self.alpha.size
        log_det = 2 * self.outputs * np.log(np.diag(self.factor)).sum() + size * np.log1p((s - nu) / nu)
        return float(log_density(nu, size, log_det, self.quadratic * (nu / s)))

    @property
    def slopes(self) -> Slopes:
        """Derivatives of the log evidence."""
        nu, s, size, q = self.law.df, self.law.excess, self.alpha.size, self.quadratic
        inverse, _ = lapack.dpotri(self.factor, lower=1)
        alpha = self.alpha.reshape(len(inverse), -1)
        pull = (nu + size) / (s + q)
        trace, square = self.outputs * np.trace(inverse), pull * np.vdot(alpha, alpha)
        kernel = np.tril(alpha @ (pull / 2 * alpha.T))
        kernel -= self.outputs / 2 * inverse
        normalisation = log_gamma_ratio(nu / 2, size / 2)[1] - size * (nu - s) / (nu * s) - np.log1p(q / s)
        return Slopes(
            _lower(kernel), float(square - trace) / 2, float(normalisation + (nu + size) * q / (s * (s + q))) / 2
        )

    def mean(self, cross: Float[np.ndarray, "q P"]) -> Float[np.ndarray, "q ..."]:
        """Return the posterior mean of f."""
        return cross @ self.alpha

    def predictive(self, query: Query, noise: float, shift: np.ndarray, units: np.ndarray) -> StudentT:
        """Return the law of shift + units · (f + noise of that variance, before it is scaled)."""
        df = self.law.df + self.alpha.size
        spread = (self.law.excess + self.quadratic) / df
        mean = shift + units * self.mean(query.cross)
        explained = solve_triangular(self.factor, query.cross.T, lower=True, check_finite=False)
        variances = np.maximum(query.variances - np.einsum("ij,ij->j", explained, explained), 0) + noise
        if query.within is None:
            return StudentT(mean, units * np.sqrt(spread * _columns(variances, mean)), df)
        matrix = query.within - explained.T @ explained
        matrix = (matrix + matrix.T) / 2
        matrix[np.diag_indices_from(matrix)] = variances
        return JointStudentT.of(mean, spread * matrix, df, units)


@dataclass(frozen=True)
class NoiseBeside:
    """Independent Gaussian noise of variance T: a mixture over the posterior of the scale.

    K = Q J Q^T with J = Z Λ Z^T tridiagonal. The posterior of r and the mean need the P² numbers Z only; U = Q Z, which
    costs as much as six Cholesky factorisations, is made when a variance or a derivative is asked for.

    Parameters
    ----------
    reflectors, tau : arrays of shapes (P, P) and (P − 1,)
        Q, as LAPACK's dsytrd leaves it.
    tridiagonal_basis : array of shape (P, P)
        Z.
    eigenvalues : array of shape (P,)
        Λ; zero where it is zero to rounding.
    targets : array of shape (P, D)
        U^T y.
    law : InverseGamma
        The law of the scale.
    temperature : float
        T > 0.
    posterior : OrderParameterPosterior
        p(r | y).
    """

    reflectors: Float[np.ndarray, "P P"]
    tau: Float[np.ndarray, " P-1"]
    tridiagonal_basis: Float[np.ndarray, "P P"]
    eigenvalues: Float[np.ndarray, " P"]
    targets: Float[np.ndarray, "P D"]
    shape: tuple[int, ...]
    law: InverseGamma
    temperature: float
    posterior: OrderParameterPosterior

    @classmethod
    def of(cls, K: np.ndarray, y: np.ndarray, law: InverseGamma, temperature: float) -> NoiseBeside:
        """Condition on targets y, (P,) or (P, D), given the kernel K, which is overwritten."""
        if len(K) == 1:
            reflectors, tau, k, Z = K, np.empty(0), K[0], np.ones((1, 1))
        else:
            lwork, _ = lapack.dsytrd_lwork(len(K), lower=1)
            reflectors, diagonal, off_diagonal, tau, _ = lapack.dsytrd(K, lower=1, lwork=int(lwork), overwrite_a=1)
            k, Z = eigh_tridiagonal(diagonal, off_diagonal, check_finite=False)
        k = np.where(k > rounding(k), k, 0.0)
        targets = Z.T @ _rotate(reflectors, tau, y.reshape(len(y), -1), "T")
        D = targets.shape[1]
        problem = scale.ScaleProblem(
            np.tile(k, D), np.empty((0, 0)), targets.T.ravel(), np.zeros(k.size * D), temperature, 0.0
        )
        return cls(reflectors, tau, Z, k, targets, y.shape, law, temperature, scale.posterior(problem, law))

    @property
    def error(self) -> float:
        """The relative error of the quadrature."""
        return self.posterior.error

    @property
    def log_evidence(self) -> float:
        """Log p(y)."""
        return self.posterior.log_evidence

    @cached_property
    def eigenvectors(self) -> Float[np.ndarray, "P P"]:
        """U, of K = U Λ U^T."""
        return _rotate(self.reflectors, self.tau, self.tridiagonal_basis, "N")

    @cached_property
    def alpha(self) -> Float[np.ndarray, "P ..."]:
        """E[r A(r)^{-1} y], which with the kernel gives the mean."""
        weights = self.posterior.weights * self._scales
        inverse = self.tridiagonal_basis @ ((weights @ self._resolvents)[:, None] * self.targets)
        return _rotate(self.reflectors, self.tau, inverse, "N").reshape(self.shape)

    @property
    def _scales(self) -> Float[np.ndarray, " n"]:
        return self.posterior.nodes[:, 0]

    @property
    def _resolvents(self) -> Float[np.ndarray, "n P"]:
        """The eigenvalues of A(r)^{-1} at the nodes of r."""
        return 1 / (np.outer(self._scales, self.eigenvalues) + self.temperature)

    @property
    def slopes(self) -> Slopes:
        """Derivatives of the log evidence."""
        U, g, w = self.eigenvectors, self._resolvents, self.posterior.weights
        D, pulled = self.targets.shape[1], w * self._scales
        alpha = np.sqrt(pulled)[:, None, None] * g[:, :, None] * self.targets
        root = U * np.sqrt(pulled @ g)
        alpha = U @ alpha.transpose(1, 0, 2).reshape(len(U), -1)
        kernel = np.tril(alpha @ alpha.T - D * (root @ root.T)) / 2
        squares = (g**2) @ np.sum(self.targets**2, axis=1)
        temperature = w @ (squares - D * g.sum(axis=1)) / 2
        return Slopes(_lower(kernel), float(temperature), float(-w @ self.law.df_slope(np.log(self._scales)) / 2))

    def mean(self, cross: Float[np.ndarray, "q P"]) -> Float[np.ndarray, "q ..."]:
        """Return the posterior mean of f."""
        return cross @ self.alpha

    def predictive(self, query: Query, noise: float, shift: np.ndarray, units: np.ndarray) -> Mixture:
        """Return the law of shift + units · (f + noise of that variance)."""
        projected = query.cross @ self.eigenvectors
        first = scale.ScaleProblem(
            self.eigenvalues, self.eigenvectors, self.targets[:, 0], np.zeros(len(projected.T)), self.temperature, 0.0
        )
        found = scale.moments(first, self._scales, projected, query.variances, query.within)
        weighted = self._scales[:, None, None] * self._resolvents[:, :, None] * self.targets
        means = np.einsum("qp,mpd->mqd", projected, weighted, optimize=True)
        means = means.reshape((*means.shape[:2], *self.shape[1:]))
        means = shift + units * means
        if found.covariances is None:
            variances = found.variances.reshape(found.variances.shape + (1,) * (means.ndim - 2)) + noise
            return Mixture(self.posterior.weights, means, np.array(np.broadcast_to(units**2 * variances, means.shape)))
        covariances = found.covariances + noise * np.eye(len(projected))
        return JointMixture.of(self.posterior.weights, means, covariances, units)


def _rotate(reflectors: np.ndarray, tau: np.ndarray, V: np.ndarray, transpose: str) -> np.ndarray:
    """Return Q V, or Q^T V: LAPACK's reflectors leave the first row alone."""
    if len(V) == 1:
        return V
    rotated, *_ = lapack.dormqr("L", transpose, reflectors[1:, :-1], tau, V[1:], lwork=64 * len(V))
    return np.vstack([V[:1], rotated])
