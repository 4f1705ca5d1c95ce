r"""The kernels of convolutional networks: covariances of hidden units at pairs of positions.

With :math:`h_i(x)` a unit of a layer at position i, u the k offsets of a window, and :math:`\kappa` the activation's
dual kernel, the covariances :math:`C_{ij}(x, x') = E[h_i(x) h_j(x')]` are, layer by layer,

.. math::
    C^1_{ij} = \frac{1}{\lambda_0 k C} \sum_{uc} x_{i+u, c}\, x'_{j+u, c} \;(+ 1/\lambda_b), \qquad
    K^l_{ij} = \kappa(C^l_{ii}, C^l_{jj}, C^l_{ij}), \qquad
    C^{l+1}_{ij} = \frac{1}{\lambda_l k} \sum_u K^l_{i+u, j+u} \;(+ 1/\lambda_b)

with zeros where a window leaves the layer below. At every layer pairs of equal positions depend on such pairs alone: a
readout with its own weights at each position needs no others. `patch_kernels` and `position_kernels` are those of the
last features, between two sets of images.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from stpbnn import _validation as check
from stpbnn import activations
from stpbnn._memory import refuse_beyond
from stpbnn._precision import in_float64
from stpbnn.kernels.patches import Layers, PatchPair, pair_tiles
from stpbnn.network import Convolutional, Prior, Window

__all__ = ["LayerGrams", "PatchGram", "layer_grams", "patch_gram", "patch_kernels", "position_kernels", "windowed"]


class PatchGram(NamedTuple):
    """Covariances (d, d, n, m), or (d, n, m) at equal positions, with the variances (d, n) and (d, m) of both sets."""

    entries: Float[Array, "*positions n m"]
    left: Float[Array, "d n"]
    right: Float[Array, "d m"]


def _summed(K: Array, axes: tuple[int, ...], size: int, stride: int, around: tuple[int, int], length: int) -> Array:
    """Return the sums over the offsets of a window, the same along all of the axes."""
    K = jnp.pad(K, [around if axis in axes else (0, 0) for axis in range(K.ndim)])
    last = (length - 1) * stride + 1
    parts = (
        K[tuple(slice(u, u + last, stride) if axis in axes else slice(None) for axis in range(K.ndim))]
        for u in range(size)
    )
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def windowed(K: Array, below: tuple[int, int], window: Window, sides: int) -> Array:
    """Return the means of K over the offsets of the windows, at positions along the first axis, or the first two."""
    rest = K.shape[sides:]
    K = K.reshape(*below * sides, *rest)
    for direction in (0, 1):
        axes = tuple(range(direction, 2 * sides, 2))
        K = _summed(
            K,
            axes,
            window.size[direction],
            window.stride[direction],
            window.padding[direction],
            window.grid[direction],
        )
    return K.reshape(*(math.prod(window.grid),) * sides, *rest) / window.pixels


class LayerGrams(NamedTuple):
    """The covariances C of the units of a hidden layer, biases included, and its kernel κ(C)."""

    covariances: PatchGram
    kernels: PatchGram


def layer_grams(layers: Layers, prior: Prior, seen: PatchPair, *, pairs: bool) -> list[LayerGrams]:
    """Return covariances and kernels of every hidden layer at all pairs of positions, or at equal positions.

    Parameters
    ----------
    layers : Layers
        Activation and windows.
    prior : Prior
        Precisions and bias variance, which may be traced and differentiated.
    seen : PatchPair
        What the windows of the first layer see. For identical inputs no rounding sets covariances apart from variances.
    pairs : bool
        Whether all pairs of positions are wanted, or equal positions alone.
    """
    X1, X2, same = seen
    kappa, sides = activations.get(layers.activation).kernel, 2 if pairs else 1
    scale = 1 / (prior.precisions[0] * X1.shape[-1])
    entries = scale * jnp.einsum("ink,jmk->ijnm" if pairs else "ink,imk->inm", X1, X2) + prior.bias_variance
    left, right = (scale * jnp.sum(X * X, axis=-1) + prior.bias_variance for X in (X1, X2))
    grid, found = layers.windows[0].grid, []
    for layer, window in enumerate((*layers.windows[1:], None), start=1):
        at = same & jnp.eye(len(left), dtype=bool)[:, :, None, None] if pairs else same
        entries = jnp.where(at, left[:, None, :, None] if pairs else left[:, :, None], entries)
        rows, columns = (left[:, None, :, None], right[None, :, None]) if pairs else (left[:, :, None], right[:, None])
        K = PatchGram(kappa(rows, columns, entries), kappa(left, left, left), kappa(right, right, right))
        found.append(LayerGrams(PatchGram(entries, left, right), K))
        if window is None:
            break
        entries, left, right = (
            windowed(values, grid, window, of) / prior.precisions[layer] + prior.bias_variance
            for values, of in zip(K, (sides, 1, 1), strict=True)
        )
        grid = window.grid
    return found


def patch_gram(layers: Layers, prior: Prior, seen: PatchPair, *, pairs: bool) -> PatchGram:
    """Return the kernels κ(C^L) of the last features, the last of `layer_grams`."""
    return layer_grams(layers, prior, seen, pairs=pairs)[-1].kernels


@partial(jax.jit, static_argnums=0)
def _all_pairs(layers: Layers, prior: Prior, seen: PatchPair) -> Array:
    """Return κ(C^L) at all pairs of positions, (d, d, n, m)."""
    return patch_gram(layers, prior, seen, pairs=True).entries


@in_float64
def patch_kernels(network: Convolutional, X: ArrayLike, X2: ArrayLike | None = None) -> Float[np.ndarray, "d d P P2"]:
    r"""Return the covariances of the last features at all pairs of positions and of inputs.

    .. math:: K_{ij}(x, x') = E[\sigma(h^L_i(x))\, \sigma(h^L_j(x'))]

    over the prior of a network of infinite width: without the readout's 1/λ_L, and without the 1/d of its positions.

    Parameters
    ----------
    network : Convolutional
        The network.
    X : array of shape (P, H·W·C)
        Inputs.
    X2 : array of shape (P2, H·W·C) or None
        Other inputs; None means X.

    Returns
    -------
    array of shape (d, d, P, P2)
        The kernels, in double precision.

    Raises
    ------
    ValueError
        For inputs that are no images of the network, and for more of them than there is memory for.

    References
    ----------
    Aiudi, Pacelli et al., arXiv:2307.11807. Novak et al., ICLR 2019.

    Examples
    --------
    >>> net = Convolutional((4,), kernel_size=1, image=(1, 2, 1), activation="linear")
    >>> patch_kernels(net, [[3.0, 5.0]])[..., 0, 0].tolist()
    [[9.0, 15.0], [15.0, 25.0]]
    """
    check.instance("network", network, Convolutional)
    layers = Layers.of(network)
    X = check.inputs("X", X)
    network.refuse_features("X", X.shape[1])
    other = X if X2 is None else check.inputs("X2", X2, features=X.shape[1])
    d, sizes = network.positions, (len(X), len(other))
    whose = f"X: got {sizes[0]} by {sizes[1]} inputs, whose kernels at {d} by {d} positions"
    refuse_beyond(8 * d * d * math.prod(sizes), whose, "take fewer inputs, or larger strides")
    K = np.empty((d, d, *sizes))
    for rows, columns, seen in pair_tiles(layers, X, None if X2 is None else other, pairs=True):
        place = K[:, :, rows, columns]
        place[...] = np.asarray(_all_pairs(layers, network.prior, seen))[..., : place.shape[2], : place.shape[3]]
        if X2 is None and rows != columns:
            K[:, :, columns, rows] = np.transpose(place, (1, 0, 3, 2))
    return K


@partial(jax.jit, static_argnums=0)
def _equal_positions(layers: Layers, prior: Prior, seen: PatchPair) -> Array:
    return patch_gram(layers, prior, seen, pairs=False).entries


@in_float64
def position_kernels(network: Convolutional, X: Float[np.ndarray, "P features"]) -> Float[np.ndarray, "d P P"]:
    """Return K_ii(x, x') of `patch_kernels`, the kernels at each position alone."""
    layers = Layers.of(network)
    K = np.empty((network.positions, len(X), len(X)))
    for rows, columns, seen in pair_tiles(layers, X, None, pairs=False):
        place = K[:, rows, columns]
        place[...] = np.asarray(_equal_positions(layers, network.prior, seen))[:, : place.shape[1], : place.shape[2]]
        K[:, columns, rows] = np.swapaxes(place, 1, 2)
    return K
