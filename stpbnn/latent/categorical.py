r"""C classes and C latent functions: the softmax likelihood, by C + 1 factorisations of the size of the training set.

.. math::
    \ell(f) = \tfrac1T \sum_\mu [f_{\mu c_\mu} - \log \textstyle\sum_c e^{f_{\mu c}}], \qquad
    W = D - T D R R^T D, \quad D = \mathrm{diag}\,\pi / T

with R the sum over classes. Then, with :math:`E_c = (K + D_c^{-1})^{-1}` and :math:`S = \sum_c E_c`,

.. math::
    M = E - E R S^{-1} R^T E, \qquad \log\det(1 + K W) = \sum_c \log\det(1 + K D_c) + \log\det T S

References
----------
Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), section 3.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, cho_solve, lapack, solve_triangular
from scipy.special import logsumexp, softmax

from stpbnn._linalg import log_det_of, mirrored
from stpbnn.latent.latent_gaussian import positive_factor, scaled_factor

__all__ = ["Categorical", "CategoricalCurvature"]

Columns = Float[np.ndarray, "P C"]
Square = Float[np.ndarray, "P P"]


@dataclass(frozen=True)
class Categorical:
    """The softmax likelihood of classes, given as unit vectors (P, C), to the power 1/T.

    Examples
    --------
    >>> likelihood = Categorical(np.eye(3), temperature=0.5)
    >>> round(likelihood.value(np.zeros((3, 3))), 4), likelihood.gradient(np.zeros((3, 3)))[0].round(3)
    (-6.5917, array([ 1.333, -0.667, -0.667]))
    """

    targets: Columns
    temperature: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """(P, C)."""
        return self.targets.shape

    def value(self, f: Columns) -> float:
        """Return the log likelihood."""
        return float(np.vdot(self.targets, f) - logsumexp(f, axis=1).sum()) / self.temperature

    def gradient(self, f: Columns) -> Columns:
        """Return its gradient."""
        return (self.targets - softmax(f, axis=1)) / self.temperature

    def curvature(self, f: Columns, K: Square) -> CategoricalCurvature:
        """Return W at f with a kernel, whose lower triangle is read; LinAlgError where 1 + K W is not positive."""
        pi, log_det, parts = softmax(f, axis=1), 0.0, []
        total = np.zeros(K.shape, order="F")
        for root in np.sqrt(pi.T / self.temperature):
            factor = scaled_factor(K, root)
            log_det += log_det_of(factor)
            inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
            inverse *= root[:, None]
            inverse *= root
            total += inverse
            parts.append(inverse)
        factor = positive_factor(total)
        log_det += log_det_of(factor) + len(K) * np.log(self.temperature)
        return CategoricalCurvature(K, pi, self.temperature, parts, factor, log_det)


@dataclass(frozen=True)
class CategoricalCurvature:
    """W with a kernel: the lower triangles of the E_c, and the Cholesky factor of their sum."""

    kernel: Square
    pi: Columns
    temperature: float
    parts: list[Square]
    factor: Square
    log_det: float

    def damp(self, v: Columns) -> Columns:
        """Return M v."""
        found = self._each(v)
        return found - self._each(
            np.tile(cho_solve((self.factor, True), found.sum(axis=1), check_finite=False)[:, None], v.shape[1])
        )

    def _each(self, v: Columns) -> Columns:
        """Return E_c v_c."""
        products = [blas.dsymv(1.0, E, column, lower=1) for E, column in zip(self.parts, v.T, strict=True)]
        return np.stack(products, axis=1)

    def _halves(self, columns: Float[np.ndarray, "P n"]) -> tuple[np.ndarray, np.ndarray]:
        """Return E_c k and F^{-1} E_c k for columns k, each (C, P, n), with F the factor of S."""
        products = np.stack([blas.dsymm(1.0, E, columns, lower=1) for E in self.parts])
        halves = [solve_triangular(self.factor, part, lower=True, check_finite=False) for part in products]
        return products, np.stack(halves)

    def diagonal_blocks(self) -> Square:
        """Return Σ_c (E_c − E_c S^{-1} E_c), its lower triangle."""
        total = np.zeros(self.factor.shape, order="F")
        for E in self.parts:
            full = mirrored(E)
            half = solve_triangular(self.factor, full, lower=True, check_finite=False)
            total += full
            total = blas.dsyrk(-1.0, half, beta=1.0, c=total, trans=1, lower=1, overwrite_c=1)
        return np.tril(total)

    def explained(self, cross: Float[np.ndarray, "n P"]) -> Float[np.ndarray, "n C C"]:
        """Return k M k^T at each query point."""
        products, halves = self._halves(np.asfortranarray(cross.T))
        found = -np.einsum("cpn,dpn->ncd", halves, halves, optimize=True)
        own = np.einsum("np,cpn->nc", cross, products)
        found[:, *2 * (np.arange(own.shape[1]),)] += own
        return found

    def pull(self) -> Columns:
        r"""Return s_i = -½ W_i (diag Σ_i − 2 Σ_i π_i), with Σ_i the posterior covariance at example i."""
        full = mirrored(self.kernel)
        covariances = np.diag(full)[:, None, None] * np.eye(self.pi.shape[1]) - self.explained(full)
        u = np.einsum("icc->ic", covariances) - 2 * np.einsum("icd,id->ic", covariances, self.pi)
        weighted = self.pi * u
        return -(weighted - self.pi * weighted.sum(axis=1, keepdims=True)) / (2 * self.temperature)
