r"""Derivatives of kernels in the inputs: the covariances of the gradient of a process.

A network's kernel depends on :math:`C = s\, x \cdot x'`, :math:`a = s |x|^2` and :math:`c = s |x'|^2`, with
:math:`s = 1/(\lambda_0 N_0)`, so that :math:`\partial_x k = s (\kappa_C\, x' + 2 \kappa_a\, x)`. At x' = x the second
derivative goes layer by layer. With k the variance of h, g its covariance with its radial derivative, and m, t the
variances of the radial and of a transverse derivative,

.. math:: k \to \frac{Q}{\lambda} \kappa(k) + b, \quad g \to \frac{Q}{\lambda} g\, \kappa', \quad
          m \to \frac{Q}{\lambda} (m A + 2 g^2 A'), \quad t \to \frac{Q}{\lambda} t A, \qquad A(k) = E[\sigma'(h)^2],

by Stein's identity; A is the derivative of the dual kernel in C, and at a kink, where A' has no derivative by
differentiation of the dual kernel, :math:`2 k^2 A' = E[\sigma'^2 h^2] - k A` is a quadrature.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import roots_hermitenorm
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Exponentiation,
    Kernel,
    Matern,
    Product,
    RationalQuadratic,
    Sum,
    WhiteKernel,
)

from stpbnn.activations import Activation
from stpbnn.kernels.closures import Gram, feature_mean, input_gram
from stpbnn.kernels.maps import GramMap, KernelMap, nngp_map
from stpbnn.kernels.nngp_kernel import NNGPKernel
from stpbnn.kernels.pooled import PooledMap
from stpbnn.network import Network

__all__ = ["InputSlopes", "kernel_slopes", "network_slopes"]

NODES = 200  # quadrature nodes at kinks: exact for functions that are linear on both sides


class InputSlopes(NamedTuple):
    """A kernel and its derivatives at query points: with training points, and with the point itself.

    `cross` is k(x, x_i) (n, P) and `cross_slopes` its derivatives in x (n, N_0, P); `variances` is k(x, x) (n,),
    `own_slopes` the derivative of k(x, x') in x at x' = x (n, N_0), and `within` that in x and x' (n, N_0, N_0), the
    covariance of the gradient.
    """

    cross: Float[np.ndarray, "n P"]
    cross_slopes: Float[np.ndarray, "n N0 P"]
    variances: Float[np.ndarray, " n"]
    own_slopes: Float[np.ndarray, "n N0"]
    within: Float[np.ndarray, "n N0 N0"]


@jax.jit
def _partial_slopes(kernel: GramMap, gram: Gram) -> tuple[Array, Array, Array]:
    """Return the kernel, and its derivatives in C and in a."""

    def along(entries: float, left: float) -> Array:
        direction = Gram(*(jnp.full_like(part, size) for part, size in zip(gram, (entries, left, 0.0), strict=True)))
        return jax.jvp(kernel, (gram,), (direction,))[1].entries

    return kernel(gram).entries, along(1.0, 0.0), along(0.0, 1.0)


def _slope(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return the derivative of a function that acts entry by entry."""
    return lambda k: jax.jvp(function, (k,), (jnp.ones_like(k),))[1]


@partial(jax.jit, static_argnums=0)
def _through(sigma: Activation, k: Array, nodes: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    """Return κ(k, k, k), its slope κ', A and A'."""

    def steepness(k: Array) -> Array:
        return _slope(lambda c: sigma.kernel(k, k, c))(k)

    A, bend = steepness(k), _slope(steepness)(k)
    h = jnp.sqrt(k)[:, None] * nodes
    second = (_slope(sigma.function)(h) ** 2 * h**2) @ weights
    at_kinks = (second - k * A) / jnp.where(k > 0, 2 * k**2, 1)
    whole = lambda k: sigma.kernel(k, k, k)  # noqa: E731
    return whole(k), _slope(whole)(k), A, jnp.where(jnp.isfinite(bend), bend, at_kinks)


def network_slopes(
    net: Network,
    kernel: KernelMap,
    Q: Float[np.ndarray, " L"],
    X: Float[np.ndarray, "n N0"],
    Z: Float[np.ndarray, "P N0"],
    mean_share: float | None = None,
) -> InputSlopes:
    """Return a network's kernel and its derivatives between query points X and training points Z.

    Parameters
    ----------
    net : Network
        The network.
    kernel : KernelMap
        Its kernel, in the nested closure or of one hidden layer.
    Q : array of shape (L,)
        The order parameters in it.
    X, Z : arrays of shape (n, N_0) and (P, N_0)
        Query points and training points.
    mean_share : float or None
        The scale p of the mean of the features in the kernel Q (K_1 − m m^T) + p m m^T, where that is kept.

    Raises
    ------
    ValueError
        For convolutional networks.
    """
    if isinstance(kernel, PooledMap):
        raise ValueError(
            f"network: got a {type(net).__name__}, whose gradient in the inputs is not known here, expected a "
            "stpbnn.FullyConnected; take differences of predictions"
        )
    prior, scale = net.prior, 1 / (net.precisions[0] * X.shape[1])
    gram = input_gram(prior, jnp.asarray(X), jnp.asarray(Z))
    cross, of_product, of_variance = (np.asarray(K) for K in _partial_slopes(kernel, gram))
    slopes = scale * (of_product[:, None, :] * Z.T + 2 * of_variance[:, None, :] * X[:, :, None])
    nodes, weights = roots_hermitenorm(NODES)
    rule = jnp.asarray(nodes), jnp.asarray(weights / weights.sum())
    r = np.linalg.norm(X, axis=1)
    k, g = jnp.asarray(scale * r**2 + prior.bias_variance), scale * r
    m, t = np.full_like(r, scale), np.full_like(r, scale)
    below = k
    for precision, q in zip(net.precisions[1:], Q, strict=True):
        below = k
        value, slope, A, bend = _through(net.sigma, k, *rule)
        size = q / precision
        m, t, g = size * (m * A + 2 * g**2 * bend), size * t * A, size * g * slope
        k = size * value + prior.bias_variance
    if mean_share is not None:
        mean = partial(feature_mean, net.sigma, precision=net.precisions[1])
        value, steep = mean(below), _slope(mean)(below) * 2 * scale * r
        extra = mean_share - Q[0]
        k, g, m = k + extra * value**2, g + extra * value * steep, m + extra * steep**2
    e = X / np.where(r > 0, r, 1)[:, None]
    m, t, g = np.asarray(m), np.asarray(t), np.asarray(g)
    within = t[:, None, None] * np.eye(X.shape[1]) + (m - t)[:, None, None] * e[:, :, None] * e[:, None, :]
    return InputSlopes(cross, slopes, np.asarray(k), g[:, None] * e, within)


def kernel_slopes(kernel: Kernel, X: Float[np.ndarray, "n N0"], Z: Float[np.ndarray, "P N0"]) -> InputSlopes:
    """Return a kernel object and its derivatives between query points X and training points Z.

    Raises
    ------
    ValueError
        For kernels whose processes have no derivative, or whose derivatives are not known here.
    """
    if isinstance(kernel, NNGPKernel):
        net = kernel._net
        return network_slopes(net, nngp_map(net), np.ones(net.depth), X, Z)
    if isinstance(kernel, Sum | Product):
        one, two = kernel_slopes(kernel.k1, X, Z), kernel_slopes(kernel.k2, X, Z)
        return _sum(one, two) if isinstance(kernel, Sum) else _product(one, two)
    if isinstance(kernel, Exponentiation):
        return _power(kernel_slopes(kernel.kernel, X, Z), kernel.exponent)
    (n, features), P = X.shape, len(Z)
    flat = InputSlopes(
        np.zeros((n, P)),
        np.zeros((n, features, P)),
        np.zeros(n),
        np.zeros((n, features)),
        np.zeros((n, features, features)),
    )
    if isinstance(kernel, WhiteKernel):  # noise, of which f has no derivative
        return flat
    if isinstance(kernel, ConstantKernel):
        return flat._replace(cross=flat.cross + kernel.constant_value, variances=flat.variances + kernel.constant_value)
    if isinstance(kernel, DotProduct):
        variances, within = kernel.diag(X), flat.within + np.eye(features)
        return InputSlopes(kernel(X, Z), flat.cross_slopes + Z.T, variances, X, within)
    radial, at_zero = _radial(kernel)
    lengths = np.broadcast_to(kernel.length_scale, features)
    shift = (X[:, :, None] - Z.T) / lengths[:, None]
    slope = radial(np.sum(shift**2, axis=1))
    within = flat.within - 2 * at_zero * np.diag(lengths**-2.0)
    return InputSlopes(
        kernel(X, Z), 2 * slope[:, None, :] * shift / lengths[:, None], kernel.diag(X), flat.own_slopes, within
    )


def _sum(one: InputSlopes, two: InputSlopes) -> InputSlopes:
    return InputSlopes(*(a + b for a, b in zip(one, two, strict=True)))


def _product(one: InputSlopes, two: InputSlopes) -> InputSlopes:
    between = one.own_slopes[:, :, None] * two.own_slopes[:, None, :]
    return InputSlopes(
        one.cross * two.cross,
        one.cross_slopes * two.cross[:, None, :] + one.cross[:, None, :] * two.cross_slopes,
        one.variances * two.variances,
        one.own_slopes * two.variances[:, None] + one.variances[:, None] * two.own_slopes,
        one.within * two.variances[:, None, None]
        + one.variances[:, None, None] * two.within
        + between
        + between.transpose(0, 2, 1),
    )


def _power(of: InputSlopes, p: float) -> InputSlopes:
    own, k = of.own_slopes, of.variances
    bent = (p * (p - 1) * k ** (p - 2))[:, None, None] * own[:, :, None] * own[:, None, :] if p != 1 else 0.0
    return InputSlopes(
        of.cross**p,
        p * of.cross[:, None, :] ** (p - 1) * of.cross_slopes,
        k**p,
        p * k[:, None] ** (p - 1) * own,
        p * k[:, None, None] ** (p - 1) * of.within + bent,
    )


def _radial(kernel: Kernel) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Return dk/ds of a stationary kernel as a function of the squared scaled distance s, and its value at zero."""
    if type(kernel) is RationalQuadratic:
        alpha = kernel.alpha
        return lambda s: -0.5 * (1 + s / (2 * alpha)) ** (-alpha - 1), -0.5
    nu = np.inf if type(kernel) is RBF else kernel.nu if type(kernel) is Matern else 0.0
    if nu == np.inf:
        return lambda s: -0.5 * np.exp(-s / 2), -0.5
    if nu == 1.5:
        return lambda s: -1.5 * np.exp(-np.sqrt(3 * s)), -1.5
    if nu == 2.5:
        return lambda s: -5 / 6 * (1 + np.sqrt(5 * s)) * np.exp(-np.sqrt(5 * s)), -5 / 6
    raise ValueError(
        f"kernel: got {kernel!r}, expected kernels whose derivatives are known: RBF, RationalQuadratic, Matern of nu "
        "1.5, 2.5 or infinity, DotProduct, ConstantKernel, WhiteKernel, NNGPKernel, their sums, products and powers"
    )
