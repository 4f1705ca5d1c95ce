"""A block Krylov space of a symmetric matrix, orthogonalised in full, which grows step by step.

The error of single precision is orthogonalised with the product: the projection of the matrix stays exact to rounding.

References
----------
Golub and Underwood, in Mathematical Software III (1977); Golub and Meurant, Matrices, Moments and Quadrature (2010).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, eigh, qr

from stpbnn._slices import slices

__all__ = ["Krylov", "RitzPairs"]

LOST = 1e-13  # size, relative to the first vectors of a block, below which a vector is no new direction
ORTHOGONAL = 1e-12  # the size of a component that counts as none
MOST_TURNS = 4  # one is enough but for vectors of rounding alone
ROWS = 4096  # rows that are rotated at a time


class RitzPairs(NamedTuple):
    """Values θ (k,), rising, vectors S (k, k) in the basis of the space, and the residual |K w − θ w| of each."""

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "k k"]
    residuals: Float[np.ndarray, " k"]


class Krylov:
    """The space of V, K V, K² V, ... with the projection of K on it.

    Parameters
    ----------
    product : callable
        From vectors (P, m) to K times them.
    start : array of shape (P, b)
        V.
    most : int
        The largest number of dimensions; memory is taken as they are used.

    Examples
    --------
    >>> K = np.diag([1.0, 2.0, 3.0])
    >>> space = Krylov(lambda V: K @ V, np.ones((3, 1)), most=3)
    >>> while space.grow():
    ...     pass
    >>> space.pairs().values.round(6)
    array([1., 2., 3.])
    """

    def __init__(self, product: Callable[[np.ndarray], np.ndarray], start: Float[np.ndarray, "P b"], most: int) -> None:
        self.product, self.start = product, start
        self.most = min(most, len(start))
        self.basis = np.empty((len(start), self.most + start.shape[1]), order="F")
        self.projection = np.zeros((0, 0))
        self.remainder = np.zeros((0, 0))  # part of K times the last vectors that lies along the next ones
        self._last = 0
        self._append(start)

    def _append(self, V: Float[np.ndarray, "P b"]) -> None:
        """Put an orthonormal basis of vectors after the others, as far as there is room."""
        Q, R, _ = qr(V, mode="economic", pivoting=True, check_finite=False)
        sizes = np.abs(np.diag(R))
        kept = min(int(np.count_nonzero(sizes > LOST * sizes[:1].max(initial=0.0))), len(V) - self.dimension)
        self.basis[:, self.dimension : self.dimension + kept] = self._beside(Q[:, :kept])
        self._next = kept

    def _beside(self, Q: Float[np.ndarray, "P b"]) -> Float[np.ndarray, "P b"]:
        """Return orthonormal vectors, orthogonal to the space also where small remainders are mostly rounding."""
        for _ in range(MOST_TURNS):
            along = self.coordinates(Q)
            if not np.abs(along).max(initial=0.0) > ORTHOGONAL:
                break
            Q, _ = qr(Q - self.vectors(along), mode="economic", check_finite=False)
        return Q

    @property
    def dimension(self) -> int:
        """The number of vectors that K has been applied to."""
        return len(self.projection)

    @property
    def whole(self) -> bool:
        """Whether nothing of the matrix is outside."""
        return self._next == 0

    def grow(self) -> bool:
        """Apply K to the vectors that come next, and return whether there was room for more."""
        old, new = self.dimension, self.dimension + self._next
        if self.whole or new > self.most:
            return False
        W = np.asfortranarray(self.product(self.basis[:, old:new]))
        size = np.linalg.norm(W)
        coefficients = np.zeros((new, new - old))
        for _ in range(2):  # twice is enough
            along = blas.dgemm(1.0, self.basis[:, :new], W, trans_a=1)
            W = blas.dgemm(-1.0, self.basis[:, :new], along, beta=1.0, c=W, overwrite_c=1)
            coefficients += along
        grown = np.zeros((new, new))
        grown[:old, :old] = self.projection
        grown[:, old:] = coefficients
        grown[old:, :] = coefficients.T
        own = coefficients[old:]
        grown[old:, old:] = (own + own.T) / 2
        self.projection, self._last = grown, old
        if np.linalg.norm(W) > LOST * size:
            self._append(W)
        else:
            self._next = 0
        self.remainder = blas.dgemm(1.0, self.basis[:, new : new + self._next], W, trans_a=1)
        return True

    def pairs(self) -> RitzPairs:
        """Return the Ritz pairs."""
        values, vectors = eigh(self.projection, driver="evd", check_finite=False)
        return RitzPairs(values, vectors, self.outside(vectors))

    def closed(self, pairs: RitzPairs) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n k"]]:
        """Return the values of the rule of Gauss and Radau with nodes at zero, and its vectors along the Ritz vectors.

        The projection of a positive semidefinite matrix is continued to the next vectors by the least that keeps it so.
        For functions whose derivatives alternate in sign this rule and that of the Ritz values lie on either side of
        the truth.
        """
        drawn = self.remainder @ pairs.vectors[self._last :]
        floor = max(-pairs.values[0], np.finfo(np.float64).eps * pairs.values[-1], np.finfo(np.float64).tiny)
        corner = (drawn / np.maximum(pairs.values, floor)) @ drawn.T
        values, vectors = eigh(np.block([[np.diag(pairs.values), drawn.T], [drawn, corner]]), driver="evd")
        return values, vectors[: len(pairs.values)].T

    def outside(self, coordinates: Float[np.ndarray, "k m"]) -> Float[np.ndarray, " m"]:
        """Return the norm of the part of K times vectors of the space that lies outside of it."""
        return np.linalg.norm(self.remainder @ coordinates[self._last :], axis=0)

    def coordinates(self, V: Float[np.ndarray, "P m"]) -> Float[np.ndarray, "k m"]:
        """Return the components of vectors along the basis."""
        return blas.dgemm(1.0, self.basis[:, : self.dimension], V, trans_a=1)

    def vectors(self, coordinates: Float[np.ndarray, "k m"]) -> Float[np.ndarray, "P m"]:
        """Return vectors of the space, given their components along the basis."""
        return blas.dgemm(1.0, self.basis[:, : self.dimension], coordinates)

    def rotated(self, vectors: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "P k"]:
        """Return the basis times a rotation, in the place of the basis: the space cannot grow any more."""
        k, self.most = self.dimension, 0
        for rows in slices(len(self.basis), ROWS):
            self.basis[rows, :k] = blas.dgemm(1.0, self.basis[rows, :k], vectors)
        return self.basis[:, :k]
