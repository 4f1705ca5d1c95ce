r"""The posterior of the matrices of D outputs, by importance sampling in coordinates whose prior is standard normal.

With V the eigenvectors at the saddle point and T a lower triangle (Bartlett's decomposition),

.. math:: W_l = V\, T T^T V^T, \qquad N_l T_{aa}^2 \sim \chi^2_{N_l - a + 1}, \qquad
          T_{ab} \sim N(0, 1/N_l) \quad (a > b)

and each entry is a function of one normal variable. A proposal about the saddle points finds where the posterior is,
and a second one of that mean and covariance is weighted. For linear networks without biases of hidden units this is the
law of the network.

References
----------
Theory notes, sections 3 and 4; Baglioni et al., arXiv:2412.15911. Bartlett, Proc. R. Soc. Edinburgh 53, 260 (1933).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv, logsumexp, ndtr, ndtri

from stpbnn.scale.importance import NEGLIGIBLE, importance_draws
from stpbnn.scale.matrix import local_terms, of_product
from stpbnn.scale.matrix_fluctuation import symmetric_basis
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint
from stpbnn.scale.wishart_chain import WishartChain

__all__ = ["MATRIX_ACCURACY", "chunks", "matrix_posterior", "products"]

TINY = 1e-300
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


def products(nodes: Float[np.ndarray, "n L D D"]) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (n, D) and eigenvectors (n, D, D) of Q_1, from the W_l of every layer."""
    q, V = np.linalg.eigh(_product(nodes))
    return np.maximum(q, TINY), V


class _Normals(NamedTuple):
    """The W_l of all layers as functions of standard normal variables: diagonals of T first, layer by layer."""

    widths: Float[np.ndarray, " L"]
    axes: Float[np.ndarray, "D D"]

    @property
    def _shapes(self) -> Float[np.ndarray, "L D"]:
        return (self.widths[:, None] - np.arange(len(self.axes))) / 2

    def matrices(self, z: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n L D D"]:
        """Return the W_l."""
        L, D = self._shapes.shape
        of_layers = z.reshape(len(z), L, -1)
        diagonal, lower = of_layers[..., :D], of_layers[..., D:]
        tail = ndtr(-np.abs(diagonal))
        halves = np.where(diagonal > 0, gammainccinv(self._shapes, tail), gammaincinv(self._shapes, tail))
        T = np.zeros((len(z), L, D, D))
        T[..., np.arange(D), np.arange(D)] = np.sqrt(2 * halves / self.widths[:, None])
        T[..., *np.tril_indices(D, -1)] = lower / np.sqrt(self.widths[:, None])
        T = self.axes @ T
        return T @ np.swapaxes(T, -1, -2)

    def place(self, W: Float[np.ndarray, "L D D"]) -> Float[np.ndarray, " m"]:
        """Return the normal variables of given matrices."""
        T = np.linalg.cholesky(self.axes.T @ W @ self.axes)
        halves = np.einsum("laa->la", T) ** 2 * self.widths[:, None] / 2
        above, below = gammaincc(self._shapes, halves), gammainc(self._shapes, halves)
        diagonal = np.where(above < below, -ndtri(np.maximum(above, TINY)), ndtri(np.maximum(below, TINY)))
        lower = T[:, *np.tril_indices(len(self.axes), -1)] * np.sqrt(self.widths[:, None])
        return np.concatenate([diagonal, lower], axis=1).ravel()


def _hessian(
    resolvent: Resolvent, normals: _Normals, q: Float[np.ndarray, " D"], step: float = 1e-3
) -> Float[np.ndarray, "m m"]:
    """Return about the second derivatives of S at Q_1 = V diag(q) V^T: the prior's, and those of the data.

    The data know of Q_1 alone, of which the first derivatives are taken, by differences.
    """
    D, basis = len(q), symmetric_basis(len(q))
    reduced = np.einsum(
        "kab,abcd,lcd->kl", basis, local_terms(resolvent, q, normals.axes, normals.widths).hessian, basis
    )
    pairs = np.triu_indices(D)
    data = (reduced + reduced.T) / 2 - np.diag(WishartChain(normals.widths).curvatures(np.log(q))[0][pairs])
    w = WishartChain(normals.widths).layers(np.log(q))
    at = normals.place((normals.axes * w[:, None, :]) @ normals.axes.T)
    steps = step * np.eye(len(at))
    moved = [_product(normals.matrices(at + sign * steps)) for sign in (1, -1)]
    change = normals.axes.T @ (moved[0] - moved[1]) @ normals.axes / (2 * step) / np.sqrt(np.outer(q, q))
    slopes = np.einsum("kab,mab->mk", basis, change)
    values, directions = np.linalg.eigh(slopes @ data @ slopes.T)
    return 2 * np.eye(len(at)) + (directions * np.maximum(values, -1.0)) @ directions.T


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
    q, V = of_product(points[0].order_parameters)
    normals, D = _Normals(widths, V), len(q)

    def actions(z: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
        prior = np.sum(z**2, axis=1) + z.shape[1] * np.log(2 * np.pi)
        return prior + _data(resolvent, *products(normals.matrices(z)))

    def observed(z: Float[np.ndarray, "s n m"]) -> Float[np.ndarray, "s n LD"]:
        W = normals.matrices(z.reshape(-1, z.shape[-1]))
        return np.einsum("nlaa->nla", W).reshape(*z.shape[:2], -1)

    hessian = _hessian(resolvent, normals, q)
    centres = np.array([normals.place(point.order_parameters.reshape(-1, D, D)) for point in points])
    given = resolvent.size, random, observed
    pilot = importance_draws(actions, centres, [hessian] * len(points), *given, np.inf)
    w = np.exp(pilot.log_weights - pilot.log_weights.max())
    mean, spread = w @ pilot.points / w.sum(), np.cov(pilot.points.T, aweights=w)
    drawn = importance_draws(actions, mean[None], [2 * np.linalg.inv(spread)], *given, MATRIX_ACCURACY)
    kept = drawn.log_weights - drawn.log_weights.max() > np.log(NEGLIGIBLE)
    weights = np.exp(drawn.log_weights[kept] - drawn.log_weights.max())
    W = normals.matrices(drawn.points[kept])
    return OrderParameterPosterior(W, weights / weights.sum(), float(logsumexp(drawn.log_weights)), drawn.error)


def chunks(resolvent: Resolvent, q: Float[np.ndarray, "n D"]) -> list[slice]:
    """Return the nodes in parts whose solutions for every output fit into some ten megabytes."""
    rows = max(1, CHUNK // (len(resolvent.columns) * q.shape[1] ** 2))
    return [slice(start, start + rows) for start in range(0, len(q), rows)]


def _data(resolvent: Resolvent, q: Float[np.ndarray, "n D"], V: Float[np.ndarray, "n D D"]) -> Float[np.ndarray, " n"]:
    """Return log det A + y^T A^{-1} y at each Q = V diag(q) V^T."""
    found = []
    for part in chunks(resolvent, q):
        at = resolvent.at(np.log(q[part]).ravel())
        forms = np.einsum("pd,npe->nde", resolvent.columns, at.alpha).reshape(*q[part].shape, *V.shape[1:])
        quadratic = np.einsum("nda,nade,nea->n", V[part], forms, V[part])
        found.append(at.log_det.reshape(q[part].shape).sum(axis=1) + quadratic)
    return np.concatenate(found)
