r"""A network's kernels as functions of arrays: the input Gram matrix, the NNGP recursion, the renormalised closures.

A kernel between two sets of inputs is carried as a `Gram`: its entries together with the variances of both sets,
which is all that an activation's dual kernel needs to go one layer further. The activation is fixed at compile
time; the numbers of the prior and the order parameters may be traced and differentiated.

With :math:`Q_l` the order parameter of layer l and :math:`\kappa` the dual kernel,

.. math::
    K_0 = C = X X^T / (\lambda_0 N_0) \;(+ 1/\lambda_b), \qquad
    K_l = Q_l\, \kappa(K_{l-1}) / \lambda_l \;(+ 1/\lambda_b)

is the *nested* closure of Pacelli et al.; Q = 1 gives the infinite-width (NNGP) kernel. The *global* closure
rescales the last kernel by the product of all order parameters, and the *wishart* closure linearises each layer's
kernel map about the NNGP kernel of the layer below. All three agree for one hidden layer and, without biases, for
linear and relu networks of any depth.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from stpbnn.activations import Activation
from stpbnn.network import Prior

__all__ = [
    "CLOSURES",
    "UNROLLED",
    "Closure",
    "Gram",
    "feature_mean",
    "features",
    "input_gram",
    "input_variances",
    "mean_kept",
    "nngp",
    "renormalised",
]

Closure = Literal["nested", "global", "wishart"]
CLOSURES = get_args(Closure)
UNROLLED = 3  # layers: beyond, the time of compilation would grow with them
Scalar = Float[Array, ""] | float


class Gram(NamedTuple):
    """A kernel between two sets of inputs: entries (n, m), and the variances (n,) and (m,) of the two sets."""

    entries: Float[Array, "n m"]
    left: Float[Array, " n"]
    right: Float[Array, " m"]


def input_variances(prior: Prior, X: Float[Array, "n N0"]) -> Float[Array, " n"]:
    """Return |x|² / (λ_0 N_0) + 1/λ_b, the diagonal of C."""
    return jnp.sum(X * X, axis=1) / (prior.precisions[0] * X.shape[1]) + prior.bias_variance


def input_gram(prior: Prior, X1: Float[Array, "n N0"], X2: Float[Array, "m N0"] | None = None) -> Gram:
    """Return C = X1 X2^T / (λ_0 N_0) + 1/λ_b; with one set of inputs, that of the set with itself.

    Parameters
    ----------
    prior : Prior
        Weight precisions and bias variance.
    X1, X2 : arrays of shape (n, N_0) and (m, N_0)
        Inputs.
    """
    scale = 1 / (prior.precisions[0] * X1.shape[1])
    left = input_variances(prior, X1)
    entries = scale * (X1 @ (X1 if X2 is None else X2).T) + prior.bias_variance
    if X2 is None:  # x = x' to the last digit: no rounding sets the diagonal apart
        return Gram(jnp.fill_diagonal(entries, left, inplace=False), left, left)
    return Gram(entries, left, input_variances(prior, X2))


def features(sigma: Activation, gram: Gram, precision: Scalar) -> Gram:
    """Return κ(K)/λ_l, the kernel of a layer's features, from the kernel K of its pre-activations."""
    entries, left, right = gram
    return Gram(
        sigma.kernel(left[:, None], right[None, :], entries) / precision,
        sigma.kernel(left, left, left) / precision,
        sigma.kernel(right, right, right) / precision,
    )


def _scaled(gram: Gram, scale: Scalar, bias_variance: Scalar) -> Gram:
    """Return Q K + 1/λ_b, the kernel of the next layer's pre-activations."""
    return jax.tree.map(lambda k: scale * k + bias_variance, gram)


def _nested(sigma: Activation, prior: Prior, gram: Gram, Q: Float[Array, " L"]) -> Gram:
    """Return K_L of the recursion K_l = Q_l κ(K_{l-1})/λ_l + 1/λ_b."""
    depth = len(prior.precisions) - 1
    if depth > UNROLLED:  # a loop, which is compiled once for all layers

        def layer(below: Gram, numbers: tuple[Array, Array]) -> tuple[Gram, None]:
            precision, scale = numbers
            return _scaled(features(sigma, below, precision), scale, prior.bias_variance), None

        precisions = jnp.stack([jnp.asarray(number, gram.left.dtype) for number in prior.precisions[1:]])
        return jax.lax.scan(layer, gram, (precisions, Q[:depth].astype(gram.left.dtype)))[0]
    for index, precision in enumerate(prior.precisions[1:]):
        gram = _scaled(features(sigma, gram, precision), Q[index], prior.bias_variance)
    return gram


def _global(sigma: Activation, prior: Prior, gram: Gram, Q: Float[Array, " L"]) -> Gram:
    """Return Π_l Q_l κ(K_{L-1})/λ_L + 1/λ_b, K_{L-1} that of infinite width."""
    below = _nested(sigma, prior._replace(precisions=prior.precisions[:-1]), gram, jnp.ones_like(Q))
    return _scaled(features(sigma, below, prior.precisions[-1]), jnp.prod(Q), prior.bias_variance)


def _wishart(sigma: Activation, prior: Prior, gram: Gram, Q: Float[Array, " L"]) -> Gram:
    """Return G(K; Q_l, …) = G(k; Q_{l+1}, …) + (Q_l − 1) DG(k; Q_{l+1}, …)[κ(K)/λ_l], with k = κ(K)/λ_l + 1/λ_b.

    G of the last layer is Q_L κ(K)/λ_L + 1/λ_b.
    """
    hidden = features(sigma, gram, prior.precisions[1])
    if len(Q) == 1:
        return _scaled(hidden, Q[0], prior.bias_variance)
    above = prior._replace(precisions=prior.precisions[1:])
    value, slope = jax.jvp(
        lambda k: _wishart(sigma, above, k, Q[1:]), (_scaled(hidden, 1.0, prior.bias_variance),), (hidden,)
    )
    return jax.tree.map(lambda g, dg: g + (Q[0] - 1) * dg, value, slope)


def renormalised(
    sigma: Activation, prior: Prior, gram: Gram, Q: Float[Array, " L"], closure: Closure = "nested"
) -> Gram:
    r"""Return K^R(Q) in the closure nested, global or wishart (theory notes, section 3), from the inputs' Gram matrix.

    * nested: :math:`K_l = Q_l\, \kappa(K_{l-1}) / \lambda_l + 1/\lambda_b`
    * global: :math:`K^R = \prod_l Q_l\; \kappa(K_{L-1}) / \lambda_L + 1/\lambda_b` with K_{L-1} of infinite width
    * wishart: :math:`G(K; Q_l, \dots) = G(k; Q_{l+1}, \dots) + (Q_l - 1)\, DG(k; Q_{l+1}, \dots)[\kappa(K)/\lambda_l]`

    with :math:`k = \kappa(K)/\lambda_l + 1/\lambda_b`.

    Parameters
    ----------
    sigma : Activation
        The activation of the hidden layers.
    prior : Prior
        L + 1 weight precisions, and the bias variance.
    gram : Gram
        C, as `input_gram` gives it.
    Q : array of shape (L,)
        Order parameters, one for each hidden layer; ones give the NNGP kernel.
    closure : {"nested", "global", "wishart"}
        How the layers' order parameters enter.

    References
    ----------
    Theory notes, section 3; Pacelli et al. (2023) for the nested closure; the global one is that of the
    authors' code for Baglioni et al., arXiv:2605.29684.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((10,), "linear")
    >>> gram = input_gram(net.prior, jnp.eye(2))
    >>> renormalised(net.sigma, net.prior, gram, jnp.array([0.5])).entries.tolist()
    [[0.25, 0.0], [0.0, 0.25]]
    """
    return {"nested": _nested, "global": _global, "wishart": _wishart}[closure](sigma, prior, gram, Q)


def nngp(sigma: Activation, prior: Prior, gram: Gram) -> Gram:
    """Return the infinite-width kernel K_L (theory notes, section 2) from the Gram matrix of the inputs.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((10, 10), "relu")
    >>> nngp(net.sigma, net.prior, input_gram(net.prior, jnp.eye(2))).left.tolist()  # a quarter of the input's
    [0.125, 0.125]
    """
    return _nested(sigma, prior, gram, jnp.ones(len(prior.precisions) - 1, gram.left.dtype))


def feature_mean(sigma: Activation, variances: Float[Array, " n"], precision: Scalar) -> Float[Array, " n"]:
    """Return m/√λ_l, the Gaussian mean of a layer's features in the units of K_l, from the variances below it."""
    if sigma.odd or sigma.mean is None:
        return jnp.zeros_like(variances)
    return sigma.mean(variances) * jnp.asarray(precision) ** -0.5


def mean_kept(sigma: Activation, prior: Prior, gram: Gram, Q: Scalar, p: Scalar) -> Gram:
    """Return Q (K_1 − m m^T) + p m m^T + 1/λ_b: one hidden layer, with a scale of its own for the mean's direction.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((10,), "relu")
    >>> gram = input_gram(net.prior, jnp.eye(2))
    >>> kept, full = mean_kept(net.sigma, net.prior, gram, 1.0, 1.0), nngp(net.sigma, net.prior, gram)
    >>> bool(jnp.allclose(kept.entries, full.entries))
    True
    """
    precision = prior.precisions[1]
    K = features(sigma, gram, precision)
    left, right = feature_mean(sigma, gram.left, precision), feature_mean(sigma, gram.right, precision)
    means = Gram(jnp.outer(left, right), left**2, right**2)
    return jax.tree.map(lambda k, m: Q * (k - m) + p * m + prior.bias_variance, K, means)
