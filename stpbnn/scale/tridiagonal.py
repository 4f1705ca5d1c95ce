"""Reduction of a kernel to tridiagonal form, K = Q J Q^T with Q kept as LAPACK's reflectors, or to its eigenbasis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal, lapack

__all__ = ["Diagonalisation", "ReducedKernel", "Reduction", "reduce"]


class Reduction(NamedTuple):
    """The reflectors and factors that make up Q, and both diagonals of J."""

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


@dataclass(frozen=True)
class ReducedKernel:
    """K = H J H^T with J tridiagonal or diagonal, targets V and ones in that basis, and the variances T and b.

    Parameters
    ----------
    eigenvalues : array of shape (P,)
        Eigenvalues of K, rising.
    diagonal, off_diagonal : arrays of shape (P,) and (P - 1,)
        Both diagonals of J; the second is zero where the basis is that of the eigenvectors.
    columns : array of shape (P, k)
        H^T V: targets, one column an output, or other vectors that go with them.
    ones : array of shape (P,)
        H^T 1.
    basis : Reduction or Diagonalisation
        H.
    temperature : float
        T, the variance of the noise.
    bias : float
        b, the variance of the output bias.
    exact : bool
        Whether eigenvalues that are zero to rounding are zero: then any scale can be taken.
    multiplicities : array of shape (P,), optional
        How many eigenvalues each node stands for, where H is a basis of a part of the space that holds V and 1.
    """

    eigenvalues: Float[np.ndarray, " P"]
    diagonal: Float[np.ndarray, " P"]
    off_diagonal: Float[np.ndarray, " P-1"]
    columns: Float[np.ndarray, "P k"]
    ones: Float[np.ndarray, " P"]
    basis: Reduction | Diagonalisation
    temperature: float
    bias: float = 0.0
    exact: bool = True
    multiplicities: Float[np.ndarray, " P"] | None = None

    def count(self, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Return the sum over all eigenvalues of a function of them."""
        return values.sum(axis=1) if self.multiplicities is None else values @ self.multiplicities

    @property
    def examples(self) -> int:
        """P, the number of eigenvalues."""
        return len(self.ones) if self.multiplicities is None else round(self.multiplicities.sum())
