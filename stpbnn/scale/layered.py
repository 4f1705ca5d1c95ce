r"""Any closure at any depth: the effective action by Cholesky factorisation, its gradient and Hessian in log Q.

In every closure the last order parameter is a scale, :math:`K^R = Q_L M(Q_1..Q_{L-1}) + 1/\lambda_b`, which needs no
differentiation: :math:`\partial_L K^R = K^R - 1/\lambda_b` and :math:`\partial_l \partial_L K^R = \partial_l K^R`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, lapack, solve_triangular

from stpbnn._linalg import log_det_of, lower_cholesky
from stpbnn.activations import Activation
from stpbnn.kernels import UNROLLED, Closure, Gram, Tile, lower_triangle, renormalised, weight_tiles
from stpbnn.network import FullyConnected, Prior
from stpbnn.scale.design import PLAIN, Design
from stpbnn.scale.priors import prior_action, prior_curvature, prior_slope
from stpbnn.scale.saddle_point import SaddlePoint, laplace
from stpbnn.scale.steps import backtracked, newton_step

__all__ = ["LayeredAction", "LayeredEvaluation", "descend"]

MAX_STEPS = 100
FULLY_CONVERGED = 1e-12
CURVATURE = 1e-6  # smallest one of a Newton step, relative to that of the prior


def _kernel(sigma: Activation, closure: Closure, prior: Prior, gram: Gram, last: Any, below: jax.Array) -> jax.Array:
    return renormalised(sigma, prior, gram, jnp.exp(jnp.append(below, last)), closure).entries


def _along_all(derivative: Callable[[jax.Array], jax.Array], size: int) -> jax.Array:
    """Return the derivatives along all axes; in a loop where there are many, which is compiled once for all."""
    if size < UNROLLED:
        return jnp.stack([derivative(direction) for direction in jnp.eye(size)])
    return jax.lax.map(derivative, jnp.eye(size))


@partial(jax.jit, static_argnums=(0, 1))
def _linearised(sigma, closure, prior, gram, log_q):  # type: ignore[no-untyped-def]
    """Return K^R, and ∂K^R/∂log Q_l stacked for all layers."""
    value, tangent = jax.linearize(partial(_kernel, sigma, closure, prior, gram, log_q[-1]), log_q[:-1])
    tangents = _along_all(tangent, len(log_q) - 1)
    return value, jnp.concatenate([tangents, value[None] - prior.bias_variance])


@partial(jax.jit, static_argnums=(0, 1))
def _curvature(sigma, closure, prior, gram, log_q, weight):  # type: ignore[no-untyped-def]
    """Return <weight, ∂²K^R/∂log Q_l ∂log Q_m> for all layers but the last."""
    below, last = log_q[:-1], log_q[-1]
    slope = jax.grad(lambda below: jnp.vdot(weight, _kernel(sigma, closure, prior, gram, last, below)))
    _, along = jax.linearize(slope, below)
    return _along_all(along, len(below))


class LayeredEvaluation(NamedTuple):
    """S and ∂S/∂log Q at log Q, with what the Hessian takes up: α, the factor of A, ∂K and the weight A^{-1} − αα^T."""

    log_q: Float[np.ndarray, " L"]
    value: float
    gradient: Float[np.ndarray, " L"]
    residual: float
    factor: Float[np.ndarray, "P P"]
    alpha: Float[np.ndarray, " P"]
    tangents: list[Float[np.ndarray, "L b b"]]
    weights: list[Float[np.ndarray, "b b"]]


@dataclass(frozen=True)
class LayeredAction:
    r"""S(log Q) for the contrasts of one training set, by default the targets: value, gradient and Hessian.

    With :math:`\alpha = A^{-1} y`, the gradient is
    :math:`N_l (Q_l - 1) + \mathrm{tr}[(A^{-1} - \alpha\alpha^T)\, \partial K^R / \partial\log Q_l]`.
    """

    net: FullyConnected
    tiles: list[Tile]
    y: Float[np.ndarray, " c"]
    temperature: float
    closure: Closure
    design: Design = PLAIN

    def _reduced(self, tiles: Iterable[Tile]) -> Float[np.ndarray, "c c"]:
        """Return the lower triangle of a matrix of the contrasts, and zeros above it."""
        whole = lower_triangle(tiles, len(self.y) + len(self.design.tau))
        reduced = self.design.reduced(whole).contrasts
        return reduced if self.design.plain else np.asfortranarray(np.tril(reduced))

    @property
    def widths(self) -> Float[np.ndarray, " L"]:
        """N_1..N_L."""
        return np.asarray(self.net.widths, dtype=np.float64)

    def at(self, log_q: Float[np.ndarray, " L"]) -> LayeredEvaluation:
        """Return S and its gradient.

        Raises
        ------
        numpy.linalg.LinAlgError
            If A(Q) is not positive definite.
        """
        sigma, prior = self.net.sigma, self.net.prior
        pairs = [_linearised(sigma, self.closure, prior, tile.values, log_q) for tile in self.tiles]
        entries = (tile._replace(values=K) for tile, (K, _) in zip(self.tiles, pairs, strict=True))
        A = self._reduced(entries)
        A[np.diag_indices_from(A)] += self.temperature
        factor, failed = lower_cholesky(A, clean=False)
        if failed:
            raise np.linalg.LinAlgError("the kernel plus temperature is not positive definite")
        alpha, _ = lapack.dpotrs(factor, self.y, lower=1)
        weight, _ = lapack.dpotri(factor, lower=1)
        weight = blas.dsyr(-1.0, alpha, a=weight, lower=1, overwrite_a=1)
        weights = weight_tiles(self.tiles, self.design.slopes(weight))
        tangents = [np.asarray(dK) for _, dK in pairs]
        slope = sum(np.einsum("lij,ij->l", dK, w) for dK, w in zip(tangents, weights, strict=True))
        value = prior_action(self.widths, log_q) + log_det_of(factor) + self.y @ alpha
        gradient = prior_slope(self.widths, log_q) + slope
        residual = np.max(np.abs(gradient) / (self.widths * (np.exp(log_q) + 1)))
        if not np.isfinite(residual):
            raise np.linalg.LinAlgError("the action is not a finite number")
        return LayeredEvaluation(log_q, float(value), gradient, float(residual), factor, alpha, tangents, weights)

    def hessian(self, at: LayeredEvaluation) -> Float[np.ndarray, "L L"]:
        """Return ∂²S/∂log Q²."""
        net = self.net
        arguments = zip(self.tiles, at.weights, strict=True)
        parts = [_curvature(net.sigma, self.closure, net.prior, tile.values, at.log_q, w) for tile, w in arguments]
        second = np.empty((net.depth, net.depth))  # <A^{-1} − αα^T, ∂²K>
        second[-1] = second[:, -1] = at.gradient - prior_slope(self.widths, at.log_q)
        second[:-1, :-1] = np.sum(parts, axis=0)
        reduced, pulled = [], []  # F^{-1} ∂K F^{-T}, and ∂K α, with A = F F^T
        for layer in range(net.depth):
            tiles = zip(self.tiles, at.tangents, strict=True)
            tangent = self._reduced(tile._replace(values=dK[layer]) for tile, dK in tiles)
            pulled.append(blas.dsymv(1.0, tangent, at.alpha, lower=1))
            reduced.append(lapack.dsygst(tangent, at.factor, itype=1, lower=1, overwrite_a=1)[0])
        trace = np.array([[_overlap(a, b) for b in reduced] for a in reduced])
        half = solve_triangular(at.factor, np.array(pulled).T, lower=True, check_finite=False)
        mixed = np.einsum("pl,pm->lm", half, half)
        return prior_curvature(self.widths, at.log_q) + second - trace + 2 * mixed

    def rounding(self, at: LayeredEvaluation) -> float:
        """Return the size of the rounding error of the gradient, in the units of the residual.

        The entries of K^R are known to a relative ε; where they are nearly singular, α feels that as |α|² ε |K^R|.
        """
        diagonal = np.einsum("ij,ij->i", at.factor, at.factor).max()
        size = np.finfo(np.float64).eps * float(diagonal * (at.alpha @ at.alpha))
        return float(np.max(size / (self.widths * (np.exp(at.log_q) + 1))))


def _overlap(a: Float[np.ndarray, "P P"], b: Float[np.ndarray, "P P"]) -> float:
    """Return <a, b> of two symmetric matrices of which the lower triangles are there, and zeros above."""
    return float(2 * np.einsum("ij,ij", a.T, b.T) - np.diag(a) @ np.diag(b))  # transposed: in the order of storage


def descend(
    action: LayeredAction, start: Float[np.ndarray, " L"], hessian: Float[np.ndarray, "L L"]
) -> tuple[SaddlePoint, LayeredEvaluation]:
    """Return the minimum of S in whose valley a start lies, and the evaluation there.

    The steps are quasi-Newton, shortened where S would not fall.

    Parameters
    ----------
    action : LayeredAction
        S.
    start : array of shape (L,)
        log Q.
    hessian : array of shape (L, L)
        A first guess of the Hessian of S.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A(Q) is not positive definite at the start.
    """
    at, exact = action.at(start), False
    for _ in range(MAX_STEPS):
        if at.residual < max(FULLY_CONVERGED, action.rounding(at)):
            break
        step, log_q = newton_step(at.gradient, hessian, CURVATURE * action.widths.min()), at.log_q
        promised = float(at.gradient @ step)
        better = backtracked(at, lambda part: action.at(log_q + part * step), promised, action.widths.sum())  # noqa: B023
        if better is not None:
            hessian, exact = _updated(hessian, better.log_q - at.log_q, better.gradient - at.gradient), False
            at = better
        elif not exact:  # where updates fail to tell a way down, the Hessian itself may
            hessian, exact = action.hessian(at), True
        else:
            break
    hessian = action.hessian(at)
    residual = max(at.residual, action.rounding(at))
    evidence = laplace(at.value, hessian, action.widths, float(action.widths.sum()), len(action.y))
    evidence += action.design.log_jacobian
    return SaddlePoint(np.exp(at.log_q), at.value, residual, hessian, evidence), at


def _updated(
    hessian: Float[np.ndarray, "L L"], step: Float[np.ndarray, " L"], change: Float[np.ndarray, " L"]
) -> Float[np.ndarray, "L L"]:
    """Return the BFGS update of an approximate Hessian: B s becomes the change of the gradient."""
    Bs = hessian @ step
    if not (change @ step > 0 and Bs @ step > 0):
        return hessian
    return hessian - np.outer(Bs, Bs) / (Bs @ step) + np.outer(change, change) / (change @ step)
