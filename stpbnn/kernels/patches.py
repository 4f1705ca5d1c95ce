r"""The kernels of convolutional networks: covariances of hidden units at pairs of positions.

With :math:`h_i(x)` a unit of a layer at position i, u the k offsets of a window, and :math:`\kappa` the activation's
dual kernel, the covariances :math:`C_{ij}(x, x') = E[h_i(x) h_j(x')]` are, layer by layer,

.. math::
    C^1_{ij} = \frac{1}{\lambda_0 k C} \sum_{uc} x_{i+u, c}\, x'_{j+u, c} \;(+ 1/\lambda_b), \qquad
    K^l_{ij} = \kappa(C^l_{ii}, C^l_{jj}, C^l_{ij}), \qquad
    C^{l+1}_{ij} = \frac{1}{\lambda_l k} \sum_u K^l_{i+u, j+u} \;(+ 1/\lambda_b)

with zeros where a window leaves the layer below. Pairs of equal positions depend on such pairs alone, at every layer:
a readout of its own weights at each position needs no others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
from stpbnn.activations import Activation
from stpbnn.network import Convolutional, Prior, Window

__all__ = ["Layers", "PatchGram", "patch_gram", "patch_kernels", "patches"]

ENTRIES = 2**21  # of a tile, over all pairs of positions


class PatchGram(NamedTuple):
    """Covariances (d, d, n, m), or (d, n, m) at equal positions, with the variances (d, n) and (d, m) of both sets."""

    entries: Float[Array, "*positions n m"]
    left: Float[Array, "d n"]
    right: Float[Array, "d m"]


class Layers(NamedTuple):
    """What compiled kernels depend on: the activation, and the windows of every hidden layer."""

    activation: str | Activation
    windows: tuple[Window, ...]


def patches(net: Convolutional, X: Float[ArrayLike, "n features"]) -> Float[np.ndarray, "d n pixels"]:
    """Return what the windows of the first layer see of each input, position by position.

    Examples
    --------
    >>> net = Convolutional((4,), kernel_size=1, image=(1, 2, 1))
    >>> patches(net, np.array([[3.0, 5.0]])).tolist()
    [[[3.0]], [[5.0]]]
    """
    window = net.windows[0]
    images = np.pad(np.asarray(X).reshape(-1, *net.image), ((0, 0), *window.padding, (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(images, window.size, axis=(1, 2))
    views = views[:, :: window.stride[0], :: window.stride[1]]
    return np.moveaxis(views, 0, 2).reshape(math.prod(window.grid), len(images), -1)


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


def _windowed(K: Array, below: tuple[int, int], window: Window, sides: int) -> Array:
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


def patch_gram(
    layers: Layers,
    prior: Prior,
    X1: Float[Array, "d n pixels"],
    X2: Float[Array, "d m pixels"],
    same: Array | None = None,
    *,
    pairs: bool,
) -> PatchGram:
    """Return the kernels κ(C^L) of the last features at all pairs of positions, or at equal positions.

    Parameters
    ----------
    layers : Layers
        Activation and windows.
    prior : Prior
        Precisions and bias variance, which may be traced and differentiated.
    X1, X2 : arrays of shape (d_1, n, kC) and (d_1, m, kC)
        What the windows of the first layer see, as `patches` returns it.
    same : array of shape (n, m) or None
        Which pairs of inputs are one and the same: no rounding sets their covariances apart from their variances.
    pairs : bool
        Whether all pairs of positions are wanted, or equal positions alone.
    """
    kappa, sides = activations.get(layers.activation).kernel, 2 if pairs else 1
    scale = 1 / (prior.precisions[0] * X1.shape[-1])
    entries = scale * jnp.einsum("ink,jmk->ijnm" if pairs else "ink,imk->inm", X1, X2) + prior.bias_variance
    left, right = (scale * jnp.sum(X * X, axis=-1) + prior.bias_variance for X in (X1, X2))
    grid = layers.windows[0].grid
    for layer, window in enumerate((*layers.windows[1:], None), start=1):
        if same is not None:
            at = same & jnp.eye(len(left), dtype=bool)[:, :, None, None] if pairs else same
            entries = jnp.where(at, left[:, None, :, None] if pairs else left[:, :, None], entries)
        rows, columns = (left[:, None, :, None], right[None, :, None]) if pairs else (left[:, :, None], right[:, None])
        entries, left, right = kappa(rows, columns, entries), kappa(left, left, left), kappa(right, right, right)
        if window is None:
            break
        entries, left, right = (
            _windowed(K, grid, window, of) / prior.precisions[layer] + prior.bias_variance
            for K, of in ((entries, sides), (left, 1), (right, 1))
        )
        grid = window.grid
    return PatchGram(entries, left, right)


@partial(jax.jit, static_argnames=("layers", "pairs"))
def _tile(layers: Layers, prior: Prior, X1: Array, X2: Array, same: Array, pairs: bool) -> Array:
    return patch_gram(layers, prior, X1, X2, same, pairs=pairs).entries


def _sizes(net: Convolutional, n: int, m: int) -> tuple[int, int]:
    """Return rows and columns of a tile: few enough for a bounded number of entries over all layers."""
    most = max(1, ENTRIES // max(math.prod(window.grid) for window in net.windows) ** 2)
    rows = min(n, max(1, math.isqrt(most)))
    return rows, min(m, max(1, most // rows))


def _edge(X: np.ndarray, start: int, size: int) -> np.ndarray:
    part = X[:, start : start + size]
    return np.pad(part, ((0, 0), (0, size - part.shape[1]), (0, 0)), mode="edge")


def _pair_tiles(
    net: Convolutional, X1: np.ndarray, X2: np.ndarray, own: bool
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield rows, columns and κ(C^L) (d, d, rows, columns) of tiles, of a set with itself those not above."""
    (n, m), first, second = (len(X1), len(X2)), patches(net, X1), patches(net, X2)
    (rows, columns), layers = _sizes(net, n, m), Layers(net.activation, net.windows)
    for start in range(0, n, rows):
        for at in range(0, m, columns):
            if own and at > min(start + rows, n) - 1:
                continue
            same = own & (np.arange(start, start + rows)[:, None] == np.arange(at, at + columns))
            found = _tile(layers, net.prior, _edge(first, start, rows), _edge(second, at, columns), same, True)
            size = min(rows, n - start), min(columns, m - at)
            yield slice(start, start + size[0]), slice(at, at + size[1]), np.asarray(found)[..., : size[0], : size[1]]


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
    X = check.inputs("X", X)
    network.refuse_features("X", X.shape[1])
    other = X if X2 is None else check.inputs("X2", X2, features=X.shape[1])
    d, sizes = network.positions, (len(X), len(other))
    whose = f"X: got {sizes[0]} by {sizes[1]} inputs, whose kernels at {d} by {d} positions"
    refuse_beyond(8 * d * d * math.prod(sizes), whose, "take fewer inputs, or larger strides")
    K = np.empty((d, d, *sizes))
    for rows, columns, values in _pair_tiles(network, X, other, X2 is None):
        K[:, :, rows, columns] = values
        if X2 is None:
            K[:, :, columns, rows] = np.swapaxes(np.swapaxes(values, 0, 1), 2, 3)
    return K
