r"""The resolvent of one kernel at given scales: solves, log determinant, traces and quadratic forms.

With :math:`D = r K` and :math:`B = D + b\, 11^T + T\,1` the bias is a rank-one term of the inverse,

.. math:: B^{-1} = M^{-1} - \beta\, g g^T, \qquad M = D + T\,1, \quad g = M^{-1} 1, \quad \beta = b / (1 + b\, 1^T g),

which is derived here and nowhere else.

References
----------
Theory notes, section 4: the terms of the action (4.1) that depend on the data, and their derivatives in u = log r.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, lapack

from stpbnn._linalg import mirrored
from stpbnn.scale.tridiagonal import Diagonalisation, ReducedKernel

__all__ = ["Response", "Slopes"]


class Slopes(NamedTuple):
    """Derivatives of the log evidence in the entries of K (the lower triangle is stored), in T and in b."""

    lower: Float[np.ndarray, "P P"]
    temperature: float
    bias: float

    @property
    def kernel(self) -> Float[np.ndarray, "P P"]:
        """The whole matrix."""
        return mirrored(self.lower)

    def in_logarithms(self, of_kernel: Float[np.ndarray, " n"], T: float, b: float) -> Float[np.ndarray, " n+1"]:
        """Return the slopes in the logarithms of the precisions, that of the bias last, and of the temperature."""
        if b:  # the bias has the variance b = 1/λ_b
            of_kernel = np.append(of_kernel[:-1], of_kernel[-1] - b * self.bias)
        return np.append(of_kernel, T * self.temperature)


@dataclass(frozen=True)
class Response:
    """B(r)^{-1} at scales r (n,), in the basis of the resolvent; with D = rK, each quantity is made when asked for."""

    of: ReducedKernel
    scales: Float[np.ndarray, " n"]

    @cached_property
    def _scaled(self) -> Float[np.ndarray, "n P"]:
        return np.outer(self.scales, self.of.eigenvalues)

    @cached_property
    def shifted(self) -> Float[np.ndarray, "n P"]:
        """Eigenvalues of M = rK + T."""
        return self._scaled + self.of.temperature

    @cached_property
    def g(self) -> Float[np.ndarray, "n P"]:
        """M^{-1} 1."""
        return self._divide(self.of.ones[:, None])[:, :, 0]

    @cached_property
    def overlap(self) -> Float[np.ndarray, " n"]:
        """The number b 1^T M^{-1} 1."""
        return self.of.bias * (self.g @ self.of.ones)

    @cached_property
    def beta(self) -> Float[np.ndarray, " n"]:
        """The number β of the rank-one term of B^{-1}."""
        return self.of.bias / (1 + self.overlap)

    def _divide(self, V: np.ndarray) -> Float[np.ndarray, "n P k"]:
        """Return M^{-1} V, for V (P, k) or (n, P, k)."""
        V = np.broadcast_to(V, (len(self.scales), *V.shape[-2:]))
        if isinstance(self.of.basis, Diagonalisation) or len(self.of.diagonal) == 1:
            return V / (np.outer(self.scales, self.of.diagonal) + self.of.temperature)[:, :, None]
        solved = np.empty(V.shape)
        for i, r in enumerate(self.scales):
            *_, solved[i], failed = lapack.dptsv(
                r * self.of.diagonal + self.of.temperature, r * self.of.off_diagonal, V[i]
            )
            if failed:
                raise np.linalg.LinAlgError("the kernel plus temperature is singular")
        return solved

    def solve(self, V: np.ndarray) -> Float[np.ndarray, "n P k"]:
        """Return B^{-1} V, for V (P, k) or (n, P, k)."""
        Z = self._divide(V)
        if self.of.bias:
            Z = Z - (self.beta[:, None] * self.g)[:, :, None] * (self.g[:, None, :] @ V)
        return Z

    def multiply(self, Z: Float[np.ndarray, "n P k"]) -> Float[np.ndarray, "n P k"]:
        """Return D Z."""
        product = self.of.diagonal[:, None] * Z
        if not isinstance(self.of.basis, Diagonalisation):
            product[:, :-1] += self.of.off_diagonal[:, None] * Z[:, 1:]
            product[:, 1:] += self.of.off_diagonal[:, None] * Z[:, :-1]
        return self.scales[:, None, None] * product

    @cached_property
    def alpha(self) -> Float[np.ndarray, "n P k"]:
        """B^{-1} V."""
        return self.solve(self.of.columns)

    @cached_property
    def _drawn_alpha(self) -> Float[np.ndarray, "n P k"]:
        return self.multiply(self.alpha)

    @cached_property
    def _drawn_g(self) -> Float[np.ndarray, "n P 1"]:
        return self.multiply(self.g[:, :, None])

    @cached_property
    def _bias_pull(self) -> Float[np.ndarray, " n"]:
        return self.beta * np.einsum("np,np->n", self.g, self._drawn_g[:, :, 0])

    @cached_property
    def log_det(self) -> Float[np.ndarray, " n"]:
        """The logarithm of det B."""
        log_det = self.of.count(np.log(self.shifted))
        return log_det + np.log1p(self.overlap) if self.of.bias else log_det

    @cached_property
    def freedom(self) -> Float[np.ndarray, " n"]:
        """The trace of B^{-1} D, the slope of log det B in u."""
        share = self.of.count(self._scaled / self.shifted)
        return share - self._bias_pull if self.of.bias else share

    @cached_property
    def freedom_squared(self) -> Float[np.ndarray, " n"]:
        """The trace of (B^{-1} D)²: `freedom` minus it is the second derivative of log det B in u."""
        squares = self.of.count((self._scaled / self.shifted) ** 2)
        if not self.of.bias:
            return squares
        crossed = np.einsum("np,np->n", self._drawn_g[:, :, 0], self._divide(self._drawn_g)[:, :, 0])
        return squares + self._bias_pull**2 - 2 * self.beta * crossed

    @cached_property
    def outside(self) -> Float[np.ndarray, " n"]:
        """The mean of M^{-1} outside of the basis, where it is a part, by the squares of the eigenvalues there."""
        if self.of.multiplicities is None:
            return np.zeros(len(self.scales))
        weights = np.maximum(self.of.multiplicities - 1, 0) * self.of.eigenvalues**2
        return (1 / self.shifted) @ (weights / (weights.sum() or 1.0))

    @cached_property
    def quadratic(self) -> Float[np.ndarray, "n k k"]:
        """V^T B^{-1} V."""
        return self.of.columns.T @ self.alpha

    @cached_property
    def pull(self) -> Float[np.ndarray, "n k k"]:
        """V^T B^{-1} D B^{-1} V: the fall of V^T B^{-1} V in u."""
        return self.alpha.transpose(0, 2, 1) @ self._drawn_alpha

    @cached_property
    def bend(self) -> Float[np.ndarray, "n k k"]:
        """V^T B^{-1} D B^{-1} D B^{-1} V."""
        return self._drawn_alpha.transpose(0, 2, 1) @ self.solve(self._drawn_alpha)

    @property
    def misfit(self) -> Float[np.ndarray, " n"]:
        """The term y^T B^{-1} y of the action (4.1), summed over columns."""
        return np.trace(self.quadratic, axis1=1, axis2=2)

    @property
    def fall(self) -> Float[np.ndarray, " n"]:
        """The fall of the misfit in u, summed over columns."""
        return np.trace(self.pull, axis1=1, axis2=2)

    @property
    def rise(self) -> Float[np.ndarray, " n"]:
        """The rise of all log determinants in u: one for each column."""
        return self.of.columns.shape[1] * self.freedom

    @property
    def value(self) -> Float[np.ndarray, " n"]:
        """The data's part of the action (4.1), log det B + y^T B^{-1} y: −2 log p(V | r) without its P log 2π."""
        return self.of.columns.shape[1] * self.log_det + self.misfit

    @property
    def slope(self) -> Float[np.ndarray, " n"]:
        """The derivative of `value` in u."""
        return self.rise - self.fall

    @property
    def curvature(self) -> Float[np.ndarray, " n"]:
        """The second derivative of `value` in u."""
        bent = np.trace(self.bend, axis1=1, axis2=2)
        return self.slope - self.of.columns.shape[1] * self.freedom_squared + 2 * bent

    def lost(self, mass: Float[np.ndarray, " n"], squares: Float[np.ndarray, " n"] | None = None) -> float:
        r"""Return by how much the rounding of K may have changed the log evidence, averaged over scales.

        .. math:: \tfrac12\, E\, |\alpha^T r\,\delta K\, \alpha - \mathrm{tr}\, B^{-1} r\,\delta K|, \qquad
                  |\delta K| \approx \epsilon |K|

        It matters where T is below the scatter that K cannot fit: r then grows until r ε |K| is of the size of T.

        Parameters
        ----------
        mass : array of shape (n,)
            The probability of each scale.
        squares : array of shape (n,), optional
            |α|² of other vectors than B^{-1} V.
        """
        squares = np.sum(self.alpha**2, axis=(1, 2)) if squares is None else squares
        traces = np.sqrt(self.of.count(self.shifted**-2.0))
        size = np.finfo(np.float64).eps * np.sqrt(self.of.examples) * self.of.eigenvalues[-1]
        return float(size / 2 * ((mass * self.scales) @ (squares + traces)))

    def slopes(
        self,
        mass: Float[np.ndarray, " n"],
        others: tuple[Float[np.ndarray, "m P"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]] | None = None,
        frame: Float[np.ndarray, "q P"] | None = None,
    ) -> Slopes:
        r"""Return the average over scales of the slopes of log N(V; 0, B), by the weight ½ Σ (α α^T − B^{-1}).

        Parameters
        ----------
        mass : array of shape (n,)
            The probability of each scale.
        others : tuple of arrays of shape (m, P), (m,) and (m,), optional
            Vectors α of one output in the place of B^{-1} V, the probability of each, and its scale.
        frame : array of shape (q, P), optional
            Vectors k U between which the weight on K is taken, k·(…) k'; by default the examples, U itself.
        """
        of, U = self.of, self.of.basis.eigenvectors if frame is None else frame
        outputs = 1 if others else of.columns.shape[1]
        alpha = self.alpha.transpose(0, 2, 1).reshape(-1, len(of.ones))
        alpha, weights, scales = others or (alpha, np.repeat(mass, outputs), np.repeat(self.scales, outputs))
        s, drawn = 1 / self.shifted, mass * self.scales
        vectors = np.sqrt(weights * scales)[:, None] * alpha
        trace, of_ones = s.sum(axis=1), self.g @ of.ones
        if of.bias:
            vectors = np.vstack([vectors, np.sqrt(outputs * drawn * self.beta)[:, None] * self.g])
            trace = trace - self.beta * np.sum(self.g**2, axis=1)
            of_ones = of_ones / (1 + self.overlap)
        kernel = blas.dsyrk(outputs / 2, U * np.sqrt(drawn @ s), lower=1)
        kernel = blas.dsyrk(0.5, U @ vectors.T, beta=-1.0, c=kernel, lower=1, overwrite_c=1)
        temperature = weights @ np.sum(alpha**2, axis=1) - outputs * (mass @ trace)
        bias = weights @ (alpha @ of.ones) ** 2 - outputs * (mass @ of_ones)
        return Slopes(kernel, float(temperature) / 2, float(bias) / 2)
