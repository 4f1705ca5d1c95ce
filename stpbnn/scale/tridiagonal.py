"""Reduction of a symmetric matrix to tridiagonal form, K = Q J Q^T, with Q kept as LAPACK's reflectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal, lapack

__all__ = ["Diagonalisation", "Reduction", "reduce"]


class Reduction(NamedTuple):
    """Reflectors and their factors, of which Q is made, and both diagonals of J."""

    reflectors: Float[np.ndarray, "P P"]
    factors: Float[np.ndarray, " P-1"]
    diagonal: Float[np.ndarray, " P"]
    off_diagonal: Float[np.ndarray, " P-1"]

    def rotate(self, V: Float[np.ndarray, "P k"], transpose: bool = False) -> Float[np.ndarray, "P k"]:
        """Return Q V, or Q^T V."""
        if len(V) == 1:
            return V
        side = "T" if transpose else "N"
        rotated, *_ = lapack.dormqr("L", side, self.reflectors[1:, :-1], self.factors, V[1:], lwork=64 * len(V))
        return np.vstack([V[:1], rotated])  # the reflectors leave the first row alone

    @property
    def eigenvalues(self) -> Float[np.ndarray, " P"]:
        """Eigenvalues of K, in rising order."""
        if len(self.diagonal) == 1:
            return self.diagonal
        return eigvalsh_tridiagonal(self.diagonal, self.off_diagonal, check_finite=False)

    @property
    def eigenvectors(self) -> Float[np.ndarray, "P P"]:
        """Eigenvectors of K, as columns in the order of the eigenvalues."""
        if len(self.diagonal) == 1:
            return np.ones((1, 1))
        return self.rotate(eigh_tridiagonal(self.diagonal, self.off_diagonal, check_finite=False)[1])


class Diagonalisation(NamedTuple):
    """Eigenvectors, in the place of a reduction whose J is diagonal."""

    eigenvectors: Float[np.ndarray, "P P"]

    def rotate(self, V: Float[np.ndarray, "P k"], transpose: bool = False) -> Float[np.ndarray, "P k"]:
        """Return U V, or U^T V."""
        return (self.eigenvectors.T if transpose else self.eigenvectors) @ V


def reduce(K: Float[np.ndarray, "P P"]) -> Reduction:
    """Reduce a symmetric matrix: its lower triangle is read, and overwritten where it is in Fortran's order.

    Examples
    --------
    >>> K = np.array([[2.0, 1.0, 0.5], [1.0, 2.0, 1.0], [0.5, 1.0, 2.0]])
    >>> bool(np.allclose(reduce(K.copy()).eigenvalues, np.linalg.eigvalsh(K)))
    True
    """
    if len(K) == 1:
        return Reduction(K, np.empty(0), K[0].copy(), np.empty(0))
    lwork, _ = lapack.dsytrd_lwork(len(K), lower=1)
    reflectors, diagonal, off_diagonal, factors, _ = lapack.dsytrd(K, lower=1, lwork=int(lwork), overwrite_a=1)
    return Reduction(reflectors, factors, diagonal, off_diagonal)
