r"""Several outputs, one hidden layer: a matrix order parameter, positive definite and symmetric.

.. math::
    S(Q) = N (\mathrm{tr}\,Q - \log\det Q) + \log\det A + \mathrm{vec}(y)^T A^{-1} \mathrm{vec}(y), \qquad
    A = Q \otimes K + 1 \otimes (b\, 11^T + T)

In the eigenbasis :math:`Q = V \mathrm{diag}(q) V^T` the outputs decouple into D problems of one output with targets
:math:`y V`, so that nothing larger than P by P is ever made: after one eigendecomposition of K a value costs O(P D²).
Steps are taken in the invariant coordinates :math:`Q^{1/2} \exp(X) Q^{1/2}`, in which the prior is Gaussian about Q = 1
as it is in log Q for one output.

References
----------
Theory notes, section 4; Baglioni et al., arXiv:2412.15911 (kernel shape renormalisation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stpbnn.scale.matrix_fluctuation import symmetric_basis
from stpbnn.scale.newton import backtracked, newton_step
from stpbnn.scale.one_scale import saddle_points_of_scale
from stpbnn.scale.priors import prior_action
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint, laplace

__all__ = ["LocalTerms", "local_terms", "matrix_saddle_points"]

MAX_STEPS = 200
CURVATURE = 1e-10  # smallest one of a Newton step, relative to that of the prior


class LocalTerms(NamedTuple):
    """S at Q = V diag(q) V^T, with gradient (D, D) and Hessian (D, D, D, D) in X, in the eigenbasis of Q."""

    value: float
    gradient: Float[np.ndarray, "D D"]
    hessian: Float[np.ndarray, "D D D D"]


def local_terms(
    resolvent: Resolvent, q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"], width: float
) -> LocalTerms:
    """Return S, and its derivatives in the coordinates X about Q = V diag(q) V^T.

    Parameters
    ----------
    resolvent : Resolvent
        K in its eigenbasis, with the targets of D outputs.
    q, V : arrays of shape (D,) and (D, D)
        Eigenvalues and eigenvectors of Q.
    width : float
        N_1.
    """
    rotated = resolvent.with_columns(resolvent.columns @ V)
    at, k, D = rotated.at(np.log(q)), resolvent.eigenvalues, len(q)  # output d at the scale q_d: A_d = q_d K + b + T
    Z = np.einsum("dpd->dp", at.alpha)  # A_d^{-1} y_d
    root = np.sqrt(q)
    KZ = root[:, None] * k * Z  # weighted so that all derivatives come out in X
    value = prior_action(np.full(D, width), np.log(q)) + at.log_det.sum() + np.vdot(rotated.columns.T, Z)
    slope = KZ @ (root[:, None] * Z).T  # sqrt(q_a q_b) z_a^T K z_b
    gradient = np.diag(width * (q - 1) + at.freedom) - slope
    # tr A_a^{-1} K A_b^{-1} K, and z_a^T K A_b^{-1} K z_c
    weighted, G, beta = k / at.shifted, at.g, at.beta
    crossed = np.einsum("ap,bp->ab", weighted, G * G * k) * beta
    traces = weighted @ weighted.T - crossed - crossed.T + np.outer(beta, beta) * ((G * k) @ G.T) ** 2
    mixed = np.einsum("ap,bpc->abc", KZ, at.solve(KZ.T))  # √(q_a q_c) z_a^T K A_b^{-1} K z_c
    # S'' [E, F] with E = √q_a X_ab √q_b: N tr X X' − Σ traces E_ab F_ab + 2 Σ mixed E_ab F_bc, and the curvature
    # tr(g X X') of the coordinates, in which N Q^{-1} E Q^{-1} F and the prior's part of g combine to N q
    hessian = np.einsum("ac,bd->abcd", gradient, np.eye(D))
    for a, b in np.ndindex(D, D):
        hessian[a, b, a, b] += width - q[a] * q[b] * traces[a, b]
        hessian[a, b, b, :] += 2 * q[b] * mixed[a, b]
    return LocalTerms(float(value), gradient, hessian)


def matrix_saddle_points(resolvent: Resolvent, width: int) -> list[SaddlePoint]:
    """Return the minima of S over positive definite matrices that were found, the lowest first.

    The search starts from Q = 1, and from the best order parameter of each output alone after the targets have been
    rotated to be uncorrelated.

    Parameters
    ----------
    resolvent : Resolvent
        The kernel κ(C)/λ_1 in its eigenbasis, with the targets of D outputs, T and b.
    width : int
        N_1.
    """
    targets = resolvent.columns
    D = targets.shape[1]
    _, rotation = eigh(targets.T @ targets)
    alone = [_best_alone(resolvent.with_columns(targets @ v[:, None]), width) for v in rotation.T]
    found: list[SaddlePoint] = []
    for q, V in ((np.array(alone), rotation), (np.ones(D), np.eye(D))):
        point = _descend(resolvent, q, V, float(width))
        if not any(np.allclose(point.order_parameters, other.order_parameters, rtol=1e-6) for other in found):
            found.append(point)
    return sorted(found, key=lambda point: point.action)


def _best_alone(resolvent: Resolvent, width: int) -> float:
    """Return Q of the lowest minimum for one output with its (rotated) targets."""
    return float(saddle_points_of_scale(resolvent, np.array([float(width)]))[0].order_parameters[0])


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
    resolvent: Resolvent, q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"], width: float
) -> SaddlePoint:
    """Return the minimum in whose valley Q = V diag(q) V^T lies."""
    D, basis = len(q), symmetric_basis(len(q))

    def evaluated(q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"]) -> _Point:
        local = local_terms(resolvent, q, V, width)
        hessian = np.einsum("kab,abcd,lcd->kl", basis, local.hessian, basis)
        residual = np.abs(local.gradient / (width * (np.sqrt(np.outer(q, q)) + 1))).max()
        gradient = np.einsum("kab,ab->k", basis, local.gradient)
        return _Point(q, V, local.value, gradient, (hessian + hessian.T) / 2, float(residual))

    def moved(at: _Point, step: Float[np.ndarray, " k"]) -> _Point:
        x, W = eigh(np.einsum("k,kab->ab", step, basis))
        root = np.sqrt(at.q)[:, None] * (W * np.exp(x / 2))  # Q^{1/2} exp(X/2)
        q, turn = eigh(root @ root.T)
        return evaluated(np.maximum(q, 1e-300), at.V @ turn)

    at = evaluated(q, V)
    for _ in range(MAX_STEPS):
        step, here = newton_step(at.gradient, at.hessian, CURVATURE * width), at
        better = backtracked(at, lambda part: moved(here, part * step), at.gradient @ step, width * D)  # noqa: B023
        if better is None:
            break
        at = better
    evidence = laplace(at.value, at.hessian, np.full(len(basis), width), width * D, resolvent.size)
    return SaddlePoint((at.V * at.q) @ at.V.T, at.value, at.residual, at.hessian, evidence)
