"""The kernel of infinite width over the logarithms of a network's precisions: entries, slopes and their pull-back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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

__all__ = ["by_precisions", "unit_tiles"]

Theta = Float[jax.Array, " n"]
Points = Float[np.ndarray, "P N0"]
PullBack = Callable[[Float[np.ndarray, "P P"]], Float[np.ndarray, " n"]]

KEPT = 2**22  # derivatives, of all entries in all hyper-parameters, that are kept between a kernel and its pull-back


@in_float64
def unit_tiles(X: Points) -> list[Tile]:
    """Return X X^T / N_0, tile by tile, from which all kernels of fully-connected networks on X are made."""
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
def _tile_and_slopes(net: FullyConnected, log_values: Theta, unit: Gram) -> tuple[jax.Array, jax.Array]:
    """Return a tile (b, b) and its derivatives in the logarithms (n, b, b)."""
    value, along = jax.linearize(lambda theta: _of_unit(net, theta, unit), log_values)
    return value, jax.vmap(along)(jnp.eye(len(log_values)))


@partial(jax.jit, static_argnums=0)
def _pulled(net: FullyConnected, log_values: Theta, unit: Gram, weights: jax.Array) -> Theta:
    return jax.grad(lambda theta: jnp.vdot(weights, _of_unit(net, theta, unit)))(log_values)


@dataclass(frozen=True)
class OfProducts:
    """The kernel of a fully-connected network, a function of the products of inputs."""

    net: FullyConnected

    @property
    def _numbers(self) -> tuple[FullyConnected, Any]:
        """The network without numbers, widths and outputs, on which compiled functions depend; and the numbers."""
        plain = replace(self.net, widths=(1,) * self.net.depth, outputs=1)
        structure = hyperparameters.with_values(plain, np.zeros(len(hyperparameters.names(self.net))))
        return structure, hyperparameters.log_values(self.net)

    def entries(self, X: Points, Y: Points | None) -> Float[np.ndarray, "n m"]:
        """Return the kernel between two sets of inputs, or of one with itself."""
        return np.array(_entries(*self._numbers, X, Y))

    def entries_and_slopes(self, X: Points, free: Bool[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """Return the kernel of a set of inputs with itself, and its derivatives along the free precisions."""
        K, slopes = _entries_and_slopes(*self._numbers, X, np.eye(len(free))[free])
        return np.array(K), np.array(slopes)

    def lower(self, inputs: Any) -> Float[np.ndarray, "P P"]:
        """Return the lower triangle of the kernel on `Inputs`."""
        kernel = partial(_tile, *self._numbers)
        return lower_triangle([tile._replace(values=kernel(tile.values)) for tile in inputs.tiles], len(inputs.X))

    def pulled(self, inputs: Any, weights: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " n"]:
        """Return Σ_ij W_ij ∂K_ij/∂θ on `Inputs` for symmetric W, whose lower triangle is read."""
        pull, parts = partial(_pulled, *self._numbers), weight_tiles(inputs.tiles, weights)
        return np.sum([pull(tile.values, part) for tile, part in zip(inputs.tiles, parts, strict=True)], axis=0)

    def linearised(self, inputs: Any) -> tuple[Float[np.ndarray, "P P"], PullBack]:
        """Return the lower triangle on `Inputs`, and its pull-back, which keeps the derivatives of few entries."""
        tiles, (net, log_values) = inputs.tiles, self._numbers
        if len(tiles) * tiles[0].values.entries.size * len(log_values) > KEPT:
            return self.lower(inputs), partial(self.pulled, inputs)
        values, slopes = zip(*(_tile_and_slopes(net, log_values, tile.values) for tile in tiles), strict=True)
        placed = [tile._replace(values=value) for tile, value in zip(tiles, values, strict=True)]

        def pulled(weights: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " n"]:
            parts = zip(slopes, weight_tiles(tiles, weights), strict=True)
            return np.sum([np.tensordot(np.asarray(slope), weight) for slope, weight in parts], axis=0)

        return lower_triangle(placed, len(inputs.X)), pulled

    def variances(self, X: Points) -> Float[np.ndarray, " n"]:
        """Return the variances at inputs."""
        return np.array(_variances(*self._numbers, X))


@dataclass(frozen=True)
class OfPositions:
    """The kernel of a convolutional network, a function of what its windows see."""

    net: Convolutional

    @property
    def _tangents(self) -> Float[np.ndarray, "n numbers"]:
        return hyperparameters.tangents(self.net, hyperparameters.log_values(self.net))

    def entries(self, X: Points, Y: Points | None) -> Float[np.ndarray, "n m"]:
        """Return the kernel between two sets of inputs, or of one with itself."""
        return cross_kernel(nngp_map(self.net), self.net.prior, X, Y).entries

    def entries_and_slopes(self, X: Points, free: Bool[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """Return the kernel of a set of inputs with itself, and its derivatives along the free precisions."""
        K, slopes = PooledMap.of(self.net).slopes(X)
        return K, np.tensordot(np.stack(jax.tree.leaves(slopes), axis=2), self._tangents[free], (2, 1))

    def lower(self, inputs: Any) -> Float[np.ndarray, "P P"]:
        """Return the lower triangle of the kernel on `Inputs`."""
        return symmetric_kernel(nngp_map(self.net), self.net.prior, inputs.X)

    def pulled(self, inputs: Any, weights: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " n"]:
        """Return Σ_ij W_ij ∂K_ij/∂θ on `Inputs` for symmetric W, whose lower triangle is read."""
        return self._tangents @ np.array(jax.tree.leaves(PooledMap.of(self.net).pullback(inputs.X, weights)))

    def linearised(self, inputs: Any) -> tuple[Float[np.ndarray, "P P"], PullBack]:
        """Return the lower triangle on `Inputs`, and what pulls weights back."""
        return self.lower(inputs), partial(self.pulled, inputs)

    def variances(self, X: Points) -> Float[np.ndarray, " n"]:
        """Return the variances at inputs."""
        return PooledMap.of(self.net, bias=self.net.prior.bias_variance).variances(X)


def by_precisions(net: Network) -> OfProducts | OfPositions:
    """Return the kernel of a network, over its precisions.

    Examples
    --------
    >>> by_precisions(FullyConnected((10,), "linear", weight_precision=2.0)).variances(np.array([[1.0, 3.0]])).tolist()
    [1.25]
    """
    if isinstance(net, Convolutional):
        return OfPositions(net)
    assert isinstance(net, FullyConnected)
    return OfProducts(net)
