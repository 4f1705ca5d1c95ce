r"""A Gaussian that stands for the posterior of latent functions: its law at new inputs, its weights on the kernel.

W is what the examples say together. With the mean f = K a and :math:`M = (K + W^{-1})^{-1}`, covariances are
k − k M k^T, and the evidence changes with the kernel as

.. math:: d \log Z = \langle \tfrac12 [a a^T - M + v a^T + a v^T],\, dK \rangle

summed over outputs, with v = 0 where log Z is stationary in all but the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas

from stpbnn._linalg import lower_cholesky

__all__ = ["LatentGaussian", "positive_factor", "scaled_factor"]

Latent = Float[np.ndarray, "P ..."]
Square = Float[np.ndarray, "P P"]


def positive_factor(A: Square) -> Square:
    """Return the lower Cholesky factor of A, which is overwritten; LinAlgError where A is not positive definite."""
    factor, failure = lower_cholesky(A, clean=False)
    if failure:
        raise np.linalg.LinAlgError("the kernel is not positive semidefinite")
    return factor


def scaled_factor(K: Square, root: Float[np.ndarray, " P"]) -> Square:
    """Return the lower Cholesky factor of B = 1 + S K S, with S the diagonal matrix of these roots."""
    B = K * root[:, None]
    B *= root
    B[np.diag_indices_from(B)] += 1
    return positive_factor(B)


@dataclass(frozen=True)
class LatentGaussian:
    """An approximation of the posterior of latent functions.

    Parameters
    ----------
    kernel : array of shape (P, P)
        K, its lower triangle.
    a, f : arrays of shape (P,) or (P, C)
        The mean f = K a.
    residual : float
        How far the search is from its end.
    curvature : Curvature
        W and K.
    """

    kernel: Square
    a: Latent
    f: Latent
    residual: float
    curvature: Any

    accuracy: ClassVar[float]  # the residual above which something went wrong

    @property
    def converged(self) -> bool:
        """Whether the search has converged."""
        return self.residual < self.accuracy

    @property
    def pull(self) -> Latent | None:
        """The vector v: what log Z gains where a changes with the kernel; None where that is nothing."""
        return None

    def kernel_weights(self) -> Square:
        """Return the derivative of log Z in the entries of K: weights on its lower triangle, which count for both."""
        a, v = self.a.reshape(len(self.kernel), -1), self.pull
        weights = np.asfortranarray(self.curvature.diagonal_blocks())
        weights = blas.dsyrk(1.0, a, beta=-1.0, c=weights, lower=1, overwrite_c=1)
        if v is not None:
            weights = blas.dsyr2k(1.0, a, v.reshape(a.shape), beta=1.0, c=weights, lower=1, overwrite_c=1)
        weights = np.tril(weights)
        weights[np.diag_indices_from(weights)] /= 2
        return weights

    def law(
        self, cross: Float[np.ndarray, "n P"], variances: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
        """Return mean and variance of f at query points: (n,) and (n,), or (n, C) and covariances (n, C, C).

        Parameters
        ----------
        cross : array of shape (n, P)
            The kernel between query points and training points.
        variances : array of shape (n,)
            The kernel of each query point with itself.
        """
        mean, explained = cross @ self.a, self.curvature.explained(cross)
        if mean.ndim == 1:
            return mean, np.maximum(variances - explained, 0)
        return mean, variances[:, None, None] * np.eye(mean.shape[1]) - explained
