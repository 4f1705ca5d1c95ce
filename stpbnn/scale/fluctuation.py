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

W, W' and V are matrix products, made once; what remains is entry by entry, by forward differentiation of the kernel.

References
----------
Theory notes, section 4 (log evidence at the saddle).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import cho_solve, cholesky, lapack

from stpbnn.kernels import CLOSURES, Gram, features, hyperparameters, input_gram, mean_kept, renormalised
from stpbnn.network import FullyConnected, Prior
from stpbnn.scale.design import Design
from stpbnn.scale.priors import prior_action

__all__ = [
    "CLOSURE_ACTIONS",
    "FEATURES",
    "FLUCTUATIONS",
    "MEAN_KEPT",
    "OUTER_MEAN",
    "Landscape",
    "along",
    "directional_kernel",
    "gaussian_gradient",
    "kernel_slopes",
    "order_slopes",
    "saddle_gradient",
]

Scalar = Float[Array, ""]


class Ingredients(NamedTuple):
    """The kernel of a problem, (activation, prior, inputs' Gram, z) -> K, and the prior's part of S, (N, z) -> S_0."""

    kernel: Callable[[Any, Prior, Gram, Array], Array]
    prior: Callable[[Array, Array], Scalar] = partial(prior_action, xp=jnp)


def _renormalised(closure, sigma, prior, gram, z):  # type: ignore[no-untyped-def]
    return renormalised(sigma, prior, gram, jnp.exp(z), closure).entries


def _mean_kept(sigma, prior, gram, z):  # type: ignore[no-untyped-def]
    return mean_kept(sigma, prior, gram, z[1], 1 / (1 + z[0])).entries


def _features(sigma, prior, gram, z):  # type: ignore[no-untyped-def]
    return features(sigma, gram, prior.precisions[1]).entries


def _of_mean(Q, p, sigma, prior, gram, z):  # type: ignore[no-untyped-def]
    return mean_kept(sigma, prior._replace(bias_variance=0.0), gram, Q, p).entries


CLOSURE_ACTIONS = {closure: Ingredients(partial(_renormalised, closure)) for closure in CLOSURES}  # z = log Q
MEAN_KEPT = Ingredients(_mean_kept, lambda widths, z: widths[0] * (jnp.log1p(z[0]) - z[0] * z[1]))  # z = (q, Q)
# one hidden layer, without the output bias and whatever z: K_1, K_1 − m m^T and m m^T
FEATURES = Ingredients(_features)
FLUCTUATIONS = Ingredients(partial(_of_mean, 1.0, 0.0))
OUTER_MEAN = Ingredients(partial(_of_mean, 0.0, 1.0))


class Landscape(NamedTuple):
    """Kernels of a network over its hyper-parameters θ and order parameters z, compiled once for all values of both."""

    net: FullyConnected  # with all of its numbers one: what a compiled function depends on
    problem: Ingredients
    base: Gram  # X X^T / N_0
    theta: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, net: FullyConnected, X: Float[np.ndarray, "P N0"], problem: Ingredients) -> Landscape:
        """Return the kernels of a network on training inputs, at its own hyper-parameters."""
        theta = hyperparameters.log_values(net)
        plain = hyperparameters.with_values(replace(net, widths=(1,) * net.depth), np.zeros(len(theta)))
        return cls(plain, problem, _base(X), theta)


@jax.jit
def _base(X: Float[Array, "P N0"]) -> Gram:
    return input_gram(Prior((1.0,)), X)


def _kernel(net: FullyConnected, problem: Ingredients, base: Gram, theta: Array, z: Array) -> Float[Array, "P P"]:
    prior = hyperparameters.prior_of(net, theta)
    gram = jax.tree.map(lambda c: c / prior.precisions[0] + prior.bias_variance, base)
    return problem.kernel(net.sigma, prior, gram, z)


def along(function: Callable[[Array], Array], v: Array) -> Callable[[Array], Array]:
    """Return the directional derivative D_v of a function."""
    return lambda z: jax.jvp(function, (z,), (v,))[1]


def _forward_gradient(function: Callable[[Array], Scalar], x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the gradient, one direction at a time: the memory of a single evaluation."""
    return jax.lax.map(lambda e: along(function, e)(x), jnp.eye(len(x)))


@partial(jax.jit, static_argnums=(0, 1))
def _kernel_slopes(net, problem, base, theta, z, weight):  # type: ignore[no-untyped-def]
    return _forward_gradient(lambda t: jnp.vdot(weight, _kernel(net, problem, base, t, z)), theta)


def kernel_slopes(
    landscape: Landscape, z: Float[np.ndarray, " k"] | None, weight: Float[np.ndarray, "P P"]
) -> Float[np.ndarray, " n"]:
    """Return <weight, ∂K^R/∂θ> for every logarithm θ of a precision."""
    net, problem, base, theta = landscape
    return np.array(_kernel_slopes(net, problem, base, theta, z, weight))


@partial(jax.jit, static_argnums=(0, 1))
def _order_slopes(net, problem, base, theta, z, weight):  # type: ignore[no-untyped-def]
    return _forward_gradient(lambda x: jnp.vdot(weight, _kernel(net, problem, base, theta, x)), z)


def order_slopes(
    landscape: Landscape, z: Float[np.ndarray, " k"], weight: Float[np.ndarray, "P P"]
) -> Float[np.ndarray, " k"]:
    """Return <weight, ∂K^R/∂z> for every order parameter z."""
    net, problem, base, theta = landscape
    return np.array(_order_slopes(net, problem, base, theta, z, weight))


def _inverse(A: Float[np.ndarray, "P P"], y: Float[np.ndarray, "P ..."]) -> tuple[np.ndarray, np.ndarray]:
    """Return A^{-1} and A^{-1} y; A is overwritten, and LinAlgError is raised where it is not positive definite."""
    factor = cholesky(A, lower=True, overwrite_a=True, check_finite=False)
    alpha = cho_solve((factor, True), y, check_finite=False)
    B, _ = lapack.dpotri(factor, lower=1)
    return np.tril(B) + np.tril(B, -1).T, alpha


@partial(jax.jit, static_argnums=(0, 1))
def _directional(net, problem, base, theta, direction):  # type: ignore[no-untyped-def]
    return along(lambda t: _kernel(net, problem, base, t, None), direction)(theta)


def directional_kernel(landscape: Landscape, direction: Float[np.ndarray, " n"]) -> Float[np.ndarray, "P P"]:
    """Return the derivative along a direction of θ of a kernel that does not depend on z."""
    return np.asarray(_directional(*landscape, direction))


def gaussian_gradient(
    landscape: Landscape,
    z: Float[np.ndarray, " k"],
    y: Float[np.ndarray, "P ..."],
    temperature: float,
    design: Design | None = None,
) -> Float[np.ndarray, " m"]:
    r"""Return the gradient of log N(y; 0, A) at fixed order parameters z, in θ and, last, in log T.

    .. math:: \tfrac12 \langle \alpha\alpha^T - D A^{-1}, \partial A \rangle

    Parameters
    ----------
    landscape : Landscape
        Kernels over hyper-parameters and order parameters.
    z : array
        Order parameters.
    y : array of shape (P,) or (P, D)
        Targets, independent of each other given A.
    temperature : float
        T, the variance of the noise.
    design : Design, optional
        A trend and variances of the noise in units of T, where there are such.
    """
    A = _covariance(landscape, z, 0.0)
    if design is not None:
        A, y = design.reduced(A).contrasts, design.targets(y)[1]
    A[np.diag_indices_from(A)] += temperature
    B, alpha = _inverse(A, y.reshape(len(y), -1))
    weight = (alpha @ alpha.T - alpha.shape[1] * B) / 2
    of_kernel = weight if design is None else design.slopes(weight)
    return np.append(kernel_slopes(landscape, z, of_kernel), temperature * np.trace(weight))


@partial(jax.jit, static_argnums=(0, 1))
def _value(net, problem, base, theta, z):  # type: ignore[no-untyped-def]
    return _kernel(net, problem, base, theta, z)


def _covariance(landscape: Landscape, z: Float[np.ndarray, " k"], temperature: float) -> Float[np.ndarray, "P P"]:
    net, problem, base, theta = landscape
    A = np.array(_value(net, problem, base, theta, z))
    A[np.diag_indices_from(A)] += temperature
    return A


@partial(jax.jit, static_argnums=(0, 1))
def _tangents(net, problem, base, theta, z, v):  # type: ignore[no-untyped-def]
    """D_v K and D_v² K."""
    first = along(partial(_kernel, net, problem, base, theta), v)
    return first(z), along(first, v)(z)


@partial(jax.jit, static_argnums=(0, 1))
def _slope(net, problem, base, point, direction, widths, directions, signs, W, W1, V, w):  # type: ignore[no-untyped-def]
    """Slope of <V, K> − <W, D_w K> + Σ s_k [<W, D_k² K> + 2 <W_k', D_k K> + D_k² S_prior] in (θ, z)."""

    def functional(theta: Array, z: Array) -> Scalar:
        kernel = partial(_kernel, net, problem, base, theta)

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
    """
    net, problem, base, theta = landscape
    B, alpha = _inverse(_covariance(landscape, z, temperature), y)
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
    return -np.append(slopes, temperature * np.trace(V)) / 2


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
