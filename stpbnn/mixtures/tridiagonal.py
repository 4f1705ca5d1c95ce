"""One scale of one kernel in tridiagonal form: O(P) a value of the action, without eigenvectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from stpbnn.action.spectral import rounding
from stpbnn.mixtures.scale import Terms

__all__ = ["TridiagonalProblem"]


class TridiagonalProblem(NamedTuple):
    """The problem A(r) = rK + T with K = Q J Q^T: both diagonals of J, its eigenvalues, Q^T y for D outputs, and T.

    Eigenvalues that are rounding, some of them negative, do not count as long as r times them is small beside T. That
    bounds r from above; the posterior does not reach so far unless T is much too small for the targets.
    """

    diagonal: Float[np.ndarray, " P"]
    off_diagonal: Float[np.ndarray, " P-1"]
    eigenvalues: Float[np.ndarray, " P"]
    targets: Float[np.ndarray, "P D"]
    temperature: float

    @property
    def size(self) -> int:
        """The number of targets, P·D."""
        return self.targets.size

    @property
    def highest(self) -> float:
        """The logarithm of the largest scale at which rounding does not count."""
        lost = max(rounding(self.eigenvalues), np.finfo(np.float64).tiny)
        return float(np.log(self.temperature) - np.log(lost))

    @property
    def unreachable(self) -> float:
        """A number that y^T A^{-1} y is known to exceed at any scale: zero."""
        return 0.0

    def solve(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n P D"]:
        """Return Q^T A^{-1} y at an array of u = log scale."""
        return np.stack([self._solve(r) for r in np.exp(u)])

    def _solve(self, r: float) -> Float[np.ndarray, "P D"]:
        diagonal = r * self.diagonal + self.temperature
        if len(diagonal) == 1:
            return self.targets / diagonal[:, None]
        *_, solution, failure = lapack.dptsv(diagonal, r * self.off_diagonal, self.targets)
        if failure:
            raise np.linalg.LinAlgError("the kernel plus temperature is singular")
        return solution

    def terms(self, u: Float[np.ndarray, " n"]) -> Terms:
        """Return the terms of the action that depend on the data, at an array of u = log scale."""
        if u.max() > self.highest:
            raise np.linalg.LinAlgError("the kernel is lost to rounding at this scale")
        scaled = np.outer(np.exp(u), self.eigenvalues)
        shifted = scaled + self.temperature
        alpha, D = self.solve(u), self.targets.shape[1]
        J_alpha = self.diagonal[:, None] * alpha
        J_alpha[:, :-1] += self.off_diagonal[:, None] * alpha[:, 1:]
        J_alpha[:, 1:] += self.off_diagonal[:, None] * alpha[:, :-1]
        return Terms(
            D * np.log(shifted).sum(axis=1),
            np.einsum("npd,pd->n", alpha, self.targets),
            D * (scaled / shifted).sum(axis=1),
            np.exp(u) * np.einsum("npd,npd->n", alpha, J_alpha),
        )
