r"""The posterior of the matrices of D outputs, by importance sampling over their triangular factors.

With V the eigenvectors at the saddle point and T a lower triangle (Bartlett's decomposition),

.. math:: W_l = V\, T T^T V^T, \qquad N_l T_{aa}^2 \sim \chi^2_{N_l - a + 1}, \qquad
          T_{ab} \sim N(0, 1/N_l) \quad (a > b)

whose entries are independent, and have light tails, a priori. A proposal about the saddle points finds where the
posterior is, and a second one of that mean and covariance is weighted. For linear networks without biases of hidden
units this is the law of the network.

References
----------
Theory notes, sections 3 and 4; Baglioni et al., arXiv:2412.15911. Bartlett, Proc. R. Soc. Edinburgh 53, 260 (1933).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from scipy.special import gammaln, logsumexp

from stpbnn._slices import slices
from stpbnn.scale.importance import NEGLIGIBLE, Actions, importance_draws
from stpbnn.scale.matrix import of_product
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["MATRIX_ACCURACY", "chunks", "matrix_posterior", "products_of_layers"]

TINY = 1e-300
STEP = 1e-3  # step of differences, relative to a diagonal entry
CHUNK = 2**20
MATRIX_ACCURACY = 1e-2  # relative standard error of the evidence and of the diagonals of the matrices


def _product(W: Float[np.ndarray, "n L D D"]) -> Float[np.ndarray, "n D D"]:
    """Return Q_1 of the chain Q_l = Q_{l+1}^{1/2} W_l Q_{l+1}^{1/2}."""
    Q = W[:, -1]
    for layer in range(W.shape[1] - 2, -1, -1):
        q, V = np.linalg.eigh(Q)
        root = (V * np.sqrt(np.maximum(q, 0.0))[:, None, :]) @ np.swapaxes(V, -1, -2)
        Q = root @ W[:, layer] @ root
    return Q


def products_of_layers(nodes: Float[np.ndarray, "n L D D"]) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (n, D) and eigenvectors (n, D, D) of Q_1, from the W_l of every layer."""
    q, V = np.linalg.eigh(_product(nodes))
    return np.maximum(q, TINY), V


class _Triangles(NamedTuple):
    """The W_l of all layers as functions of t = √N_l T: the diagonals first, layer by layer."""

    widths: Float[np.ndarray, " L"]
    axes: Float[np.ndarray, "D D"]

    @property
    def _freedom(self) -> Float[np.ndarray, "L D"]:
        return self.widths[:, None] - np.arange(len(self.axes))

    def _diagonals(self, t: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "... L D"]:
        return t.reshape(*t.shape[:-1], len(self.widths), -1)[..., : len(self.axes)]

    def matrices(self, t: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n L D D"]:
        """Return the W_l."""
        D, of_layers = len(self.axes), t.reshape(len(t), len(self.widths), -1) / np.sqrt(self.widths)[:, None]
        T = np.zeros((*of_layers.shape[:2], D, D))
        T[..., np.arange(D), np.arange(D)] = of_layers[..., :D]
        T[..., *np.tril_indices(D, -1)] = of_layers[..., D:]
        T = self.axes @ T
        return T @ np.swapaxes(T, -1, -2)

    def prior(self, t: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
        """Return -2 log p(t), infinite where a diagonal entry is not positive."""
        L, D = self._freedom.shape
        diagonals, nu = self._diagonals(t), self._freedom
        of_chi = (nu - 2) * np.log(2) + 2 * gammaln(nu / 2) - 2 * (nu - 1) * np.log(np.maximum(diagonals, TINY))
        value = np.sum(t**2, axis=1) + of_chi.sum(axis=(1, 2)) + L * D * (D - 1) / 2 * np.log(2 * np.pi)
        return np.where(np.all(diagonals > 0, axis=(1, 2)), value, np.inf)

    def place(self, W: Float[np.ndarray, "L D D"]) -> Float[np.ndarray, " m"]:
        """Return the coordinates of given matrices."""
        T = np.linalg.cholesky(self.axes.T @ W @ self.axes) * np.sqrt(self.widths)[:, None, None]
        lower = T[:, *np.tril_indices(len(self.axes), -1)]
        return np.concatenate([np.einsum("laa->la", T), lower], axis=1).ravel()

    def steps(self, t: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m m"]:
        """Return small steps along all coordinates, each in proportion to the diagonal entry of its row."""
        D, diagonals = len(self.axes), self._diagonals(t)
        rows, _ = np.tril_indices(D, -1)
        return np.diag(STEP * np.concatenate([diagonals, diagonals[:, rows]], axis=1).ravel())


def _nearby(
    actions: Actions, t: Float[np.ndarray, " m"], steps: Float[np.ndarray, "m m"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a point nearer to the minimum, and the second derivatives, by differences."""
    m, units = len(t), np.diag(steps)
    i, j = np.triu_indices(m)
    both = steps[i] + steps[j]
    up, down, together, apart = (actions(t + d) for d in (steps, -steps, both, -both))
    hessian = np.zeros((m, m))
    hessian[i, j] = (together + apart - (up + down)[i] - (up + down)[j] + 2 * actions(t[None])) / 2
    hessian = (hessian + np.triu(hessian, 1).T) / np.outer(units, units)
    values, directions = np.linalg.eigh(hessian)
    values = np.maximum(np.abs(values), 0.1)  # a twentieth of the prior's
    gradient = (up - down) / (2 * units)
    step = directions @ ((directions.T @ gradient) / values)
    longest = np.sqrt(np.sum(values * (directions.T @ step) ** 2) / (2 * m))  # in standard deviations
    return t - step / max(1.0, longest), (directions * values) @ directions.T


def matrix_posterior(
    resolvent: Resolvent, widths: Float[np.ndarray, " L"], points: list[SaddlePoint], random: np.random.Generator
) -> OrderParameterPosterior:
    """Return p(W_1..W_L | y) as weighted draws, with the evidence and the relative standard error of both.

    Parameters
    ----------
    resolvent : Resolvent
        The kernel of the features in its eigenbasis, with the targets of D outputs.
    widths : array of shape (L,)
        N_1..N_L, none below D.
    points : list of SaddlePoint
        Minima of the action, the lowest first.
    random : numpy Generator
        Scrambles of the points.

    Warns
    -----
    ConvergenceWarning
        If the standard error stays above a hundredth.
    """
    _, V = of_product(points[0].order_parameters)
    triangles, D = _Triangles(widths, V), len(V)

    def actions(t: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
        found = triangles.prior(t)
        inside = np.isfinite(found)
        found[inside] += _data(resolvent, *products_of_layers(triangles.matrices(t[inside])))
        return found

    def observed(t: Float[np.ndarray, "s n m"]) -> Float[np.ndarray, "s n LD"]:
        W = triangles.matrices(t.reshape(-1, t.shape[-1]))
        return np.einsum("nlaa->nla", W).reshape(*t.shape[:2], -1)

    places = [triangles.place(point.order_parameters.reshape(-1, D, D)) for point in points]
    centres, hessians = zip(*(_nearby(actions, t, triangles.steps(t)) for t in places), strict=True)
    given = resolvent.size, random, observed
    pilot = importance_draws(actions, np.array(centres), list(hessians), *given, np.inf)
    w = np.exp(pilot.log_weights - pilot.log_weights.max())
    mean, spread = w @ pilot.points / w.sum(), np.cov(pilot.points.T, aweights=w)
    hessian = cho_solve(cho_factor(spread), 2 * np.eye(len(mean)))
    drawn = importance_draws(actions, mean[None], [hessian], *given, MATRIX_ACCURACY)
    kept = drawn.log_weights - drawn.log_weights.max() > np.log(NEGLIGIBLE)
    weights = np.exp(drawn.log_weights[kept] - drawn.log_weights.max())
    W = triangles.matrices(drawn.points[kept])
    return OrderParameterPosterior(W, weights / weights.sum(), float(logsumexp(drawn.log_weights)), drawn.error)


def chunks(resolvent: Resolvent, q: Float[np.ndarray, "n D"]) -> list[slice]:
    """Return the nodes in parts whose solutions for every output fit into some ten megabytes."""
    return slices(len(q), CHUNK // (len(resolvent.columns) * q.shape[1] ** 2))


def _data(resolvent: Resolvent, q: Float[np.ndarray, "n D"], V: Float[np.ndarray, "n D D"]) -> Float[np.ndarray, " n"]:
    """Return log det A + y^T A^{-1} y at each Q = V diag(q) V^T."""
    found = []
    for part in chunks(resolvent, q):
        at = resolvent.at(np.log(q[part]).ravel())
        forms = np.einsum("pd,npe->nde", resolvent.columns, at.alpha).reshape(*q[part].shape, *V.shape[1:])
        quadratic = np.einsum("nda,nade,nea->n", V[part], forms, V[part])
        found.append(at.log_det.reshape(q[part].shape).sum(axis=1) + quadratic)
    return np.concatenate(found)
