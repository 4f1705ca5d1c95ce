"""Kernels of the last features at all pairs of positions, tile by tile, and their variances."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stpbnn.kernels.patches import Layers, PatchPair, all_pairs, pair_tiles, patch_gram, patches
from stpbnn.network import Convolutional, Prior

__all__ = ["pair_kernels", "pair_variances"]


def pair_kernels(
    net: Convolutional, X: Float[np.ndarray, "n features"], X2: Float[np.ndarray, "m features"] | None = None
) -> Iterator[tuple[slice, slice, Float[np.ndarray, "d d rows columns"]]]:
    """Yield rows, columns and K_ij(x, x') of tiles; of a set with itself (None) those that the lower triangle needs.

    Parameters
    ----------
    net : Convolutional
        The network.
    X, X2 : arrays of shape (n, H·W·C) and (m, H·W·C)
        Inputs.
    """
    layers = Layers.of(net)
    for rows, columns, seen in pair_tiles(layers, X, X2, pairs=True):
        values = np.asarray(all_pairs(layers, net.prior, seen))
        yield rows, columns, values[..., : rows.stop - rows.start, : columns.stop - columns.start]


@partial(jax.jit, static_argnums=0)
def _variances(layers: Layers, prior: Prior, X: Float[Array, "d n pixels"]) -> Float[Array, "n d d"]:
    same = jnp.ones((1, 1), dtype=bool)

    def one(x: Array) -> Array:
        return patch_gram(layers, prior, PatchPair(x[:, None], x[:, None], same), pairs=True).entries[..., 0, 0]

    return jax.lax.map(one, jnp.moveaxis(X, 1, 0))


def pair_variances(net: Convolutional, X: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "n d d"]:
    """Return K_ij(x, x) at each input."""
    layers = Layers.of(net)
    return np.asarray(_variances(layers, net.prior, patches(layers, X)))
