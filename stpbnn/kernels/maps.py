"""Kernel maps: from the Gram matrix of the inputs to a kernel of the network, ready to be compiled.

A map is a `jax.tree_util.Partial`: the activation and the closure are part of its compiled form, the numbers of the
prior and the order parameters are its arguments, so that one compilation serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Float

from stpbnn import activations
from stpbnn.activations import Activation
from stpbnn.kernels.closures import (
    Closure,
    Gram,
    feature_mean,
    features,
    input_variances,
    mean_kept,
    nngp,
    renormalised,
)
from stpbnn.kernels.patches import Layers, patches
from stpbnn.kernels.pooled import PooledMap
from stpbnn.network import Convolutional, FullyConnected, Network, Prior

__all__ = [
    "GramMap",
    "KernelMap",
    "feature_map",
    "feature_means",
    "first_variances",
    "fluctuation_map",
    "mean_map",
    "nngp_map",
    "renormalised_map",
]

GramMap = Callable[[Gram], Gram]
KernelMap = GramMap | PooledMap


@dataclass(frozen=True)
class _Renormalised:
    activation: str | Activation
    closure: Closure

    def __call__(self, prior: Prior, Q: jax.Array, gram: Gram) -> Gram:
        return renormalised(activations.get(self.activation), prior, gram, Q, self.closure)


@dataclass(frozen=True)
class _Features:
    activation: str | Activation

    def __call__(self, prior: Prior, gram: Gram) -> Gram:
        sigma, below = activations.get(self.activation), prior._replace(precisions=prior.precisions[:-1])
        return features(sigma, nngp(sigma, below, gram) if len(below.precisions) > 1 else gram, prior.precisions[-1])


@dataclass(frozen=True)
class _MeanKept:
    activation: str | Activation

    def __call__(self, prior: Prior, Q: jax.Array, p: jax.Array, gram: Gram) -> Gram:
        return mean_kept(activations.get(self.activation), prior, gram, Q, p)


@overload
def renormalised_map(net: FullyConnected, Q: Float[np.ndarray, " L"], closure: Closure = ...) -> GramMap: ...
@overload
def renormalised_map(net: Network, Q: Float[np.ndarray, " L"], closure: Closure = ...) -> KernelMap: ...
def renormalised_map(net: Network, Q: Float[np.ndarray, " L"], closure: Closure = "nested") -> KernelMap:
    """Return C → K^R(Q); in a convolutional network the product of all Q scales the last kernel."""
    if isinstance(net, Convolutional):
        return PooledMap.of(net, float(np.prod(Q)), net.prior.bias_variance)
    return Partial(_Renormalised(net.activation, closure), net.prior, np.asarray(Q, dtype=np.float64))


def nngp_map(net: Network) -> KernelMap:
    """Return C → K_L, the kernel of infinite width."""
    return renormalised_map(net, np.ones(net.depth))


@overload
def feature_map(net: FullyConnected) -> GramMap: ...
@overload
def feature_map(net: Network) -> KernelMap: ...
def feature_map(net: Network) -> KernelMap:
    """Return C → κ(K_{L−1})/λ_L, the kernel of the last features: without the output bias."""
    if isinstance(net, Convolutional):
        return PooledMap.of(net)
    return Partial(_Features(net.activation), net.prior)


def mean_map(net: FullyConnected, Q: float, p: float) -> GramMap:
    """Return C → Q (K_1 − m m^T) + p m m^T + 1/λ_b of one hidden layer."""
    return Partial(_MeanKept(net.activation), net.prior, Q, p)


def fluctuation_map(net: FullyConnected) -> GramMap:
    """Return C → K_1 − m m^T of one hidden layer, the covariance of its features, without the output bias."""
    return Partial(_MeanKept(net.activation), net.prior._replace(bias_variance=0.0), 1.0, 0.0)


def feature_means(net: FullyConnected, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, " n"]:
    """Return m/√λ_1, the Gaussian means of the features of one hidden layer, at inputs X."""
    return np.asarray(feature_mean(net.sigma, input_variances(net.prior, jnp.asarray(X)), net.precisions[1]))


def first_variances(net: Network, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, " units"]:
    """Return the variances of the units of the first hidden layer, at all positions where there are several."""
    seen = patches(Layers.of(net), X) if isinstance(net, Convolutional) else X
    squares = np.einsum("...i,...i->...", seen, seen).ravel()
    return squares / (net.precisions[0] * seen.shape[-1]) + net.prior.bias_variance
