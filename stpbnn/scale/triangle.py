r"""Cholesky coordinates of a matrix of Wishart's law: W = L L^T, with log L_jj on the diagonal and L_ij below it.

Under du dL, with :math:`u_j = \log L_{jj}`, the law of N degrees of freedom and mean 1 is

.. math:: -2 \log p(L) = N |L|^2 - 2 \sum_j e_j u_j + \mathrm{const}, \qquad e_j = N - j + 1

(Bartlett); with all :math:`e_j = N` it is that under the invariant measure of W.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln

__all__ = ["Triangle"]


@dataclass(frozen=True)
class Triangle:
    """The coordinates of W (d, d), of N degrees of freedom, with the exponents e of as many columns as L has.

    Examples
    --------
    >>> triangle = Triangle(2, 10.0, np.array([10.0, 9.0]))
    >>> triangle.factor(triangle.coordinates(np.array([[2.0, 0.0], [0.5, 1.0]]))).tolist()
    [[2.0, 0.0], [0.5, 1.0]]
    """

    positions: int
    width: float
    exponents: Float[np.ndarray, " r"]

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of L that are coordinates."""
        rows, columns = np.tril_indices(self.positions)
        kept = columns < len(self.exponents)
        return rows[kept], columns[kept]

    @cached_property
    def _on_diagonal(self) -> np.ndarray:
        rows, columns = self._places
        return rows == columns

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return len(self._places[0])

    def coordinates(self, L: Float[np.ndarray, "d r"]) -> Float[np.ndarray, " k"]:
        """Return the coordinates of a factor L."""
        z = L[self._places]
        z[self._on_diagonal] = np.log(z[self._on_diagonal])
        return z

    def factor(self, z: Float[np.ndarray, "... k"]) -> Float[np.ndarray, "... d r"]:
        """Return L at coordinates z."""
        L = np.zeros((*z.shape[:-1], self.positions, len(self.exponents)))
        L[(..., *self._places)] = np.where(self._on_diagonal, np.exp(np.where(self._on_diagonal, z, 0.0)), z)
        return L

    def prior(self, z: Float[np.ndarray, "... k"]) -> Float[np.ndarray, ...]:
        """Return -2 log p(L) without its constant."""
        squares = np.sum(self.factor(z) ** 2, axis=(-2, -1))
        return self.width * squares - 2 * z[..., self._on_diagonal] @ self.exponents

    @property
    def normalisation(self) -> float:
        """-2 log of the number by which exp(−prior/2) becomes a density in z."""
        e, N = self.exponents, self.width
        of_diagonal = np.sum(2 * gammaln(e / 2) - e * np.log(N / 2) - 2 * np.log(2))
        return float(of_diagonal - (self.size - len(e)) * np.log(N / (2 * np.pi)))

    def log_jacobian(self, L: Float[np.ndarray, "d d"]) -> float:
        """Return half the logarithm of det H in orthonormal coordinates X of W = L exp(X) L^T over det H in z, negated.

        The X have the derivatives 2 and √2 in L^{-1} dL, on the diagonal and below it.
        """
        d, k = self.positions, self.size
        return float(d * np.log(2) + (k - d) * np.log(2) / 2 - np.arange(d) @ np.log(np.diag(L)))

    def gradient(self, L: Float[np.ndarray, "d r"], slope: Float[np.ndarray, "d d"]) -> Float[np.ndarray, " k"]:
        """Return the gradient in z of the prior and of a function of W with this slope."""
        found = 2 * (self.width * L + slope @ L)[self._places]
        found[self._on_diagonal] = found[self._on_diagonal] * np.diag(L) - 2 * self.exponents
        return found

    def sizes(self, L: Float[np.ndarray, "d r"]) -> Float[np.ndarray, " k"]:
        """Return the sizes of the terms that cancel in the gradient where it vanishes."""
        return 2 * self.width * (1 + np.sum(L**2, axis=1))[self._places[0]]

    def _units(self, L: Float[np.ndarray, "d r"]) -> Float[np.ndarray, " k"]:
        """Return the sizes of dL along the coordinates."""
        return np.where(self._on_diagonal, L[self._places], 1.0)

    def moves(self, L: Float[np.ndarray, "d r"]) -> Float[np.ndarray, "k d d"]:
        """Return how W moves along each coordinate."""
        rows, columns = self._places
        found, each = np.zeros((self.size, self.positions, self.positions)), np.arange(self.size)
        along = self._units(L)[:, None] * L[:, columns].T
        found[each, rows, :] += along
        found[each, :, rows] += along
        return found

    def curvature(self, L: Float[np.ndarray, "d r"], slope: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "k k"]:
        """Return the second derivatives in z of the prior and of a linear function of W with this slope."""
        (rows, columns), units = self._places, self._units(L)
        slope = slope + self.width * np.eye(self.positions)
        found = 2 * np.where(columns[:, None] == columns, slope[np.ix_(rows, rows)], 0.0) * np.outer(units, units)
        stretched = 2 * (slope @ L)[self._places] * units
        found[np.diag_indices_from(found)] += np.where(self._on_diagonal, stretched, 0.0)
        return found
