r"""Noise that differs between examples, and a trend: targets reduced to what a zero-mean process of noise T explains.

Targets are a trend with flat prior coefficients β, a process, and noise of variances T s_i,

.. math:: y = H\beta + f + \varepsilon, \qquad \varepsilon_i \sim N(0, T s_i).

Divided by the roots of s the noise has one variance. With :math:`H_w = Q_1 R` and Q = (Q_1, Q_2) orthogonal, the
contrasts :math:`z = Q_2^T y_w` know nothing of β, their noise is still T 1, and their density is the restricted
likelihood

.. math:: -2 \log p(y) = \log\det A + \log\det H^T A^{-1} H - \log\det H^T H + (y - H\hat\beta)^T A^{-1}
          (y - H\hat\beta) + (P - m) \log 2\pi .

A query point x with basis h is predicted through :math:`f(x) - h^T R^{-1} Q_1^T y_w`, which does not know β either.

References
----------
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 2.7; Harville, JASA 72, 320 (1977).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack, solve_triangular

from stpbnn._linalg import mirrored
from stpbnn.scale.leave_one_out import inverse_diagonal

__all__ = ["PLAIN", "TRENDS", "Design", "Query", "Reduced"]

TRENDS = ("zero", "constant", "linear")
DEPENDENT = 1e-10  # what the other columns leave of one, relative to its length: below it they depend on each other


class Query(NamedTuple):
    """The kernel at query points: with the training points, of each with itself, and where asked between them.

    `trend` is added to the mean, `noise` to the variances (q,), or to the covariances (q, q).
    """

    cross: Float[np.ndarray, "q P"]
    variances: Float[np.ndarray, " q"]
    within: Float[np.ndarray, "q q"] | None = None
    trend: Float[np.ndarray, "q ..."] | float = 0.0
    noise: Float[np.ndarray, ...] | float = 0.0

    @property
    def noise_variances(self) -> Float[np.ndarray, " q"] | float:
        """The diagonal of the noise."""
        return np.diag(self.noise) if np.ndim(self.noise) == 2 else self.noise


class Reduced(NamedTuple):
    """Q^T K_w Q in blocks: of the contrasts (P − m, P − m), of trend and contrasts (m, P − m), of the trend (m, m)."""

    contrasts: Float[np.ndarray, "c c"]
    across: Float[np.ndarray, "m c"]
    trend: Float[np.ndarray, "m m"]


@dataclass(frozen=True)
class Design:
    """Roots of the precisions of the noise, and the basis of the trend on the training inputs, factorised.

    Parameters
    ----------
    kind : {"zero", "constant", "linear"}
        The trend.
    centre, spread : arrays of shape (N_0,)
        Means and standard deviations of the inputs, in which the basis is written.
    root : array of shape (P,) or None
        1/√s_i; None where all noise is the same.
    reflectors, tau : arrays of shape (P, m) and (m,)
        H_w = Q R as Householder reflectors.
    log_jacobian : float
        What is added, for each output, to the log density of the contrasts.
    """

    kind: str
    centre: Float[np.ndarray, " N0"]
    spread: Float[np.ndarray, " N0"]
    root: Float[np.ndarray, " P"] | None
    reflectors: Float[np.ndarray, "P m"]
    tau: Float[np.ndarray, " m"]
    log_jacobian: float

    @classmethod
    def of(cls, X: Float[np.ndarray, "P N0"], kind: str, variances: Float[np.ndarray, " P"] | None = None) -> Design:
        """Return the design of a trend, with noise of these variances in units of T.

        Raises
        ------
        ValueError
            If there are no more examples than coefficients, or the columns of the basis depend on each other.
        """
        root = None if variances is None else 1 / np.sqrt(variances)
        spread = X.std(axis=0)
        log_jacobian = 0.0 if root is None else float(np.log(root).sum())
        given = kind, X.mean(axis=0), np.where(spread > 0, spread, 1.0), root
        design = cls(*given, np.empty((len(X), 0)), np.empty(0), log_jacobian)
        H = design.basis(X)
        m = H.shape[1]
        if not m:
            return design
        if m >= len(X):
            remedy = "give more examples, or trend='constant'" if kind == "linear" else "give more examples"
            raise ValueError(
                f"trend: got {kind!r} with {m} coefficients for {len(X)} examples, expected fewer; {remedy}"
            )
        plain = np.abs(np.diag(np.linalg.qr(H, mode="r")))
        if plain.min() < DEPENDENT * np.linalg.norm(H, axis=0).max():
            raise ValueError(
                f"trend: got {kind!r} for inputs whose columns are constant or depend linearly on each other; leave "
                "some of them out, or give trend='constant'"
            )
        reflectors, tau, _, _ = lapack.dgeqrf(H if root is None else root[:, None] * H)
        log_jacobian += float(np.log(plain).sum() - np.log(np.abs(np.diag(reflectors))).sum())
        return cls(*given, reflectors, tau, log_jacobian)

    @property
    def plain(self) -> bool:
        """Whether there is no trend, and all noise is the same."""
        return self.root is None and not len(self.tau)

    def basis(self, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, "n m"]:
        """Return the basis functions of the trend."""
        columns = {"zero": 0, "constant": 1, "linear": 1 + X.shape[1]}[self.kind]
        return np.column_stack([np.ones(len(X)), (X - self.centre) / self.spread])[:, :columns]

    @property
    def basis_slopes(self) -> Float[np.ndarray, "N0 m"]:
        """The derivatives of the basis functions in the inputs."""
        return np.column_stack([np.zeros(len(self.spread)), np.diag(1 / self.spread)])[:, : len(self.tau)]

    def _weighted(self, V: np.ndarray) -> np.ndarray:
        return V if self.root is None else V * self.root.reshape((-1,) + (1,) * (V.ndim - 1))

    def _rotated(self, V: Float[np.ndarray, "P k"], trans: str) -> Float[np.ndarray, "P k"]:
        """Return Q V, or Q^T V."""
        if not len(self.tau) or not V.size:
            return V
        rotated, _, _ = lapack.dormqr("L", trans, self.reflectors, self.tau, V, 64 * max(1, V.shape[1]))
        return rotated

    def targets(self, y: Float[np.ndarray, "P ..."]) -> tuple[np.ndarray, np.ndarray]:
        """Return Q_1^T y_w, of the trend, and the contrasts Q_2^T y_w."""
        rotated = self._rotated(self._weighted(y).reshape(len(y), -1), "T").reshape(y.shape)
        return rotated[: len(self.tau)], rotated[len(self.tau) :]

    def reduced(self, K: Float[np.ndarray, "P P"]) -> Reduced:
        """Return a kernel, whose lower triangle is read, in blocks; it may be overwritten."""
        m = len(self.tau)
        if self.plain:
            return Reduced(K, np.empty((0, len(K))), np.empty((0, 0)))
        K = mirrored(K)
        K = self._weighted(self._weighted(K).T)
        K = self._rotated(self._rotated(K, "T").T, "T")
        return Reduced(np.asfortranarray(K[m:, m:]), K[:m, m:], K[:m, :m])

    def expanded(self, V: Float[np.ndarray, "c ..."]) -> Float[np.ndarray, "P ..."]:
        """Return what acts on the contrasts as what acts on the targets: the transpose of `targets`."""
        if self.plain:
            return V
        padded = np.vstack([np.zeros((len(self.tau), V[0].size)), V.reshape(len(V), -1)])
        return self._weighted(self._rotated(padded, "N")).reshape(-1, *V.shape[1:])

    def slopes(self, lower: Float[np.ndarray, "c c"]) -> Float[np.ndarray, "P P"]:
        """Return derivatives in the entries of K, given those in the lower triangle of that of the contrasts."""
        if self.plain:
            return lower
        return self.expanded(self.expanded(mirrored(lower)).T)

    def query(
        self, query: Query, basis: Float[np.ndarray, "q m"], of: Reduced, trend: Float[np.ndarray, "m ..."], T: float
    ) -> Query:
        """Return the kernel of a query for the contrasts, given the basis there and the first part of the targets."""
        if self.plain:
            return query
        m, cross = len(self.tau), self._rotated(self._weighted(query.cross.T), "T").T
        if not m:
            return query._replace(cross=cross)
        h = solve_triangular(np.triu(self.reflectors[:m]), basis.T, trans="T").T
        shared = cross[:, :m] @ h.T
        variances = query.variances - 2 * np.diag(shared) + np.einsum("ij,jk,ik->i", h, of.trend, h)
        within = query.within
        if within is not None:
            within = within - shared - shared.T + h @ of.trend @ h.T
        noise = T * (np.einsum("ij,ij->i", h, h) if within is None else h @ h.T)
        return Query(cross[:, m:] - h @ of.across, variances, within, h @ trend, noise)

    def diagonal(self, factor: Float[np.ndarray, "c c"]) -> Float[np.ndarray, " P"]:
        """Return the diagonal of A^{-1} for the targets, given the lower Cholesky factor of that of the contrasts."""
        if self.plain:
            return inverse_diagonal(factor)
        root = solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False).T
        return np.sum(self.expanded(root) ** 2, axis=1)


PLAIN = Design("zero", np.zeros(()), np.ones(()), None, np.empty((0, 0)), np.empty(0), 0.0)  # for any training set
