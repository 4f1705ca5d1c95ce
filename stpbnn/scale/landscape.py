"""Kernels of a network over its precisions θ and its order parameters z, and their slopes as weights on matrices.

A weight W is made once by matrix products; ⟨W, ∂K⟩ is then taken entry by entry, by forward differentiation of the
kernel: no tensor of derivatives is stored.
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

from stpbnn import kernels
from stpbnn._linalg import mirrored
from stpbnn.kernels import CLOSURES, Gram, features, hyperparameters, input_gram, mean_kept, nngp, renormalised
from stpbnn.network import Convolutional, FullyConnected, Network, Prior
from stpbnn.scale.design import PLAIN, Design
from stpbnn.scale.priors import prior_action

__all__ = [
    "CLOSURE_ACTIONS",
    "FEATURES",
    "FLUCTUATIONS",
    "MEAN_KEPT",
    "OUTER_MEAN",
    "Ingredients",
    "Landscape",
    "along",
    "covariance",
    "directional_kernel",
    "evidence_gradient",
    "gaussian_gradient",
    "infinite_slopes",
    "inverse_and_solution",
    "kernel_slopes",
    "network_kernel",
    "order_slopes",
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
    *below, last = prior.precisions
    return features(sigma, nngp(sigma, prior._replace(precisions=tuple(below)), gram), last).entries


def _of_mean(Q, p, sigma, prior, gram, z):  # type: ignore[no-untyped-def]
    return mean_kept(sigma, prior._replace(bias_variance=0.0), gram, Q, p).entries


CLOSURE_ACTIONS = {closure: Ingredients(partial(_renormalised, closure)) for closure in CLOSURES}  # z = log Q
MEAN_KEPT = Ingredients(_mean_kept, lambda widths, z: widths[0] * (jnp.log1p(z[0]) - z[0] * z[1]))  # z = (q, Q)
# without the output bias and whatever z: K_L, and of one hidden layer K_1 − m m^T and m m^T
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


def network_kernel(
    net: FullyConnected, problem: Ingredients, base: Gram, theta: Array, z: Array
) -> Float[Array, "P P"]:
    """Return K^R at hyper-parameters θ and order parameters z."""
    prior = hyperparameters.prior_of(net, theta)
    gram = jax.tree.map(lambda c: c / prior.precisions[0] + prior.bias_variance, base)
    return problem.kernel(net.sigma, prior, gram, z)


def along(function: Callable[[Array], Array], v: Array) -> Callable[[Array], Array]:
    """Return the directional derivative D_v of a function."""
    return lambda z: jax.jvp(function, (z,), (v,))[1]


def _forward_gradient(function: Callable[[Array], Scalar], x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the gradient, one direction at a time, in the memory of a single evaluation."""
    return jax.lax.map(lambda e: along(function, e)(x), jnp.eye(len(x)))


@partial(jax.jit, static_argnums=(0, 1))
def _kernel_slopes(net, problem, base, theta, z, weight):  # type: ignore[no-untyped-def]
    return _forward_gradient(lambda t: jnp.vdot(weight, network_kernel(net, problem, base, t, z)), theta)


def kernel_slopes(
    landscape: Landscape, z: Float[np.ndarray, " k"] | None, weight: Float[np.ndarray, "P P"]
) -> Float[np.ndarray, " n"]:
    """Return <weight, ∂K^R/∂θ> for every logarithm θ of a precision."""
    net, problem, base, theta = landscape
    return np.array(_kernel_slopes(net, problem, base, theta, z, weight))


def infinite_slopes(
    net: Network, X: Float[np.ndarray, "P N0"], weight: Float[np.ndarray, "P P"]
) -> Float[np.ndarray, " n"]:
    """Return <weight, ∂K/∂θ> of the kernel of infinite width, of a network of any kind."""
    if isinstance(net, Convolutional):
        return kernels.NNGPKernel(net).contract(kernels.Inputs(X), (weight + weight.T) / 2)
    assert isinstance(net, FullyConnected)
    return kernel_slopes(Landscape.of(net, X, CLOSURE_ACTIONS["nested"]), np.zeros(net.depth), weight)


@partial(jax.jit, static_argnums=(0, 1))
def _order_slopes(net, problem, base, theta, z, weight):  # type: ignore[no-untyped-def]
    return _forward_gradient(lambda x: jnp.vdot(weight, network_kernel(net, problem, base, theta, x)), z)


def order_slopes(
    landscape: Landscape, z: Float[np.ndarray, " k"], weight: Float[np.ndarray, "P P"]
) -> Float[np.ndarray, " k"]:
    """Return <weight, ∂K^R/∂z> for every order parameter z."""
    net, problem, base, theta = landscape
    return np.array(_order_slopes(net, problem, base, theta, z, weight))


def inverse_and_solution(A: Float[np.ndarray, "P P"], y: Float[np.ndarray, "P ..."]) -> tuple[np.ndarray, np.ndarray]:
    """Return A^{-1} and A^{-1} y; A is overwritten, and LinAlgError is raised where it is not positive definite."""
    factor = cholesky(A, lower=True, overwrite_a=True, check_finite=False)
    alpha = cho_solve((factor, True), y, check_finite=False)
    B, _ = lapack.dpotri(factor, lower=1)
    return mirrored(B), alpha


@partial(jax.jit, static_argnums=(0, 1))
def _directional(net, problem, base, theta, direction):  # type: ignore[no-untyped-def]
    return along(lambda t: network_kernel(net, problem, base, t, None), direction)(theta)


def directional_kernel(landscape: Landscape, direction: Float[np.ndarray, " n"]) -> Float[np.ndarray, "P P"]:
    """Return the derivative along a direction of θ of a kernel that does not depend on z."""
    return np.asarray(_directional(*landscape, direction))


def gaussian_gradient(
    landscape: Landscape,
    z: Float[np.ndarray, " k"],
    y: Float[np.ndarray, "P ..."],
    temperature: float,
    design: Design = PLAIN,
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
    design : Design
        A trend, and variances of the noise in units of T.
    """
    return evidence_gradient(
        covariance(landscape, z, 0.0), partial(kernel_slopes, landscape, z), y, temperature, design
    )


def evidence_gradient(
    K: Float[np.ndarray, "P P"],
    slopes: Callable[[Float[np.ndarray, "P P"]], Float[np.ndarray, " n"]],
    y: Float[np.ndarray, "P ..."],
    temperature: float,
    design: Design = PLAIN,
) -> Float[np.ndarray, " m"]:
    """Return the gradient of log N(y; 0, A) in θ and log T, given K, which is overwritten, and W ↦ <W, ∂K/∂θ>."""
    A, y = design.reduced(K).contrasts, design.targets(y)[1]
    A[np.diag_indices_from(A)] += temperature
    B, alpha = inverse_and_solution(A, y.reshape(len(y), -1))
    weight = (alpha @ alpha.T - alpha.shape[1] * B) / 2
    return np.append(slopes(design.slopes(weight)), temperature * np.trace(weight))


@partial(jax.jit, static_argnums=(0, 1))
def _value(net, problem, base, theta, z):  # type: ignore[no-untyped-def]
    return network_kernel(net, problem, base, theta, z)


def covariance(landscape: Landscape, z: Float[np.ndarray, " k"], temperature: float) -> Float[np.ndarray, "P P"]:
    """Return A = K^R + T at the landscape's own hyper-parameters."""
    net, problem, base, theta = landscape
    A = np.array(_value(net, problem, base, theta, z))
    A[np.diag_indices_from(A)] += temperature
    return A
