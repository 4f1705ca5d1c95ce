"""Kernels of the last features between two sets of images: at all pairs of positions, and at each position alone."""

from __future__ import annotations

import math
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from stpbnn import _validation as check
from stpbnn._memory import refuse_beyond
from stpbnn._precision import in_float64
from stpbnn.kernels.patch_grams import patch_gram
from stpbnn.kernels.patch_tiles import pair_tiles
from stpbnn.kernels.patches import Layers, PatchPair
from stpbnn.network import Convolutional, Prior

__all__ = ["patch_kernels", "position_kernels"]


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
