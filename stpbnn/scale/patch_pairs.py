r"""Kernels of pairs of positions, and the one kernel that matrices of order parameters make of them.

.. math:: K(Q) = \sum_l \sum_{ij} Q_{l,ij} M^l_{ij}, \qquad M^l_{ij} = \tfrac12 (K^l_{ij} + K^l_{ji}) / (\lambda_L d)

Q is symmetric, and :math:`K_{ji}(x, x') = K_{ij}(x', x)`: only the parts of :math:`K_{ij}` that are symmetric in the
examples enter, for i ≤ j. Their lower triangles are held, a quarter of all entries, so that K(Q) and the
:math:`\langle B, M_{ij} \rangle` of all pairs are each one product of a matrix and a vector.

References
----------
Aiudi, Pacelli et al., arXiv:2307.11807 (local kernel renormalisation).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, lapack

from stpbnn._linalg import mirrored

Tile = tuple[slice, slice, Sequence[Float[np.ndarray, "d d rows columns"]]]

__all__ = ["PatchPairs", "pair_entries", "pair_weights", "symmetric_pairs"]


def pair_entries(matrices: Sequence[Float[np.ndarray, "... d d"]]) -> Float[np.ndarray, "... m"]:
    """Return the entries i ≤ j of the symmetric matrices of all layers, row by row."""
    return np.concatenate([Q[(..., *np.triu_indices(Q.shape[-1]))] for Q in matrices], axis=-1)


def pair_weights(positions: Sequence[int]) -> Float[np.ndarray, " m"]:
    """Return how often each pair i ≤ j occurs in a sum over i and j: once on the diagonal, else twice."""
    pairs = [np.triu_indices(d) for d in positions]
    return np.concatenate([np.where(rows == columns, 1.0, 2.0) for rows, columns in pairs])


def symmetric_pairs(kernels: Sequence[Float[np.ndarray, "d d n m"]]) -> Float[np.ndarray, "k n m"]:
    """Return the symmetric parts of the kernels K_ij of all layers, for i ≤ j."""
    uppers = [np.triu_indices(len(K)) for K in kernels]
    return np.concatenate([(K[upper] + K[upper[::-1]]) / 2 for K, upper in zip(kernels, uppers, strict=True)])


@dataclass(frozen=True)
class PatchPairs:
    """M_ij on the training set: a row for each pair i ≤ j, with the lower triangle of M_ij row by row.

    Parameters
    ----------
    entries : array of shape (m, P (P + 1) / 2)
        The triangles, the first layer's first: d (d + 1) / 2 of a layer of d positions.
    positions : tuple of int
        d of every layer.
    examples : int
        P.
    """

    entries: Float[np.ndarray, "m n"]
    positions: tuple[int, ...]
    examples: int

    @classmethod
    def of(cls, tiles: Iterable[Tile], positions: tuple[int, ...], examples: int, scale: float) -> PatchPairs:
        """Take up K_ij times a scale, in tiles of some rows and columns that together cover the lower triangle."""
        entries = np.empty((len(pair_weights(positions)), examples * (examples + 1) // 2))
        for rows, columns, values in tiles:
            symmetric = symmetric_pairs(values) * scale
            for place, row in enumerate(range(rows.start, rows.stop)):
                stop = min(row + 1, columns.stop)
                start = row * (row + 1) // 2
                entries[:, start + columns.start : start + stop] = symmetric[:, place, : max(stop - columns.start, 0)]
        return cls(entries, positions, examples)

    @cached_property
    def _lower(self) -> tuple[np.ndarray, np.ndarray]:
        return np.tril_indices(self.examples)

    def matrix(self, triangle: Float[np.ndarray, " n"]) -> Float[np.ndarray, "P P"]:
        """Return the lower triangular matrix with these entries, in Fortran's order, zero above."""
        out = np.zeros((self.examples, self.examples), order="F")
        out[self._lower] = triangle
        return out

    @cached_property
    def _weights(self) -> Float[np.ndarray, " m"]:
        return pair_weights(self.positions)

    def kernel(self, Q: Sequence[Float[np.ndarray, "d d"]]) -> Float[np.ndarray, "P P"]:
        """Return the lower triangle of K(Q)."""
        return self.matrix(self.kernels(pair_entries(Q)))

    def kernels(self, entries: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "... n"]:
        """Return the triangles of K(Q) of matrices given by their entries i ≤ j."""
        return (entries * self._weights) @ self.entries

    def contracted(self, B: Float[np.ndarray, "P P"]) -> list[Float[np.ndarray, "d d"]]:
        """Return Σ_xx' B(x, x') M_ij(x, x') of a symmetric B, whose lower triangle is read, for all i and j."""
        twice = 2 * B
        np.fill_diagonal(twice, np.diag(B))
        found, start, out = self.entries @ twice[self._lower], 0, []
        for d in self.positions:
            upper, stop = np.triu_indices(d), start + d * (d + 1) // 2
            matrix = np.empty((d, d))
            matrix[upper] = matrix.T[upper] = found[start:stop]
            out.append(matrix)
            start = stop
        return out

    def applied(self, vector: Float[np.ndarray, " P"]) -> Float[np.ndarray, "m P"]:
        """Return M_ij times a vector for the pairs i ≤ j."""
        P = self.examples
        return np.array([blas.dspmv(P, 1.0, triangle, vector) for triangle in self.entries])

    def overlaps(self, factor: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "m m"]:
        """Return tr A^{-1} M A^{-1} M' of all pairs of pairs, given the lower Cholesky factor of A."""
        rows, columns = lower = self._lower
        size = np.where(rows == columns, 1.0, np.sqrt(2.0))
        whitened = np.empty_like(self.entries)
        for out, triangle in zip(whitened, self.entries, strict=True):
            white, _ = lapack.dsygst(self.matrix(triangle), factor, itype=1, lower=1, overwrite_a=1)
            out[:] = size * white[lower]
        found = blas.dsyrk(1.0, whitened.T, trans=1, lower=1)
        return mirrored(found)
