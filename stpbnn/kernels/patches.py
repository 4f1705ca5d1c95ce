"""What the windows of the first layer see of inputs, position by position, and what compiled kernels depend on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn.activations import Activation
from stpbnn.network import Convolutional, Window

__all__ = ["Layers", "PatchPair", "filled", "patches"]


class PatchPair(NamedTuple):
    """What windows see of two sets of inputs, (d, n, kC) and (d, m, kC), and which of them are the same, (n, m)."""

    first: Any
    second: Any
    same: Any


class Layers(NamedTuple):
    """What compiled kernels depend on: the activation, the shape of images, and the windows of every hidden layer."""

    activation: str | Activation
    image: tuple[int, ...]
    windows: tuple[Window, ...]

    @classmethod
    def of(cls, net: Convolutional) -> Layers:
        """Return those of a network."""
        return cls(net.activation, tuple(net.image), net.windows)

    @property
    def positions(self) -> int:
        """The largest number of positions of a layer."""
        return max(math.prod(window.grid) for window in self.windows)


def patches(layers: Layers, X: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "d n pixels"]:
    """Return what the windows of the first layer see of each input, position by position.

    Examples
    --------
    >>> layers = Layers.of(Convolutional((4,), kernel_size=1, image=(1, 2, 1)))
    >>> patches(layers, np.array([[3.0, 5.0]])).tolist()
    [[[3.0]], [[5.0]]]
    """
    window = layers.windows[0]
    images = np.pad(X.reshape(-1, *layers.image), ((0, 0), *window.padding, (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(images, window.size, axis=(1, 2))
    views = views[:, :: window.stride[0], :: window.stride[1]]
    return np.moveaxis(views, 0, 2).reshape(math.prod(window.grid), len(images), -1)


def filled(X: Float[np.ndarray, "d n pixels"], size: int) -> Float[np.ndarray, "d size pixels"]:
    """Return patches filled up with copies of the last input, so that shapes are few."""
    return np.pad(X, ((0, 0), (0, size - X.shape[1]), (0, 0)), mode="edge") if X.shape[1] < size else X
