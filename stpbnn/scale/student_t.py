r"""A Student's t-process conditioned on a training set, with the noise inside the random scale or beside it.

.. math:: y \mid r \sim N(0,\, r (K + T\,1)) \quad \text{or} \quad y \mid r \sim N(0,\, r K + T\,1), \qquad
          r \sim \mathrm{InvGamma}(\tfrac\nu2, \tfrac s2)

The first is the multivariate t and costs one Cholesky factorisation. The second is a quadrature over r after one
tridiagonalisation. D outputs share r. Both give the log evidence, its derivatives (by Fisher's identity: those given r,
averaged over the posterior of r), and the predictive laws.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, cho_solve, solve_triangular

from stpbnn._linalg import inverse_of, log_det_of
from stpbnn._special import log_gamma_ratio
from stpbnn.predictive import (
    JointMixture,
    JointStudentT,
    Mixture,
    SideBySide,
    StudentT,
    log_density,
    relative_rounding,
)
from stpbnn.scale.design import Design, Query
from stpbnn.scale.factorised import well_conditioned_cholesky
from stpbnn.scale.leave_one_out import Resolved, left_out_mixture
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.priors import InverseGamma
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.trapezoid import scale_posterior
from stpbnn.scale.units import Units

__all__ = ["EvidenceSlopes", "NoiseBeside", "NoiseInside"]


INDEFINITE = 1e-8  # the size of a negative eigenvalue, relative to the largest, that is no rounding any more
NO_COVARIANCE = (
    "the kernel is not positive definite between these query points and the training inputs; give one that is a "
    "covariance for inputs of this dimension"
)
NOT_REACHED = (
    "the iterative solver does not tell the little that is left at these points; raise the temperature, or take "
    "solver='exact'"
)
NEGATIVE = 1e-3  # the size of a negative variance, relative to that of the prior, that is no rounding any more


class EvidenceSlopes(NamedTuple):
    """Derivatives of the log evidence in the entries of K, of which the lower triangle is stored, in T and in ν."""

    kernel: Float[np.ndarray, "P P"]
    temperature: float
    df: float


def _columns(vector: Float[np.ndarray, " q"], like: np.ndarray) -> np.ndarray:
    """Return one number for each query point, in the shape of its outputs."""
    return np.array(np.broadcast_to(vector.reshape((-1,) + (1,) * (like.ndim - 1)), like.shape))


def _warn_of_negative(variances: Float[np.ndarray, " q"], prior: Float[np.ndarray, " q"], why: str) -> None:
    """Warn of variances that are negative by more than rounding, and say why they are."""
    negative = np.count_nonzero(variances < -NEGATIVE * prior.max(initial=0.0))
    if negative:
        warnings.warn(
            f"{negative} of {len(variances)} predicted variances are negative and taken as zero: {why}", stacklevel=2
        )


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
    _why_negative: ClassVar[str] = NO_COVARIANCE

    @classmethod
    def of(cls, K: np.ndarray, y: np.ndarray, law: InverseGamma, temperature: float) -> NoiseInside:
        """Condition on targets y, (P,) or (P, D), given the kernel K, whose lower triangle is read and overwritten."""
        K[np.diag_indices_from(K)] += temperature
        factor = well_conditioned_cholesky(K)
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
    def lost(self) -> float:
        """What the rounding of K may have changed of the log evidence: little, or A would have been refused."""
        return 0.0

    @property
    def log_det(self) -> float:
        """The logarithm of the determinant of A."""
        return log_det_of(self.factor)

    @property
    def log_evidence(self) -> float:
        """Log p(y)."""
        nu, s, size = self.law.df, self.law.excess, self.alpha.size
        log_det = self.outputs * self.log_det + size * np.log1p((s - nu) / nu)
        return float(log_density(nu, size, log_det, self.quadratic * (nu / s)))

    @property
    def slopes(self) -> EvidenceSlopes:
        """Derivatives of the log evidence."""
        nu, s, size, q = self.law.df, self.law.excess, self.alpha.size, self.quadratic
        inverse = inverse_of(self.factor)
        alpha = self.alpha.reshape(len(inverse), -1)
        pull = (nu + size) / (s + q)
        trace, square = self.outputs * np.trace(inverse), pull * np.vdot(alpha, alpha)
        kernel = blas.dsyrk(pull / 2, alpha, beta=-self.outputs / 2, c=inverse, lower=1, overwrite_c=1)
        normalisation = log_gamma_ratio(nu / 2, size / 2)[1] - size * (nu - s) / (nu * s) - np.log1p(q / s)
        df = normalisation + (nu + size) * q / (s * (s + q))
        return EvidenceSlopes(kernel, float(square - trace) / 2, float(df) / 2)

    def mean(self, query: Query) -> Float[np.ndarray, "q ..."]:
        """Return the posterior mean of f."""
        return query.cross @ self.alpha + query.trend

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> tuple[np.ndarray, Any]:
        """Return k·A^{-1} k of each query point, and if `joint` of each pair."""
        root = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        return np.einsum("ij,ij->j", root, root), root.T @ root if joint else None

    def predictive(self, query: Query, noise: float, units: Units) -> StudentT:
        """Return the law of f + noise of that variance, before it is scaled, in the units of the targets."""
        df = self.law.df + self.alpha.size
        spread = (self.law.excess + self.quadratic) / df
        mean = units.restored(self.mean(query))
        squares, products = self.explained(query.cross, joint=query.within is not None)
        variances = query.variances - squares
        _warn_of_negative(variances, query.variances, self._why_negative)
        variances = np.maximum(variances, 0) + noise + query.noise_variances
        if query.within is None:
            return StudentT(mean, units.size * np.sqrt(spread * _columns(variances, mean)), df)
        matrix = query.within - products + query.noise
        matrix = (matrix + matrix.T) / 2
        matrix[np.diag_indices_from(matrix)] = variances
        return JointStudentT.of(mean, spread * matrix, df, units.size, relative_rounding(query.variances, variances))

    def left_out(self, y: Float[np.ndarray, "P ..."], units: Units, design: Design) -> StudentT:
        """Return the law of each target given the others, in the units of the targets."""
        alpha = design.expanded(self.alpha)
        mean, variance = Resolved(alpha, design.diagonal(self.factor)).law(y)
        known = self.quadratic - np.sum((alpha**2 * variance).reshape(len(mean), -1), axis=1)
        df = self.law.df + self.alpha.size - self.outputs
        spread = _columns((self.law.excess + known) / df, mean)
        return StudentT(units.restored(mean), units.size * np.sqrt(spread * variance), df)


@dataclass(frozen=True)
class NoiseBeside:
    """Independent Gaussian noise of variance T > 0: a mixture over the posterior of the scale.

    The posterior of r and the mean need no more than the tridiagonal form of K. The eigenvectors, which cost as much as
    several Cholesky factorisations, are made when a variance or a derivative is first asked for.

    Parameters
    ----------
    resolvent : Resolvent
        K with the targets of all outputs, and T.
    shape : tuple of int
        Shape of the targets, (P,) or (P, D).
    law : InverseGamma
        The law of the scale.
    posterior : OrderParameterPosterior
        p(r | y).
    """

    resolvent: Resolvent
    shape: tuple[int, ...]
    law: InverseGamma
    posterior: OrderParameterPosterior

    @classmethod
    def of(cls, K: np.ndarray, y: np.ndarray, law: InverseGamma, temperature: float) -> NoiseBeside:
        """Condition on targets y, (P,) or (P, D), given the kernel K, whose lower triangle is read and overwritten.

        Where T is so small beside the targets that large scales matter, at which the rounding of K counts, the
        eigenbasis tells the null space of K from rounding.
        """
        resolvent = Resolvent.tridiagonal(K, y.reshape(len(y), -1), temperature, exact=False)
        k = resolvent.eigenvalues
        if k[0] < -INDEFINITE * k[-1]:
            raise np.linalg.LinAlgError(f"not positive semidefinite: it has the eigenvalue {k[0]:.1e}")
        try:
            return cls(resolvent, y.shape, law, scale_posterior(resolvent, law))
        except np.linalg.LinAlgError:
            resolvent = resolvent.diagonalised
            return cls(resolvent, y.shape, law, scale_posterior(resolvent, law))

    @property
    def error(self) -> float:
        """The relative error of the quadrature."""
        return self.posterior.error

    @property
    def lost(self) -> float:
        """What the rounding of K may have changed of the log evidence."""
        return self.resolvent.at(self._u).lost(self.posterior.weights)

    @property
    def log_evidence(self) -> float:
        """Log p(y)."""
        return self.posterior.log_evidence

    @property
    def _u(self) -> Float[np.ndarray, " n"]:
        return np.log(self.posterior.nodes[:, 0])

    @cached_property
    def alpha(self) -> Float[np.ndarray, "P ..."]:
        """E[r A(r)^{-1} y], which with the kernel gives the mean."""
        pulled = self.posterior.weights * self.posterior.nodes[:, 0]
        averaged = np.tensordot(pulled, self.resolvent.at(self._u).alpha, 1)
        return self.resolvent.basis.rotate(averaged).reshape(self.shape)

    @property
    def slopes(self) -> EvidenceSlopes:
        """Derivatives of the log evidence, by Fisher's identity."""
        found = self.resolvent.diagonalised.at(self._u).slopes(self.posterior.weights)
        df = -self.posterior.weights @ self.law.df_slope(self._u) / 2
        return EvidenceSlopes(found.lower, found.temperature, float(df))

    def mean(self, query: Query) -> Float[np.ndarray, "q ..."]:
        """Return the posterior mean of f."""
        return query.cross @ self.alpha + query.trend

    def predictive(self, query: Query, noise: float, units: Units) -> Mixture:
        """Return the law of f + noise of that variance, in the units of the targets."""
        of = self.resolvent.diagonalised
        projected, outside = of.projected(query.cross, joint=query.within is not None)
        at = of.at(self._u.max(keepdims=True))
        beyond = np.diag(outside) if np.ndim(outside) == 2 else outside
        explained = at.scales**2 * (projected**2 @ (1 / at.shifted[0]) + at.outside * beyond)
        prior = at.scales * query.variances
        _warn_of_negative(prior - explained, prior, NO_COVARIANCE if of.multiplicities is None else NOT_REACHED)
        found = of.moments(self._u, projected, query.variances, query.within, outside)
        means = found.means.reshape((*found.means.shape[:2], *self.shape[1:])) + query.trend
        means = units.shift + units.size * means
        if found.covariances is None:
            variances = found.variances + noise + query.noise
            variances = variances.reshape(variances.shape + (1,) * (means.ndim - 2))
            variances = np.array(np.broadcast_to(units.size**2 * variances, means.shape))
            return Mixture(self.posterior.weights, means, variances, offset=units.offset)
        covariances = found.covariances + noise * np.eye(len(projected)) + query.noise
        return JointMixture.of(
            self.posterior.weights, means, covariances, units.size, found.error(noise), offset=units.offset
        )

    def left_out(self, y: Float[np.ndarray, "P ..."], units: Units, design: Design) -> SideBySide:
        """Return the law of each target given the others, in the units of the targets."""
        alpha, diagonal = self.resolvent.resolved(self._u, design.expanded)
        return left_out_mixture(self.posterior.weights, Resolved(alpha.reshape(-1, *y.shape), diagonal), y, units)
