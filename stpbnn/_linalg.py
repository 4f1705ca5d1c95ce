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

__all__ = ["gram", "log_det_of", "lower_cholesky", "mirrored"]

LARGE = 8192  # rows from which on a matrix is worked at in parts


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
