"""Kernel maps: from the Gram matrix of the inputs to a kernel of the network, ready to be compiled.

A map is a `jax.tree_util.Partial`: the activation and the closure are part of its compiled form, the numbers of the
prior and the order parameters are its arguments, so that one compilation serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from stpbnn.network import FullyConnected, Prior

__all__ = [
    "KernelMap",
    "feature_map",
    "feature_means",
    "fluctuation_map",
    "mean_map",
    "nngp_map",
    "renormalised_map",
]

KernelMap = Callable[[Gram], Gram]


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


def renormalised_map(net: FullyConnected, Q: Float[np.ndarray, " L"], closure: Closure = "nested") -> KernelMap:
    """Return C → K^R(Q)."""
    return Partial(_Renormalised(net.activation, closure), net.prior, np.asarray(Q, dtype=np.float64))


def nngp_map(net: FullyConnected) -> KernelMap:
    """Return C → K_L, the kernel of infinite width."""
    return renormalised_map(net, np.ones(net.depth))


def feature_map(net: FullyConnected) -> KernelMap:
    """Return C → κ(K_{L−1})/λ_L, the kernel of the last features: without the output bias."""
    return Partial(_Features(net.activation), net.prior)


def mean_map(net: FullyConnected, Q: float, p: float) -> KernelMap:
    """Return C → Q (K_1 − m m^T) + p m m^T + 1/λ_b of one hidden layer."""
    return Partial(_MeanKept(net.activation), net.prior, Q, p)


def fluctuation_map(net: FullyConnected) -> KernelMap:
    """Return C → K_1 − m m^T of one hidden layer, the covariance of its features, without the output bias."""
    return Partial(_MeanKept(net.activation), net.prior._replace(bias_variance=0.0), 1.0, 0.0)


def feature_means(net: FullyConnected, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, " n"]:
    """Return m/√λ_1, the Gaussian means of the features of one hidden layer, at inputs X."""
    return np.asarray(feature_mean(net.sigma, input_variances(net.prior, jnp.asarray(X)), net.precisions[1]))
