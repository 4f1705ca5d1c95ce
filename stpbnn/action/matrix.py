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

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stpbnn.action import spectral
from stpbnn.action.point import SaddlePoint, laplace

__all__ = ["Decoupled", "decouple", "local_terms", "saddle_points", "symmetric_basis"]

MAX_STEPS = 200


class Decoupled(NamedTuple):
    """K = U diag(k) U^T with U^T y and U^T 1."""

    eigenvalues: Float[np.ndarray, " P"]
    vectors: Float[np.ndarray, "P P"]
    targets: Float[np.ndarray, "P D"]
    ones: Float[np.ndarray, " P"]


class Local(NamedTuple):
    """S at Q = V diag(q) V^T, with gradient (D, D) and Hessian (D, D, D, D) in X, in the eigenbasis of Q."""

    value: float
    gradient: Float[np.ndarray, "D D"]
    hessian: Float[np.ndarray, "D D D D"]


def decouple(K: Float[np.ndarray, "P P"], y: Float[np.ndarray, "P D"]) -> Decoupled:
    """Diagonalise the kernel and rotate the targets."""
    k, U = spectral.eigenbasis(K)
    return Decoupled(k, U, U.T @ y, U.sum(axis=0))


def local_terms(
    problem: Decoupled,
    q: Float[np.ndarray, " D"],
    V: Float[np.ndarray, "D D"],
    width: float,
    temperature: float,
    bias: float,
) -> Local:
    """Return S, and its derivatives in the coordinates X about Q = V diag(q) V^T."""
    k, Y, u = problem.eigenvalues, problem.targets @ V, problem.ones
    shifted = q[:, None] * k + temperature  # (D, P)
    if not shifted.min() > 0:
        raise np.linalg.LinAlgError("the kernel plus temperature is singular")
    inverse = 1 / shifted
    G = inverse * u  # A_d^{-1} = diag(inverse_d) − β_d G_d G_d^T
    overlap = bias * (G @ u)
    beta = bias / (1 + overlap)

    def solve(X: Float[np.ndarray, "D P m"]) -> Float[np.ndarray, "D P m"]:
        return inverse[:, :, None] * X - (beta[:, None] * G)[:, :, None] * np.einsum("dp,dpm->dm", G, X)[:, None, :]

    Z = solve(Y.T[:, :, None])[:, :, 0]  # (D, P): A_d^{-1} y_d
    root = np.sqrt(q)
    KZ = root[:, None] * k * Z  # weighted so that all derivatives come out in X
    pull = np.einsum("dp,p,dp->d", G, k, G)
    value = width * (q - np.log(q)).sum() + np.log(shifted).sum() + np.log1p(overlap).sum() + np.vdot(Y.T, Z)
    trace = inverse @ k - beta * pull
    slope = KZ @ (root[:, None] * Z).T  # sqrt(q_a q_b) z_a^T K z_b
    gradient = np.diag(width * (q - 1) + q * trace) - slope
    # tr A_a^{-1} K A_b^{-1} K, and z_a^T K A_b^{-1} K z_c
    cross = np.einsum("ap,p,bp->ab", G, k, G)
    weighted = inverse * k
    traces = (
        weighted @ weighted.T
        - beta * np.einsum("ap,bp->ab", weighted, G * G * k)
        - beta[:, None] * np.einsum("ap,bp->ab", G * G * k, weighted)
        + np.outer(beta, beta) * cross**2
    )
    solved = solve(np.broadcast_to(KZ.T, (len(q), *KZ.T.shape)))  # (b, P, c): A_b^{-1} K z_c √q_c
    mixed = np.einsum("ap,bpc->abc", KZ, solved)  # √(q_a q_c) z_a^T K A_b^{-1} K z_c
    # S'' [E, F] with E = √q_a X_ab √q_b: N tr X X' − Σ traces E_ab F_ab + 2 Σ mixed E_ab F_bc, and the curvature
    # tr(g X X') of the coordinates, in which N Q^{-1} E Q^{-1} F and the prior's part of g combine to N q
    hessian = np.einsum("ac,bd->abcd", gradient, np.eye(len(q)))
    for a, b in np.ndindex(traces.shape):
        hessian[a, b, a, b] += width - q[a] * q[b] * traces[a, b]
        hessian[a, b, b, :] += 2 * q[b] * mixed[a, b]
    return Local(float(value), gradient, hessian)


def saddle_points(problem: Decoupled, width: int, temperature: float, bias: float = 0.0) -> list[SaddlePoint]:
    """Return the minima of S over positive definite matrices that were found, the lowest first.

    The search starts from Q = 1, and from the best order parameter of each output alone after the targets have been
    rotated to be uncorrelated.

    Parameters
    ----------
    problem : Decoupled
        The diagonalised kernel κ(C)/λ_1 and the rotated targets.
    width : int
        N_1.
    temperature : float
        T, the variance of the noise.
    bias : float
        1/λ_b, the variance of the output biases.
    """
    D = problem.targets.shape[1]
    _, rotation = eigh(problem.targets.T @ problem.targets)
    alone = [_best_alone(problem, problem.targets @ v, width, temperature, bias) for v in rotation.T]
    found: list[SaddlePoint] = []
    for q, V in ((np.array(alone), rotation), (np.ones(D), np.eye(D))):
        point = _descend(problem, q, V, float(width), temperature, bias)
        if not any(np.allclose(point.order_parameters, other.order_parameters, rtol=1e-6) for other in found):
            found.append(point)
    return sorted(found, key=lambda point: point.action)


def _best_alone(problem: Decoupled, y: Float[np.ndarray, " P"], width: int, temperature: float, bias: float) -> float:
    """Return Q of the lowest minimum for one output with these (rotated) targets."""
    k, N = problem.eigenvalues, np.array([float(width)])
    spectrum = spectral.Spectrum(k, k, np.zeros(len(k) - 1), np.stack([y, problem.ones], axis=1))

    def action(u: float) -> float:
        return float(N[0] * (np.exp(u) - u) + spectral.terms(spectrum, u, temperature, bias).value)

    return float(np.exp(min(spectral.minima(spectrum, N, temperature, bias), key=action)))


def _descend(
    problem: Decoupled,
    q: Float[np.ndarray, " D"],
    V: Float[np.ndarray, "D D"],
    width: float,
    temperature: float,
    bias: float,
) -> SaddlePoint:
    """Return the minimum in whose valley Q = V diag(q) V^T lies: Newton steps, shortened where S would not fall."""
    D = len(q)
    basis = symmetric_basis(D)

    def at(q: Float[np.ndarray, " D"], V: Float[np.ndarray, "D D"]) -> tuple[float, np.ndarray, np.ndarray, float]:
        local = local_terms(problem, q, V, width, temperature, bias)
        hessian = np.einsum("kab,abcd,lcd->kl", basis, local.hessian, basis)
        residual = np.abs(local.gradient / (width * (np.sqrt(np.outer(q, q)) + 1))).max()
        return local.value, np.einsum("kab,ab->k", basis, local.gradient), (hessian + hessian.T) / 2, float(residual)

    value, gradient, hessian, residual = at(q, V)
    for _ in range(MAX_STEPS):
        curvatures, directions = np.linalg.eigh(hessian)
        step = -directions @ ((directions.T @ gradient) / np.maximum(np.abs(curvatures), 1e-10 * width))
        step *= min(1.0, 2.0 / float(np.abs(step).max() + 1e-300))
        improved = False
        for shrink in 0.5 ** np.arange(30):
            x, W = eigh(np.einsum("k,kab->ab", shrink * step, basis))
            root = np.sqrt(q)[:, None] * (W * np.exp(x / 2))  # Q^{1/2} exp(X/2)
            q_new, turn = eigh(root @ root.T)
            q_new, V_new = np.maximum(q_new, 1e-300), V @ turn
            trial = at(q_new, V_new)
            rounding = 1e-12 * (abs(value) + width * D)
            if trial[0] < value - 1e-4 * shrink * abs(gradient @ step) or (
                trial[0] <= value + rounding and trial[3] < residual / 2
            ):
                improved = True
                break
        if not improved:
            break
        q, V = q_new, V_new
        value, gradient, hessian, residual = trial
    return SaddlePoint(
        order_parameters=(V * q) @ V.T,
        action=value,
        residual=residual,
        hessian=hessian,
        log_evidence=laplace(value, hessian, np.full(len(basis), width), width * D, problem.targets.size),
    )


def symmetric_basis(D: int) -> Float[np.ndarray, "k D D"]:
    """Return an orthonormal basis of the symmetric D by D matrices."""
    basis = []
    for a, b in combinations_with_replacement(range(D), 2):
        element = np.zeros((D, D))
        element[a, b] = element[b, a] = 1.0 if a == b else 0.5**0.5
        basis.append(element)
    return np.array(basis)
