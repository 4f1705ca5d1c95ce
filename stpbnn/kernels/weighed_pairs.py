r"""The kernels that the order parameters of every layer weigh: at pairs of positions, tile by tile, with variances.

Matrices :math:`Q_1..Q_L` over the positions of the hidden layers give a network of convolutional layers the kernel
:math:`\sum_l \sum_{ij} Q_{l,ij} \hat K^l_{ij}`, with M the map of `stpbnn.network.windows`,

.. math::
    \hat K^L = \Gamma^L - M^T \Gamma^{L-1}, \quad \dots, \quad \hat K^2 = \Gamma^2 - M^T \Gamma^1, \quad
    \hat K^1 = \Gamma^1, \qquad \Gamma^L = K^L, \qquad
    \Gamma^l_{pq} = g^l_{pq} K^l_{pq} + m^l_{pq}

so that it is :math:`\sum_i K^L_{ii}` where no layer fluctuates, :math:`Q_l = M Q_{l+1}` and :math:`Q_L = 1`. A layer
enters the one above by the part of its kernel that is proportional to the covariance,

.. math::
    \kappa(C_{ii}, C_{jj}, C_{ij}) = \kappa_0 + r\, C_{ij}, \qquad \kappa_0 = \kappa(C_{ii}, C_{jj}, 0)

with gains that are products of r/λ along the layers above, averaged over the windows i at p and j at q, and
:math:`\kappa_0`, of features with a mean, shared among the pairs of positions at the same offsets. Of linear networks
r = 1; one layer has :math:`K^1` alone.

References
----------
Aiudi, Pacelli et al., arXiv:2307.11807 (one layer).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stpbnn import activations
from stpbnn.activations import Activation
from stpbnn.kernels.patch_grams import PatchGram, layer_grams, windowed
from stpbnn.kernels.patches import Layers, PatchPair, pair_tiles, patches
from stpbnn.network import Convolutional, Prior, Window, incidence, looked_at

__all__ = ["pair_kernels", "pair_variances"]

NEAR_ZERO = 1e-6  # correlations below which the slope of κ is taken in place of a ratio

Pairs = Float[Array, "d d n m"]


def _slope_and_constant(sigma: Activation, C: PatchGram) -> tuple[Pairs, Pairs]:
    """Return r and κ_0 of the kernel κ = κ_0 + r C."""
    a, b, c = jnp.broadcast_arrays(C.left[:, None, :, None], C.right[None, :, None], C.entries)
    zero, one = jnp.zeros_like(c), jnp.ones_like(c)
    constant = zero if sigma.odd else sigma.kernel(a, b, zero)
    _, slope = jax.jvp(lambda at: sigma.kernel(a, b, at), (c,), (one,))
    small = jnp.abs(c) <= NEAR_ZERO * jnp.sqrt(a * b)
    ratio = (sigma.kernel(a, b, c) - constant) / jnp.where(small, one, c)
    return jnp.where(small, slope, ratio), constant


def _averaged(values: Pairs, windows: Float[np.ndarray, "p d"]) -> Pairs:
    """Return at each pair of positions the average over the windows that look at them."""
    share = windows / np.maximum(windows.sum(axis=1, keepdims=True), 1)
    return jnp.einsum("pi,ijnm,qj->pqnm", share, values, share)


def _shared(values: Pairs, windows: Float[np.ndarray, "p d"], below: Window, window: Window) -> Pairs:
    """Return the average over the pairs of windows that look at a pair of positions at the same offset."""
    seen = (windows.sum(axis=0) > 0).astype(values.dtype)
    seen = (seen[:, None] * seen)[..., None, None]
    d = len(windows)

    def gathered(K: Pairs) -> Pairs:
        return windowed(K, below.grid, window, 2) * window.pixels

    def scattered(K: Pairs) -> Pairs:
        (out,) = jax.linear_transpose(gathered, jax.ShapeDtypeStruct((d, d, *K.shape[2:]), K.dtype))(K)
        return out

    return scattered(values * seen) / jnp.maximum(scattered(seen), 1)


def _weighed(layers: Layers, prior: Prior, seen: PatchPair) -> tuple[Pairs, ...]:
    """Return the kernels of all layers, from the first on, among the positions that count."""
    grams, sigma = layer_grams(layers, prior, seen, pairs=True), activations.get(layers.activation)
    above, found = grams[-1].kernels.entries, []
    gain, mean = jnp.ones_like(above), jnp.zeros_like(above)
    for layer in range(len(grams) - 1, 0, -1):
        below, window = layers.windows[layer - 1 : layer + 1]
        windows = incidence(layers.windows, layer)
        slope, constant = _slope_and_constant(sigma, grams[layer].covariances)
        passed = gain * constant + mean
        gain = _averaged(gain * slope, windows) / prior.precisions[layer]
        mean = jnp.zeros_like(gain) if sigma.odd else _shared(passed, windows, below, window)
        here = gain * grams[layer - 1].kernels.entries + mean
        found.append(above - windowed(here, below.grid, window, 2))
        above = here
    found.append(above)
    counting = (np.flatnonzero(part) for part in looked_at(layers.windows))
    return tuple(K[np.ix_(at, at)] for K, at in zip(reversed(found), counting, strict=True))


_tile = jax.jit(_weighed, static_argnums=0)


def pair_kernels(
    net: Convolutional, X: Float[np.ndarray, "n features"], X2: Float[np.ndarray, "m features"] | None = None
) -> Iterator[tuple[slice, slice, list[Float[np.ndarray, "d d rows columns"]]]]:
    """Yield rows, columns and the kernels of all layers; for a set with itself (None) those of the lower triangle.

    Parameters
    ----------
    net : Convolutional
        The network.
    X, X2 : arrays of shape (n, H·W·C) and (m, H·W·C)
        Inputs.
    """
    layers = Layers.of(net)
    for rows, columns, seen in pair_tiles(layers, X, X2, pairs=True):
        place = ..., slice(rows.stop - rows.start), slice(columns.stop - columns.start)
        yield rows, columns, [np.asarray(K)[place] for K in _tile(layers, net.prior, seen)]


@partial(jax.jit, static_argnums=0)
def _variances(layers: Layers, prior: Prior, X: Float[Array, "d n pixels"]) -> tuple[Float[Array, "n d d"], ...]:
    same = jnp.ones((1, 1), dtype=bool)

    def one(x: Array) -> tuple[Array, ...]:
        found = _weighed(layers, prior, PatchPair(x[:, None], x[:, None], same))
        return tuple(K[..., 0, 0] for K in found)

    return jax.lax.map(one, jnp.moveaxis(X, 1, 0))


def pair_variances(net: Convolutional, X: Float[np.ndarray, "n features"]) -> list[Float[np.ndarray, "n d d"]]:
    """Return the kernels of all layers at each input with itself."""
    layers = Layers.of(net)
    return [np.asarray(K) for K in _variances(layers, net.prior, patches(layers, X))]
