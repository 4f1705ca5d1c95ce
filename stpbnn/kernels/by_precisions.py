"""The kernel of infinite width over the logarithms of a network's precisions: entries, slopes and their pull-back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from stpbnn._precision import in_float64
from stpbnn.kernels import hyperparameters
from stpbnn.kernels.closures import Gram, input_gram, nngp
from stpbnn.kernels.maps import nngp_map
from stpbnn.kernels.pooled import PooledMap
from stpbnn.kernels.tiles import Tile, cross_kernel, input_tiles, lower_triangle, symmetric_kernel, weight_tiles
from stpbnn.network import Convolutional, FullyConnected, Network, Prior

__all__ = ["entries", "entries_and_slopes", "lower", "pulled", "unit_tiles", "variances"]

Theta = Float[jax.Array, " n"]
Points = Float[np.ndarray, "P N0"]


@in_float64
def unit_tiles(X: Points) -> list[Tile]:
    """Return X X^T / N_0, tile by tile: what all kernels of fully-connected networks on the inputs X are made of."""
    return input_tiles(Prior((1.0,), 0.0), X)


def _gram(net: FullyConnected, log_values: Theta, X: jax.Array, Y: jax.Array | None = None) -> Gram:
    prior = hyperparameters.prior_of(net, log_values)
    return nngp(net.sigma, prior, input_gram(prior, X, Y))


@partial(jax.jit, static_argnums=0)
def _entries(net: FullyConnected, log_values: Theta, X: jax.Array, Y: jax.Array | None = None) -> jax.Array:
    return _gram(net, log_values, X, Y).entries


@partial(jax.jit, static_argnums=0)
def _variances(net: FullyConnected, log_values: Theta, X: jax.Array) -> jax.Array:
    return _gram(net, log_values, X, X[:1]).left


@partial(jax.jit, static_argnums=0)
def _entries_and_slopes(
    net: FullyConnected, log_values: Theta, X: jax.Array, directions: Float[jax.Array, "k n"]
) -> tuple[jax.Array, jax.Array]:
    """Return K (P, P) and its derivatives along the directions, (P, P, k)."""
    value, along = jax.linearize(lambda theta: _gram(net, theta, X).entries, log_values)
    return value, jax.vmap(along, out_axes=-1)(directions)


def _of_unit(net: FullyConnected, log_values: Theta, unit: Gram) -> jax.Array:
    """Return entries of K from those of X X^T / N_0."""
    prior = hyperparameters.prior_of(net, log_values)
    gram = jax.tree.map(lambda products: products / prior.precisions[0] + prior.bias_variance, unit)
    return nngp(net.sigma, prior, gram).entries


_tile = jax.jit(_of_unit, static_argnums=0)


@partial(jax.jit, static_argnums=0)
def _pulled(net: FullyConnected, log_values: Theta, unit: Gram, weights: jax.Array) -> Theta:
    return jax.grad(lambda theta: jnp.vdot(weights, _of_unit(net, theta, unit)))(log_values)


def _structure(net: Network) -> FullyConnected:
    """Return what the compiled functions depend on: everything but the numbers, widths and outputs."""
    assert isinstance(net, FullyConnected)
    plain = replace(net, widths=(1,) * net.depth, outputs=1)
    return hyperparameters.with_values(plain, np.zeros(len(hyperparameters.names(net))))


def entries(net: Network, X: Points, Y: Points | None) -> Float[np.ndarray, "n m"]:
    """Return the kernel between two sets of inputs, or of one with itself."""
    if isinstance(net, Convolutional):
        return cross_kernel(nngp_map(net), net.prior, X, Y).entries
    return np.array(_entries(_structure(net), hyperparameters.log_values(net), X, Y))


def entries_and_slopes(net: Network, X: Points, free: Bool[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel of a set of inputs with itself, and its derivatives along those precisions that are free."""
    log_values = hyperparameters.log_values(net)
    if isinstance(net, Convolutional):
        K, slopes = PooledMap.of(net).slopes(X)
        tangents = hyperparameters.tangents(net, log_values)[free]
        return K, np.tensordot(np.stack(jax.tree.leaves(slopes), axis=2), tangents, (2, 1))
    K, slopes = _entries_and_slopes(_structure(net), log_values, X, np.eye(len(log_values))[free])
    return np.array(K), np.array(slopes)


def lower(net: Network, inputs: Any) -> Float[np.ndarray, "P P"]:
    """Return the lower triangle of the kernel on `Inputs`."""
    net.refuse_features("X", inputs.X.shape[1])
    if isinstance(net, Convolutional):
        return symmetric_kernel(nngp_map(net), net.prior, inputs.X)
    kernel = partial(_tile, _structure(net), hyperparameters.log_values(net))
    return lower_triangle([tile._replace(values=kernel(tile.values)) for tile in inputs.tiles], len(inputs.X))


def pulled(net: Network, inputs: Any, weights: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " n"]:
    """Return Σ_ij W_ij ∂K_ij/∂θ on `Inputs` for symmetric W, whose lower triangle is read."""
    log_values = hyperparameters.log_values(net)
    if isinstance(net, Convolutional):
        found = PooledMap.of(net).pullback(inputs.X, weights)
        return hyperparameters.tangents(net, log_values) @ np.array(jax.tree.leaves(found))
    pull, parts = partial(_pulled, _structure(net), log_values), weight_tiles(inputs.tiles, weights)
    return np.sum([pull(tile.values, part) for tile, part in zip(inputs.tiles, parts, strict=True)], axis=0)


def variances(net: Network, X: Points) -> Float[np.ndarray, " n"]:
    """Return the variances at inputs."""
    if isinstance(net, Convolutional):
        return PooledMap.of(net, bias=net.prior.bias_variance).variances(X)
    return np.array(_variances(_structure(net), hyperparameters.log_values(net), X))
