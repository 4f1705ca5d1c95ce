r"""Several outputs: a matrix order parameter, positive definite and symmetric, the product of those of all layers.

.. math::
    S(Q) = \phi(Q) + \log\det A + \mathrm{vec}(y)^T A^{-1} \mathrm{vec}(y), \qquad
    A = Q \otimes K + 1 \otimes (b\, 11^T + T)

with φ(Q) = N (tr Q − log det Q) for one hidden layer, and that of a `WishartChain` for several: the layers enter by
their product, which is exact for linear networks without biases of hidden units, and the global closure for others.

In the eigenbasis :math:`Q = V \mathrm{diag}(q) V^T` the outputs decouple into D problems of one output with targets
:math:`y V`, so that nothing larger than P by P is ever made: after one eigendecomposition of K a value costs O(P D²).
Steps are taken in the invariant coordinates :math:`Q^{1/2} \exp(X) Q^{1/2}`, in which the prior is Gaussian about Q = 1
as it is in log Q for one output.

References
----------
Theory notes, section 4; Baglioni et al., arXiv:2412.15911 (kernel shape renormalisation), arXiv:2605.29684 (depth).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import islice, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stpbnn.scale.matrix_fluctuation import symmetric_basis
from stpbnn.scale.one_scale import saddle_points_of_scale
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint, laplace
from stpbnn.scale.steps import descended
from stpbnn.scale.wishart_chain import WishartChain

__all__ = ["LocalTerms", "local_terms", "matrix_saddle_points", "of_layers", "of_product"]

MAX_STEPS = 200
MOST_STARTS = 16  # starts, out of the combinations of minima of single outputs
CURVATURE = 1e-10  # smallest one of a Newton step, relative to that of the prior


class LocalTerms(NamedTuple):
    """S at Q = V diag(q) V^T, with gradient (D, D) and Hessian (D, D, D, D) in X, in the eigenbasis of Q."""

    value: float
    gradient: Float[np.ndarray, "D D"]
    hessian: Float[np.ndarray, "D D D D"]


def local_terms(
    resolvent: Resolvent, q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"], widths: Float[np.ndarray, " L"]
) -> LocalTerms:
    """Return S, and its derivatives in the coordinates X about Q = V diag(q) V^T.

    Parameters
    ----------
    resolvent : Resolvent
        K in its eigenbasis, with the targets of D outputs.
    q, V : arrays of shape (D,) and (D, D)
        Eigenvalues and eigenvectors of Q.
    widths : array of shape (L,)
        N_1..N_L.
    """
    chain, s = WishartChain(widths), np.log(q)
    price, bend = chain.slope(s), chain.curvatures(s)[0]
    rotated = resolvent.with_columns(resolvent.columns @ V)
    at, k, D = rotated.at(s), resolvent.eigenvalues, len(q)  # output d at the scale q_d: A_d = q_d K + b + T
    Z = np.einsum("dpd->dp", at.alpha)  # A_d^{-1} y_d
    root = np.sqrt(q)
    KZ = root[:, None] * k * Z  # weighted so that all derivatives come out in X
    value = chain.value(s) + at.log_det.sum() + np.vdot(rotated.columns.T, Z)
    slope = KZ @ (root[:, None] * Z).T  # sqrt(q_a q_b) z_a^T K z_b
    gradient = np.diag(price + at.freedom) - slope
    # tr A_a^{-1} K A_b^{-1} K, and z_a^T K A_b^{-1} K z_c
    weighted, G, beta = k / at.shifted, at.g, at.beta
    crossed = np.einsum("ap,bp->ab", weighted, G * G * k) * beta
    traces = weighted @ weighted.T - crossed - crossed.T + np.outer(beta, beta) * ((G * k) @ G.T) ** 2
    mixed = np.einsum("ap,bpc->abc", KZ, at.solve(KZ.T))  # √(q_a q_c) z_a^T K A_b^{-1} K z_c
    # S'' [E, F] with E = √q_a X_ab √q_b: −Σ traces E_ab F_ab + 2 Σ mixed E_ab F_bc, and the curvature tr(g X X') of the
    # coordinates, whose part from the prior is replaced by the prior's own curvature
    own = bend - (price[:, None] + price) / 2
    hessian = np.einsum("ac,bd->abcd", gradient, np.eye(D))
    for a, b in np.ndindex(D, D):
        hessian[a, b, a, b] += own[a, b] - q[a] * q[b] * traces[a, b]
        hessian[a, b, b, :] += 2 * q[b] * mixed[a, b]
    return LocalTerms(float(value), gradient, hessian)


def of_layers(w: Float[np.ndarray, "L D"], V: Float[np.ndarray, "D D"]) -> Float[np.ndarray, ...]:
    """Return the matrices of all layers, of common eigenvectors: (D, D) for one layer, (L, D, D) for several."""
    matrices = np.array([(V * layer) @ V.T for layer in w])
    return matrices[0] if len(w) == 1 else matrices


def of_product(order_parameters: Float[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of the product of the matrices of all layers, and its eigenvectors, which they share."""
    matrix = order_parameters if order_parameters.ndim == 2 else reduce(np.matmul, order_parameters)
    q, V = np.linalg.eigh((matrix + matrix.T) / 2)
    return q, V


def matrix_saddle_points(resolvent: Resolvent, widths: Float[np.ndarray, " L"]) -> list[SaddlePoint]:
    """Return the minima of S over positive definite matrices that were found, the lowest first.

    The search starts from Q = 1, and from the order parameters of each output alone, its minima in all combinations,
    after the targets have been rotated to be uncorrelated.

    Parameters
    ----------
    resolvent : Resolvent
        The kernel of the features in its eigenbasis, with the targets of D outputs, T and b.
    widths : array of shape (L,)
        N_1..N_L.
    """
    targets = resolvent.columns
    D = targets.shape[1]
    _, rotation = eigh(targets.T @ targets)
    alone = [_alone(resolvent.with_columns(targets @ v[:, None]), widths) for v in rotation.T]
    starts = [(np.array(q), rotation) for q in islice(product(*alone), MOST_STARTS)]
    found: list[SaddlePoint] = []
    for q, V in (*starts, (np.ones(D), np.eye(D))):
        point = _descend(resolvent, q, V, widths)
        if not any(np.allclose(point.order_parameters, other.order_parameters, rtol=1e-6) for other in found):
            found.append(point)
    return sorted(found, key=lambda point: point.action)


def _alone(resolvent: Resolvent, widths: Float[np.ndarray, " L"]) -> list[float]:
    """Return the products of the order parameters at the minima for one output with its (rotated) targets."""
    return [float(point.order_parameters.prod()) for point in saddle_points_of_scale(resolvent, widths)]


@dataclass(frozen=True)
class _Point:
    """S at one Q, with gradient and Hessian in the coordinates of a basis of the symmetric matrices."""

    q: Float[np.ndarray, " D"]
    V: Float[np.ndarray, "D D"]
    value: float
    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]
    residual: float


def _descend(
    resolvent: Resolvent, q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"], widths: Float[np.ndarray, " L"]
) -> SaddlePoint:
    """Return the minimum in whose valley Q = V diag(q) V^T lies."""
    D, basis, chain = len(q), symmetric_basis(len(q)), WishartChain(widths)

    def evaluated(q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"]) -> _Point:
        local = local_terms(resolvent, q, V, widths)
        hessian = np.einsum("kab,abcd,lcd->kl", basis, local.hessian, basis)
        w = chain.layers(np.log(q)).min(axis=0)
        residual = np.abs(local.gradient / (chain.narrowest * (np.sqrt(np.outer(w, w)) + 1))).max()
        gradient = np.einsum("kab,ab->k", basis, local.gradient)
        return _Point(q, V, local.value, gradient, (hessian + hessian.T) / 2, float(residual))

    def moved(at: _Point, step: Float[np.ndarray, " k"]) -> _Point:
        x, W = eigh(np.einsum("k,kab->ab", step, basis))
        root = np.sqrt(at.q)[:, None] * (W * np.exp(x / 2))  # Q^{1/2} exp(X/2)
        q, turn = eigh(root @ root.T)
        return evaluated(np.maximum(q, 1e-300), at.V @ turn)

    scale, smallest = float(widths.sum()) * D, CURVATURE * chain.narrowest
    start = evaluated(q, V)
    at = descended(start, moved, lambda at: at.hessian, smallest=smallest, scale=scale, steps=MAX_STEPS)
    s = np.log(at.q)
    evidence = laplace(at.value, at.hessian, np.full(len(basis), widths[0]), scale, resolvent.size)
    above = chain.curvatures(s)[1:, *np.triu_indices(D)] / widths[1:, None]
    evidence -= float(np.log(above).sum()) / 2
    return SaddlePoint(of_layers(chain.layers(s), at.V), at.value, at.residual, at.hessian, evidence)
