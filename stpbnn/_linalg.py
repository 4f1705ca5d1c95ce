"""Products and factors of matrices; large ones are worked in parts.

With several threads and AVX-512, dsyrk of OpenBLAS 0.3.31 to 0.3.34, and dpotrf with it, reads past its buffers from
some 16,000 rows on: numpy.linalg.cholesky ends there with a segmentation fault. Here such matrices are worked a few
thousand rows at a time.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, lapack

from stpbnn._slices import slices

__all__ = ["gram", "inverse_of", "log_det_of", "lower_cholesky", "mirrored"]

LARGE = 8192  # rows from which on a matrix is worked at in parts
LEAF, HALVED = 64, 2048  # rows between which a triangle is inverted by halves: beyond them LAPACK takes less memory


def gram(X: Float[np.ndarray, "P N"]) -> Float[np.ndarray, "P P"]:
    """Return the upper triangle of X X^T, zero below it."""
    if len(X) <= LARGE:
        return blas.dsyrk(1.0, X.T, trans=1, lower=1).T
    upper = np.zeros((len(X), len(X)))
    for rows in slices(len(X), LARGE // 4):
        upper[rows, rows.start :] = np.triu(blas.dgemm(1.0, X[rows.start :].T, X[rows].T, trans_a=1).T)
    return upper


def lower_cholesky(A: Float[np.ndarray, "P P"], clean: bool) -> tuple[Float[np.ndarray, "P P"], int]:
    """Return the Cholesky factor of A, and the order of the leading minor that is not positive, or 0.

    The lower triangle is read, and overwritten where A is in Fortran's order; what is above is made zero if `clean`.
    """
    if len(A) <= LARGE:
        return lapack.dpotrf(A, lower=1, clean=clean, overwrite_a=1)
    A = np.asfortranarray(A)
    for part in slices(len(A), LARGE // 4):
        block, failure = lapack.dpotrf(A[part, part], lower=1, clean=1)
        if failure:
            return A, part.start + failure
        A[part, part] = block
        below = blas.dtrsm(1.0, block, A[part.stop :, part], side=1, lower=1, trans_a=1)
        A[part.stop :, part] = below
        for rest in slices(len(below), LARGE // 4):
            columns = slice(part.stop + rest.start, part.stop + rest.stop)
            A[columns.start :, columns] -= blas.dgemm(1.0, below[rest.start :], below[rest], trans_b=1)
        if clean:
            A[: part.start, part] = 0
    return A, 0


def inverse_of(factor: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return the lower triangle of the inverse of a matrix, given its lower Cholesky factor.

    Examples
    --------
    >>> inverse_of(np.array([[2.0, 0.0], [1.0, 1.0]])).tolist()
    [[0.5, 0.0], [-0.5, 1.0]]
    """
    if len(factor) > HALVED:
        return lapack.dpotri(factor, lower=1)[0]
    return lapack.dlauum(_inverse_triangle(factor), lower=1, overwrite_c=1)[0]


def _inverse_triangle(lower: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return the inverse of a lower triangle: by halves, so that most of the work are products."""
    if len(lower) <= LEAF:
        return lapack.dtrtri(lower, lower=1)[0]
    half, inverse = len(lower) // 16 * 8, np.zeros(lower.shape, order="F")  # whole lines of the cache
    first, last = _inverse_triangle(lower[:half, :half]), _inverse_triangle(lower[half:, half:])
    between = blas.dtrmm(-1.0, last, lower[half:, :half], lower=1)
    inverse[:half, :half], inverse[half:, half:] = first, last
    inverse[half:, :half] = blas.dtrmm(1.0, first, between, side=1, lower=1, overwrite_b=1)
    return inverse


def log_det_of(factor: Float[np.ndarray, "P P"]) -> float:
    """Return log det A of a matrix A, given its Cholesky factor.

    Examples
    --------
    >>> log_det_of(np.diag([1.0, np.e]))
    2.0
    """
    return 2 * float(np.log(np.diag(factor)).sum())


def mirrored(lower: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return the symmetric matrix that has this lower triangle; what is above it is not read.

    Examples
    --------
    >>> mirrored(np.array([[1.0, 9.0], [2.0, 3.0]]))
    array([[1., 2.],
           [2., 3.]])
    """
    full = np.tril(lower)
    full += np.tril(lower, -1).T
    return full
