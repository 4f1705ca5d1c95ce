r"""The effective action of a matrix of order parameters, one for each pair of positions, in Cholesky coordinates.

.. math::
    S(Q) = N (\mathrm{tr}\,Q - \log\det Q) + \log\det A + y^T A^{-1} y, \qquad A = K(Q) + b\, 11^T + T\,1

Given its readout weights v, a linear network of one convolutional layer with N channels and d positions is a Gaussian
process of the kernel K(Q), :math:`Q_{ij} = \tfrac1N \sum_a v_{ai} v_{aj}`. Hence :math:`Q \sim W_d(N, 1/N)`, a Wishart
matrix, and S is -2 log p(Q, y) under the invariant measure :math:`\mathrm{d}Q\,\det Q^{-(d+1)/2}`. With Q = L L^T and
:math:`u_j = \log L_{jj}` (Bartlett's decomposition) the same law under du dL reads

.. math:: -2 \log p(L, y) = N |L|^2 - 2 \sum_j e_j u_j + \log\det A + y^T A^{-1} y, \qquad e_j = N - j + 1,

for j from 1 to min(N, d), the columns that L has; S is the same function with all :math:`e_j = N`.

References
----------
Aiudi, Pacelli et al., arXiv:2307.11807; theory notes, section 4.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from stpbnn._linalg import lower_cholesky
from stpbnn.scale.patch_pairs import PatchPairs, pair_entries, pair_weights
from stpbnn.scale.saddle_point import gaussian_log_evidence, laplace

__all__ = ["LocalAction", "LocalTerms", "of_invariant_measure", "of_wishart"]

TOGETHER = 2**22  # entries of kernels that are held at a time


def of_invariant_measure(width: int, positions: int) -> Float[np.ndarray, " d"]:
    """Return the exponents e of the action, whose minimum is the saddle point."""
    return np.full(positions, float(width))


def of_wishart(width: int, positions: int) -> Float[np.ndarray, " r"]:
    """Return the exponents e of the law of L, in which it is sampled."""
    return width - np.arange(min(width, positions), dtype=np.float64)


class LocalTerms(NamedTuple):
    """The action at one L, with its gradient in the coordinates and what was factorised."""

    value: float
    gradient: Float[np.ndarray, " k"]
    L: Float[np.ndarray, "d r"]
    slope: Float[np.ndarray, "d d"]  # N + the derivative of the data's part in Q
    factor: Float[np.ndarray, "P P"]
    alpha: Float[np.ndarray, " P"]
    residual: float  # the size of the gradient, relative to N (Q + 1)

    @property
    def order_parameters(self) -> Float[np.ndarray, "d d"]:
        """The order parameters."""
        return self.L @ self.L.T


@dataclass(frozen=True)
class LocalAction:
    """The action of a training set as a function of z: log L_jj on the diagonal, and L_ij below it.

    Parameters
    ----------
    pairs : PatchPairs
        M_ij.
    y : array of shape (P,)
        Targets.
    temperature, bias : float
        T and b.
    width : int
        N.
    exponents : array of shape (r,)
        e; as many as L has columns.
    """

    pairs: PatchPairs
    y: Float[np.ndarray, " P"]
    temperature: float
    bias: float
    width: int
    exponents: Float[np.ndarray, " r"]

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of L that are coordinates."""
        rows, columns = np.tril_indices(self.pairs.positions)
        kept = columns < len(self.exponents)
        return rows[kept], columns[kept]

    @cached_property
    def _on_diagonal(self) -> np.ndarray:
        rows, columns = self._places
        return rows == columns

    def coordinates(self, L: Float[np.ndarray, "d r"]) -> Float[np.ndarray, " k"]:
        """Return z of a factor L."""
        z = L[self._places]
        z[self._on_diagonal] = np.log(z[self._on_diagonal])
        return z

    def factors(self, z: Float[np.ndarray, "... k"]) -> Float[np.ndarray, "... d r"]:
        """Return L at coordinates z."""
        L = np.zeros((*z.shape[:-1], self.pairs.positions, len(self.exponents)))
        L[(..., *self._places)] = np.where(self._on_diagonal, np.exp(np.where(self._on_diagonal, z, 0.0)), z)
        return L

    def order_parameters(self, z: Float[np.ndarray, " k"]) -> Float[np.ndarray, "d d"]:
        """Return the order parameters at coordinates z."""
        L = self.factors(z)
        return L @ L.T

    def prior(self, z: Float[np.ndarray, "... k"]) -> Float[np.ndarray, ...]:
        """Return the prior's part of the action."""
        L = self.factors(z)
        return self.width * np.sum(L**2, axis=(-2, -1)) - 2 * z[..., self._on_diagonal] @ self.exponents

    def conditioned(self, Q: Float[np.ndarray, "d d"]) -> tuple[Float[np.ndarray, "P P"], Float[np.ndarray, " P"]]:
        """Return the lower Cholesky factor of A and A^{-1} y; raise LinAlgError where A is not positive definite."""
        return self._factorised(self.pairs.kernels(pair_entries(Q)))

    def _factorised(
        self, triangle: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, "P P"], Float[np.ndarray, " P"]]:
        A = self.pairs.matrix(triangle + self.bias)
        A[np.diag_indices_from(A)] += self.temperature
        factor, failure = lower_cholesky(A, clean=True)
        if failure:
            raise np.linalg.LinAlgError(f"the leading minor of order {failure} is not positive")
        return factor, lapack.dpotrs(factor, self.y, lower=1)[0]

    def log_evidence(self, at: LocalTerms, hessian: Float[np.ndarray, "k k"]) -> float:
        """Return log p(y) at a minimum of the action, with the Gaussian fluctuation of log Q.

        In the coordinates X of Q = L exp(X) L^T, orthonormal ones, the prior's Hessian at Q = 1 is N; of those X has
        the derivatives 2 and √2 in L^{-1} dL, on the diagonal and below it.
        """
        d, N = self.pairs.positions, float(self.width)
        k, order = d * (d + 1) // 2, np.arange(d)
        jacobian = d * np.log(2) + (k - d) * np.log(2) / 2 - order @ np.log(np.diag(at.L))
        scaled = laplace(at.value, hessian, np.full(k, N), N * d, len(self.y))
        return scaled + float(jacobian)

    def log_likelihoods(self, L: Float[np.ndarray, "n d r"]) -> Float[np.ndarray, " n"]:
        """Return log N(y; 0, A) at each L; minus infinity where A is not positive definite."""
        found, size = np.full(len(L), -np.inf), max(1, TOGETHER // self.pairs.entries.shape[1])
        for start in range(0, len(L), size):
            part = L[start : start + size]
            triangles = self.pairs.kernels(pair_entries(part @ np.swapaxes(part, -1, -2)))
            for i, triangle in enumerate(triangles, start):
                with contextlib.suppress(np.linalg.LinAlgError):
                    factor, alpha = self._factorised(triangle)
                    log_det, quadratic = 2 * float(np.log(np.diag(factor)).sum()), float(self.y @ alpha)
                    found[i] = gaussian_log_evidence(log_det, quadratic, len(self.y))
        return found

    def at(self, z: Float[np.ndarray, " k"]) -> LocalTerms:
        """Return the action at z and its gradient."""
        L, N = self.factors(z), self.width
        Q = L @ L.T
        factor, alpha = self.conditioned(Q)
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse -= np.outer(alpha, alpha)
        slope = N * np.eye(len(Q)) + self.pairs.contracted(inverse)
        value = self.prior(z) + 2 * np.log(np.diag(factor)).sum() + self.y @ alpha
        gradient = 2 * (slope @ L)[self._places]
        gradient[self._on_diagonal] = gradient[self._on_diagonal] * np.diag(L) - 2 * self.exponents
        sizes = 2 * N * (1 + np.diag(Q)[self._places[0]])  # of the terms that cancel
        residual = float(np.abs(gradient / sizes).max())
        return LocalTerms(float(value), gradient, L, slope, factor, alpha, residual)

    def hessian(self, at: LocalTerms) -> Float[np.ndarray, "k k"]:
        """Return the Hessian of the action in z."""
        rows, columns = self._places
        L, d = at.L, self.pairs.positions
        size = np.where(self._on_diagonal, L[self._places], 1.0)  # of dL
        moves = np.zeros((len(rows), d, d))  # of Q
        each = np.arange(len(rows))
        moves[each, rows, :] += size[:, None] * L[:, columns].T
        moves[each, :, rows] += size[:, None] * L[:, columns].T
        entries = pair_entries(moves) * pair_weights(d)
        pulled = self.pairs.applied(at.alpha)
        white = lapack.dtrtrs(at.factor, pulled.T, lower=1)[0]
        curvature = 2 * white.T @ white - self.pairs.overlaps(at.factor)
        same = columns[:, None] == columns
        hessian = entries @ curvature @ entries.T
        hessian += 2 * np.where(same, at.slope[np.ix_(rows, rows)], 0.0) * np.outer(size, size)
        stretched = 2 * (at.slope @ L)[self._places] * size
        hessian[np.diag_indices_from(hessian)] += np.where(self._on_diagonal, stretched, 0.0)
        return (hessian + hessian.T) / 2
