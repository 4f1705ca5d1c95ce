r"""The precision of Gaussian observations that may be negative, together with a kernel, factorised.

.. math:: M = (K + W^{-1})^{-1}, \qquad \Sigma = (K^{-1} + W)^{-1} = K - K M K

for diagonal W of either sign, as long as Σ is positive definite. With W = W_+ − D, the positive part by Cholesky's
factorisation of B = 1 + √W_+ K √W_+, and the few rows n of D by that of 1 − √D Σ_+ √D:

.. math:: M = M_+ - V V^T, \qquad V = (1 - M_+ K)_{\cdot n} \sqrt{D} L^{-T}, \qquad
          L L^T = 1 - \sqrt{D}\, (\Sigma_+)_{nn} \sqrt{D}

Nothing is divided by K or W.

References
----------
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 3.4; Vanhatalo, Jylänki, Vehtari,
NeurIPS 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, lapack, solve_triangular

from stpbnn._linalg import log_det_of, lower_cholesky, mirrored

__all__ = ["Precisions"]


@dataclass(frozen=True)
class Precisions:
    """W with a kernel K.

    Parameters
    ----------
    root : array of shape (P,)
        The roots of the positive part of W.
    factor : array of shape (P, P)
        Lower Cholesky factor of B.
    V : array of shape (P, n)
        What the negative part takes away.
    log_det : float
        The logarithm of det(1 + K W).

    Examples
    --------
    >>> K, W = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([3.0, -0.2])
    >>> found = Precisions.of(K, W)
    >>> bool(np.allclose(found.matrix(), np.linalg.inv(K + np.diag(1 / W))))
    True
    >>> bool(np.allclose(found.diagonal(), np.diag(found.matrix())))
    True
    >>> bool(np.isclose(found.log_det, np.log(np.linalg.det(np.eye(2) + K * W))))
    True
    """

    root: Float[np.ndarray, " P"]
    factor: Float[np.ndarray, "P P"]
    V: Float[np.ndarray, "P n"]
    log_det: float

    @classmethod
    def of(cls, K: Float[np.ndarray, "P P"], W: Float[np.ndarray, " P"]) -> Precisions:
        """Factorise; LinAlgError where K^{-1} + W is not positive definite."""
        root = np.sqrt(np.maximum(W, 0))
        B = (K * root).T  # in Fortran's order, since K is symmetric
        B *= root
        B[np.diag_indices_from(B)] += 1
        factor, failure = lower_cholesky(B, clean=True)
        if failure:
            raise np.linalg.LinAlgError("the kernel is not positive semidefinite")
        positive = cls(root, factor, np.empty((len(W), 0)), log_det_of(factor))
        negative = np.flatnonzero(W < 0)
        if not len(negative):
            return positive
        rest = -positive.damp(K[:, negative])
        rest[negative, np.arange(len(negative))] += 1
        roots = np.sqrt(-W[negative])
        inside = np.eye(len(negative)) - roots[:, None] * (K[negative] @ rest) * roots
        small, failure = lapack.dpotrf(inside, lower=1, clean=1)
        if failure:
            raise np.linalg.LinAlgError("the precision of the latent function is not positive definite")
        V = solve_triangular(small, (rest * roots).T, lower=True, check_finite=False).T
        return cls(root, factor, V, positive.log_det + log_det_of(small))

    def damp(self, v: Float[np.ndarray, "P ..."]) -> Float[np.ndarray, "P ..."]:
        """Return M v."""
        root = self.root.reshape((-1,) + (1,) * (v.ndim - 1))
        positive = root * cho_solve((self.factor, True), root * v, check_finite=False)
        return positive - self.V @ (self.V.T @ v)

    def matrix(self) -> Float[np.ndarray, "P P"]:
        """Return M."""
        inverse, _ = lapack.dpotri(self.factor, lower=1)
        inverse = mirrored(inverse)
        return inverse * np.multiply.outer(self.root, self.root) - self.V @ self.V.T

    def diagonal(self) -> Float[np.ndarray, " P"]:
        """Return the diagonal of M."""
        inverse, _ = lapack.dtrtri(self.factor, lower=1)
        return self.root**2 * np.einsum("ij,ij->j", inverse, inverse) - np.einsum("ij,ij->i", self.V, self.V)

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> Float[np.ndarray, ...]:
        """Return k M k^T: the diagonal (q,), or all of it (q, q) if joint."""
        more = solve_triangular(self.factor, self.root[:, None] * cross.T, lower=True, check_finite=False)
        less = self.V.T @ cross.T
        if joint:
            return more.T @ more - less.T @ less
        return np.einsum("ij,ij->j", more, more) - np.einsum("ij,ij->j", less, less)
