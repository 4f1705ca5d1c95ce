r"""One kernel and its targets, ready for :math:`B(r)^{-1}` at any scale, :math:`B(r) = r K + b\, 11^T + T\,1`.

After one tridiagonalisation, or one diagonalisation, of K every value and slope of the action costs O(P) a scale, and
the means and variances of f at all scales and query points are a few matrix products.

References
----------
Theory notes, sections 3 and 4: the action (4.1) of one scale, and the predictions (4.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stpbnn.predictive import relative_rounding
from stpbnn.scale.design import Query
from stpbnn.scale.leave_one_out import Resolved
from stpbnn.scale.response import Response
from stpbnn.scale.tridiagonal import Diagonalisation, ReducedKernel, reduce

__all__ = ["Moments", "Resolvent", "rounding"]

BEYOND = 300.0  # log of a scale beside which nothing else counts


class Moments(NamedTuple):
    """Means (n, q[, D]), variances (n, q) and, if asked for, covariances (n, q, q) of f at q query points.

    `prior` are the variances before conditioning, whose rounding the others have.
    """

    means: Float[np.ndarray, "n q ..."]
    variances: Float[np.ndarray, "n q"]
    covariances: Float[np.ndarray, "n q q"] | None
    prior: Float[np.ndarray, "n q"]

    def beside(self, query: Query) -> Moments:
        """Return the same with the trend of query points, and with the noise of its coefficients."""
        covariances = None if self.covariances is None else self.covariances + query.noise
        return Moments(self.means + query.trend, self.variances + query.noise_variances, covariances, self.prior)

    def error(self, noise: float = 0.0) -> float:
        """Return the largest relative error of the covariances with noise of that variance."""
        pairs = zip(self.prior, self.variances, strict=True)
        return max(relative_rounding(before, after + noise) for before, after in pairs)


def rounding(eigenvalues: Float[np.ndarray, " P"], temperature: float) -> float:
    """Return the size below which an eigenvalue of a kernel is zero to rounding; eigenvalues rise.

    Those of singular kernels come out as two or three ε|K| at most, whatever their number. At T = 0 everything rests on
    the smallest of them, which must stand well above that.
    """
    P = len(eigenvalues)
    units = max(4.0, np.sqrt(P)) if temperature > 0 else max(4, P)
    return float(units * np.finfo(np.float64).eps * eigenvalues[-1])


def without_rounding(k: Float[np.ndarray, " P"], temperature: float) -> Float[np.ndarray, " P"]:
    """Return eigenvalues with those that are zero to rounding set to zero."""
    return np.where(k > rounding(k, temperature), k, 0.0)


class Resolvent(ReducedKernel):
    """A reduced kernel that is taken at scales: its responses, coefficients and moments."""

    @classmethod
    def spectral(
        cls, K: np.ndarray, V: np.ndarray, temperature: float, bias: float = 0.0, *, ones: np.ndarray | None = None
    ) -> Resolvent:
        """Return the resolvent in the eigenbasis of K: the form that gives variances and derivatives.

        What the output bias is multiplied by is `ones`, by default one at every example.
        """
        k, U = eigh(K, driver="evd", check_finite=False)
        return cls._diagonal(without_rounding(k, temperature), U, V, temperature, bias, ones)

    @classmethod
    def tridiagonal(
        cls,
        K: np.ndarray,
        V: np.ndarray,
        temperature: float,
        bias: float = 0.0,
        *,
        exact: bool = True,
        ones: np.ndarray | None = None,
    ) -> Resolvent:
        """Return the resolvent in a basis in which K is tridiagonal: a quarter of the cost of a diagonalisation.

        The lower triangle of K is read, and overwritten where K is in Fortran's order. A kernel that is singular to
        rounding is diagonalised if `exact`: in its null space only the eigenbasis tells zero from rounding.
        """
        basis = reduce(K)
        k = basis.eigenvalues
        if exact and len(k) > 1 and not k[0] > rounding(k, temperature):
            return cls._diagonal(without_rounding(k, temperature), basis.eigenvectors, V, temperature, bias, ones)
        columns, ones = _split(basis.rotate(_with_ones(V, ones), transpose=True))
        return cls(k, basis.diagonal, basis.off_diagonal, columns, ones, basis, temperature, bias, exact)

    @classmethod
    def _diagonal(
        cls,
        k: np.ndarray,
        U: np.ndarray,
        V: np.ndarray,
        temperature: float,
        bias: float,
        ones: np.ndarray | None,
    ) -> Resolvent:
        columns, ones = _split(U.T @ _with_ones(V, ones))
        return cls(k, k, np.zeros(len(k) - 1), columns, ones, Diagonalisation(U), temperature, bias)

    @cached_property
    def diagonalised(self) -> Resolvent:
        """The same resolvent in the eigenbasis of K; zero eigenvalues are told from rounding."""
        if isinstance(self.basis, Diagonalisation):
            return self
        V, ones = _split(self.basis.rotate(np.column_stack([self.columns, self.ones])))
        k = without_rounding(self.eigenvalues, self.temperature)
        return self._diagonal(k, self.basis.eigenvectors, V, self.temperature, self.bias, ones)

    def with_columns(self, columns: Float[np.ndarray, "P k"]) -> Resolvent:
        """Return the resolvent with other vectors, given in its basis."""
        return replace(self, columns=columns)

    @property
    def eigenvectors(self) -> Float[np.ndarray, "P n"]:
        """Eigenvectors of K, as columns."""
        return self.basis.eigenvectors

    @property
    def size(self) -> int:
        """The number of targets, P times the number of columns."""
        return self.examples * self.columns.shape[1]

    @property
    def highest(self) -> float:
        """The largest u = log r at which the rounding of K does not count beside T."""
        if self.exact:
            return np.inf
        lost = max(rounding(self.eigenvalues, self.temperature), np.finfo(np.float64).tiny)
        if self.multiplicities is not None:  # single precision shows in eigenvalues that should be zero
            lost = max(lost, -2 * self.eigenvalues[0])
        return float(np.log(self.temperature) - np.log(lost))

    @cached_property
    def unreachable(self) -> float:
        """What y^T B^{-1} y exceeds at any scale: the targets in the null space of K, if that is known."""
        return float(self.at(np.array([BEYOND])).misfit[0]) if self.exact else 0.0

    def at(self, u: Float[np.ndarray, " n"]) -> Response:
        """Return the resolvent at scales r = e^u.

        Raises
        ------
        numpy.linalg.LinAlgError
            If rK + T is not positive definite to working precision.
        """
        if u.max() > self.highest:
            raise np.linalg.LinAlgError("the kernel is lost to rounding at this scale")
        response = Response(self, np.exp(u))
        if not response.shifted.min() > 0:
            raise np.linalg.LinAlgError("the kernel plus temperature is singular")
        return response

    def coefficients(self, u: float) -> Float[np.ndarray, "P k"]:
        """Return B^{-1} V at one scale, in the basis of the examples.

        Raises
        ------
        numpy.linalg.LinAlgError
            If B is singular to working precision.
        """
        response = Response(self, np.exp(np.array([u])))
        lowest, highest = response.shifted.min(), response.shifted.max()
        if not lowest > np.finfo(np.float64).eps * highest:
            raise np.linalg.LinAlgError(f"condition number above {highest / max(lowest, 1e-300):.0e}")
        return self.basis.rotate(response.alpha[0])

    def resolved(self, u: Float[np.ndarray, " n"], expand: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Resolved:
        """Return B^{-1} V (n, P, k) and the diagonal of B^{-1} (n, P), in the basis of the examples.

        Where these have a trend and K is that of their contrasts, `expand` takes contrasts to examples.
        """
        of = self.diagonalised
        at, U = of.at(u), expand(of.eigenvectors)
        alpha = np.moveaxis(np.tensordot(U, at.alpha, (1, 1)), 0, 1)
        return Resolved(alpha, (1 / at.shifted) @ U.T**2 - at.beta[:, None] * (at.g @ U.T) ** 2)

    def projected(self, cross: Float[np.ndarray, "q P"], *, joint: bool = False) -> tuple[np.ndarray, Any]:
        """Return K between query points and training points times the eigenvectors, and the squares of what is left.

        That is nothing where the eigenvectors are a whole basis; `joint` products instead of squares.
        """
        of = self.diagonalised
        inside = cross @ of.eigenvectors
        if self.multiplicities is None:
            return inside, 0.0
        if joint:
            return inside, cross @ cross.T - inside @ inside.T
        return inside, np.maximum(np.einsum("qp,qp->q", cross, cross) - np.einsum("qk,qk->q", inside, inside), 0.0)

    def moments(
        self,
        u: Float[np.ndarray, " n"],
        projected: Float[np.ndarray, "q P"],
        variances: Float[np.ndarray, " q"],
        within: Float[np.ndarray, "q q"] | None = None,
        outside: Any = 0.0,
    ) -> Moments:
        """Return mean (n, q, k) and variance (n, q) of f at every query point and scale; with `within`, covariances.

        Parameters
        ----------
        u : array of shape (n,)
            Logarithms of the scales.
        projected : array of shape (q, P)
            K between query points and training points, times the eigenvectors; scale and output bias are put in here.
        variances : array of shape (q,)
            K of each query point with itself.
        within : array of shape (q, q), optional
            K between the query points.
        outside : array of shape (q,) or (q, q), or 0
            The squares of what the eigenvectors leave of K to the training points, or their products.
        """
        at, b = self.diagonalised.at(u), self.bias
        r, p, s = at.scales[:, None], 1 + at.overlap[:, None], 1 / at.shifted
        stacked = at.alpha.transpose(1, 0, 2)
        means = (projected @ stacked.reshape(len(stacked), -1)).reshape(len(projected), *stacked.shape[1:])
        means = r[:, :, None] * means.transpose(1, 0, 2) + b * (self.diagonalised.ones @ at.alpha)[:, None, :]
        # k = r K_x + b 1:  k·B^{-1} k' = r² x·s x' + r b (x + x')·g + b² 1·g − b (k·g)(k'·g)/p, b 1·g = p − 1
        along = at.g @ projected.T
        reached = r * along + (p - 1)
        explained = r**2 * (s @ projected.T**2) + b * (2 * r * along + (p - 1) - reached**2 / p)
        left = r**2 * at.outside[:, None]
        explained += left * (np.diag(outside) if np.ndim(outside) == 2 else outside)
        prior = r * variances + b
        spread = np.maximum(prior - explained, 0)
        if within is None:
            return Moments(means, spread, None, prior)
        covariances = np.empty((len(u), *within.shape))
        for i in range(len(u)):
            root = projected * np.sqrt(s[i])
            bias = along[i][:, None] * r[i] + along[i] * r[i] + (p[i] - 1) - np.outer(reached[i], reached[i]) / p[i]
            covariances[i] = r[i] * within + b - r[i] ** 2 * (root @ root.T) - b * bias - left[i] * outside
        return Moments(means, spread, covariances, prior)


def _with_ones(V: Float[np.ndarray, "P k"], ones: Float[np.ndarray, " P"] | None) -> Float[np.ndarray, "P m"]:
    return np.column_stack([V, np.ones(len(V)) if ones is None else ones])


def _split(rotated: Float[np.ndarray, "P m"]) -> tuple[Float[np.ndarray, "P k"], Float[np.ndarray, " P"]]:
    return rotated[:, :-1], rotated[:, -1]
