r"""The gradient of the log evidence in the hyper-parameters: precisions and temperature, all as logarithms θ.

At a stationary point z̄ of the action, with H its Hessian in z and :math:`\log Z = -\tfrac12 S - \tfrac12\log|\det H|`
up to a constant, S is stationary (envelope theorem) and z̄ moves by :math:`-H^{-1} \partial_z\partial_\theta S`:

.. math::
    -2\, \frac{d \log Z}{d\theta} = \partial_\theta S + \sum_k s_k\, \partial_\theta D_{v_k}^2 S
    - \partial_\theta D_w S, \qquad H^{-1} = \sum_k s_k v_k v_k^T, \qquad
    w = H^{-1} \sum_k s_k\, \partial_z D_{v_k}^2 S

with D the directional derivative in z. The derivatives of :math:`E = \log\det A + y^T A^{-1} y` are weights on those of
A, up to the third order: with :math:`B = A^{-1}`, :math:`\alpha = By`, :math:`W = B - \alpha\alpha^T` and a prime for
D_v,

.. math::
    \partial E = \langle W, \partial A\rangle, \qquad
    \partial D_v^2 E = \langle W, \partial A''\rangle + 2 \langle W', \partial A'\rangle + \langle V, \partial A\rangle.

W, W' and V are matrix products, made once; forward differentiation of the kernel, entry by entry, does the rest.

References
----------
Theory notes, section 4 (log evidence at the saddle).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stpbnn.scale.design import PLAIN, Design
from stpbnn.scale.landscape import Landscape, along, covariance, inverse_and_solution, network_kernel

__all__ = ["saddle_gradient"]

Scalar = Float[Array, ""]


@partial(jax.jit, static_argnums=(0, 1))
def _tangents(net, problem, base, theta, z, v):  # type: ignore[no-untyped-def]
    """Return D_v K and D_v² K."""
    first = along(partial(network_kernel, net, problem, base, theta), v)
    return first(z), along(first, v)(z)


@partial(jax.jit, static_argnums=(0, 1))
def _slope(net, problem, base, point, direction, widths, directions, signs, W, W1, V, w):  # type: ignore[no-untyped-def]
    """Slope of <V, K> − <W, D_w K> + Σ s_k [<W, D_k² K> + 2 <W_k', D_k K> + D_k² S_prior] in (θ, z)."""

    def functional(theta: Array, z: Array) -> Scalar:
        kernel = partial(network_kernel, net, problem, base, theta)

        def curvature(terms: tuple[Array, Array, Array]) -> Scalar:
            v, sign, slope = terms
            first, prior = along(kernel, v), along(partial(problem.prior, widths), v)
            of_data = jnp.vdot(W, along(first, v)(z)) + 2 * jnp.vdot(slope, first(z))
            return sign * (of_data + along(prior, v)(z))

        flat = jnp.vdot(V, kernel(z)) - jnp.vdot(W, along(kernel, w)(z))
        return flat + jax.lax.map(curvature, (directions, signs, W1)).sum()

    return jax.jvp(functional, point, direction)[1]


def saddle_gradient(
    landscape: Landscape,
    z: Float[np.ndarray, " k"],
    hessian: Float[np.ndarray, "k k"],
    y: Float[np.ndarray, " P"],
    widths: Float[np.ndarray, " L"],
    temperature: float,
    design: Design = PLAIN,
) -> Float[np.ndarray, " m"]:
    r"""Return the gradient of the log evidence at a stationary point, in θ and, last, in log T.

    Parameters
    ----------
    landscape : Landscape
        Kernels over hyper-parameters and order parameters.
    z : array of shape (k,)
        The stationary point: log Q, or (q, Q) where the mean is kept.
    hessian : array of shape (k, k)
        H, that of S in z; its determinant must not vanish.
    y : array of shape (P,)
        Targets.
    widths : array of shape (L,)
        N_1..N_L.
    temperature : float
        T, the variance of the noise.
    design : Design
        A trend, and variances of the noise in units of T.
    """
    net, problem, base, theta = landscape
    B, alpha = _resolved(covariance(landscape, z, 0.0), y, temperature, design)
    W = B - np.outer(alpha, alpha)
    curvatures, axes = np.linalg.eigh(hessian)
    directions = (axes / np.sqrt(np.abs(curvatures))).T
    W1, V = np.empty((len(z), *B.shape)), np.zeros_like(B)
    for k, (v, curvature) in enumerate(zip(directions, curvatures, strict=True)):
        first, second = (np.asarray(K) for K in _tangents(net, problem, base, theta, z, v))
        ratio = v[0] if len(z) == 1 else None  # A'' / A' in log Q of one layer
        W1[k], of_curvature = _second_order(B, alpha, first, second, ratio)
        V += np.sign(curvature) * of_curvature
    given = (widths, directions, np.sign(curvatures), W, W1)

    def slope(dtheta: Float[np.ndarray, " n"], dz: Float[np.ndarray, " k"], *rest: np.ndarray) -> float:
        return float(_slope(net, problem, base, (theta, z), (dtheta, dz), *given, *rest))

    still, fixed = np.zeros_like(theta), np.zeros_like(z)
    w = np.linalg.solve(hessian, [slope(still, dz, V, fixed) for dz in np.eye(len(z))])
    V += W - np.tensordot(directions @ w * np.abs(curvatures), W1, axes=1)
    slopes = [slope(dtheta, fixed, V, w) for dtheta in np.eye(len(theta))]
    of_noise = np.trace(V) if design.root is None else np.diag(V) @ design.root**-2
    return -np.append(slopes, temperature * of_noise) / 2


def _resolved(
    K: Float[np.ndarray, "P P"], y: Float[np.ndarray, " P"], temperature: float, design: Design
) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision of the targets and α, given K, which is overwritten; both are those of the contrasts."""
    A = design.reduced(K).contrasts
    A[np.diag_indices_from(A)] += temperature
    B, alpha = inverse_and_solution(A, design.targets(y)[1])
    return design.slopes(B), design.expanded(alpha)


def _second_order(
    B: Float[np.ndarray, "P P"],
    alpha: Float[np.ndarray, " P"],
    first: Float[np.ndarray, "P P"],
    second: Float[np.ndarray, "P P"],
    ratio: float | None,
) -> tuple[Float[np.ndarray, "P P"], Float[np.ndarray, "P P"]]:
    """Return W' and V, from A' and A'', which may be known to be proportional."""
    product = B @ first
    twice = product @ B  # B A' B
    drawn = product @ alpha
    bent = B @ second @ B if ratio is None else ratio * twice
    pull = B @ (second @ alpha) - 2 * (product @ drawn)
    V = 2 * product @ twice - bent - 2 * np.outer(drawn, drawn) + np.outer(pull, alpha) + np.outer(alpha, pull)
    return np.outer(drawn, alpha) + np.outer(alpha, drawn) - twice, V
