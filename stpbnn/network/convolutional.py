r"""Convolutional: the frozen description of a Bayesian convolutional network, its forward pass and its prior.

.. math::
    h^1_{ai}(x) = \frac{1}{\sqrt{k C}} \sum_{u c} W^1_{uca}\, x_{i+u, c} \;(+ b^1_a), \qquad
    h^{l+1}_{ai} = \frac{1}{\sqrt{k N_l}} \sum_{u c} W^{l+1}_{uca}\, \sigma(h^l_{c, i+u}) \;(+ b^{l+1}_a)

with positions i, the k offsets u of a window, channels a and c. The readout has weights of its own at each of the d
positions of the last layer ("flatten"), or sees the average over them ("mean"):

.. math::
    f = \frac{1}{\sqrt{N_L d}} \sum_{ai} v_{ai}\, \sigma(h^L_{ai}), \qquad
    f = \frac{1}{\sqrt{N_L}} \sum_a v_a\, \frac1d \sum_i \sigma(h^L_{ai}) \qquad (+ b^{L+1})
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from stpbnn import activations
from stpbnn._validation import integer, one_of, shown
from stpbnn.network.architecture import Network, Weights, counts
from stpbnn.network.windows import PADDINGS, Window, pairs, warn_of_left_out, windows

__all__ = ["READOUTS", "Convolutional"]

READOUTS = ("flatten", "mean")
LAYOUT = ("NHWC", "HWIO", "NHWC")


@dataclass(frozen=True, repr=False)
class Convolutional(Network):
    r"""A convolutional Bayesian network with L hidden layers, in standard (NTK-like) scaling.

    Inputs stay rows of H·W·C numbers, pixel by pixel along the rows of the image, the channels of a pixel side by
    side: as `stpbnn.datasets` gives them.

    Parameters
    ----------
    channels : sequence of int
        N_1..N_L, the channels of the hidden layers.
    kernel_size : int, pair of int, or one pair for each layer
        Rows and columns of the windows.
    stride : int, pair of int, or one pair for each layer
        Steps between windows along rows and columns.
    padding : {"valid", "same"}
        Whether windows stay within the layer below, or zeros around it give every step its window.
    readout : {"flatten", "mean"}
        Whether the readout has weights of its own at each of the d positions of the last layer, scaled by
        1/√(λ_L N_L d), or sees the average over them, scaled by 1/√(λ_L N_L): then the kernel of infinite width is
        the mean over all pairs of positions, Σ_ij K_ij / (d² λ_L).
    activation : str or stpbnn.Activation
        σ: a registered name, or an activation of one's own.
    image : tuple of three int
        Rows H, columns W and channels C of an input.
    outputs : int
        D, the number of outputs.
    weight_precision : float or sequence of float
        Prior precisions λ_0..λ_L (inverse variances of the weights): one number for all, or L + 1 of them.
    bias_precision : float or None
        Prior precision λ_b of all biases, one a channel; None means that there are none.
    likelihood : {"gaussian", "bernoulli", "categorical"}
        The law of a target given the outputs, as of `FullyConnected`.

    Raises
    ------
    ValueError
        For channels below one, an image that is not three numbers, windows larger than what they look at, an unknown
        padding, readout or activation, and the rest as `FullyConnected`.

    Warns
    -----
    UserWarning
        If strides leave positions out, which then have no effect on the outputs.

    References
    ----------
    Aiudi, Pacelli et al., arXiv:2307.11807. Novak et al., ICLR 2019.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> net = Convolutional((8,), kernel_size=2, stride=2, image=(4, 4, 1))
    >>> net.positions, net.shapes(16)
    (4, {'W1': (2, 2, 1, 8), 'v': (32,)})
    >>> weights = net.sample_prior(jax.random.key(0), n_features=16)
    >>> net.forward(weights, jnp.ones((3, 16))).shape
    (3,)
    """

    channels: Sequence[int] = (100,)
    kernel_size: int | Sequence[int] | Sequence[Sequence[int]] = (3, 3)
    stride: int | Sequence[int] | Sequence[Sequence[int]] = 1
    padding: str = "valid"
    readout: str = "flatten"
    activation: str | activations.Activation = "erf"
    image: Sequence[int] = (28, 28, 1)
    outputs: int = 1
    weight_precision: float | Sequence[float] = 1.0
    bias_precision: float | None = None
    likelihood: str = "gaussian"

    _hidden: ClassVar[str] = "channels"

    def __post_init__(self) -> None:
        channels = counts("channels", self.channels, "the channels N_1..N_L of the hidden layers, such as (100,)")
        layers, image = len(channels), _image(self.image)
        sizes, strides = pairs("kernel_size", self.kernel_size, layers), pairs("stride", self.stride, layers)
        one_of("padding", self.padding, PADDINGS)
        one_of("readout", self.readout, READOUTS)
        found = windows(image, sizes, strides, self.padding, layers)
        self._settle(layers, channels=channels, kernel_size=sizes, stride=strides, image=image)
        warn_of_left_out(image, found, stacklevel=4)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows of each hidden layer: sizes, steps, padding and grids."""
        return windows(self.image, self.kernel_size, self.stride, self.padding, self.depth)  # type: ignore[arg-type]

    @property
    def positions(self) -> int:
        """d, the number of positions of the last hidden layer."""
        return math.prod(self.windows[-1].grid)

    @property
    def local(self) -> bool:
        """Whether the readout has weights of its own at each position of the last layer: "flatten"."""
        return self.readout == "flatten"

    @property
    def units(self) -> tuple[int, ...]:
        """The numbers of features of the hidden layers: positions times channels."""
        return tuple(math.prod(window.grid) * n for window, n in zip(self.windows, self.channels, strict=True))

    @property
    def seen(self) -> int:
        """M, the number of features that the readout sees: those at all positions, or one a channel."""
        return self.units[-1] if self.local else self.channels[-1]

    def refuse_features(self, what: str, n_features: int) -> None:
        """Refuse inputs that are no images of this network.

        Parameters
        ----------
        what : str
            The name of the argument.
        n_features : int
            How many numbers an input has.
        """
        H, W, C = self.image
        if n_features != H * W * C:
            raise ValueError(
                f"{what}: got {n_features} features, expected {H * W * C}: images of ({H}, {W}, {C}), rows, columns "
                "and channels, each as one row of numbers; give image= to the network, or reshape the inputs"
            )

    def shapes(self, n_features: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights by name.

        W1..WL are (rows, columns, channels below, channels), v has an entry for each position and channel, or for each
        channel, and b1..bL one for each channel.

        Parameters
        ----------
        n_features : int
            H·W·C, the number of inputs.
        """
        self.refuse_features("X", n_features)
        below = (self.image[2], *self.channels)
        out = () if self.outputs == 1 else (self.outputs,)
        layers = list(enumerate(zip(self.windows, self.channels, strict=True)))
        weights = {f"W{layer + 1}": (*window.size, below[layer], n) for layer, (window, n) in layers}
        biases = {f"b{layer + 1}": (n,) for layer, (_, n) in layers} | {f"b{self.depth + 1}": out}
        return weights | {"v": (self.seen, *out)} | ({} if self.bias_precision is None else biases)

    def features(self, weights: Weights, X: jax.Array) -> list[jax.Array]:
        """Return the features σ(h^1)..σ(h^L) at inputs X (P, H·W·C), each (P, d_l N_l), position by position.

        Parameters
        ----------
        weights : mapping of str to jax.Array
            Whitened weights by name.
        X : jax.Array of shape (P, H·W·C)
            Inputs.
        """
        self.refuse_features("X", X.shape[1])
        hidden, found = X.reshape(-1, *self.image), []
        for layer, window in enumerate(self.windows):
            scale = (self.precisions[layer] * window.pixels * hidden.shape[-1]) ** -0.5
            out = jax.lax.conv_general_dilated(
                hidden, weights[f"W{layer + 1}"], window.stride, window.padding, dimension_numbers=LAYOUT
            )
            hidden = self.sigma.function(self._shifted(out * scale, weights, layer))
            found.append(hidden.reshape(len(X), -1))
        return found

    def mean_squares(self, layer: int, below: jax.Array) -> jax.Array:
        """Return the mean square of what the units of a hidden layer see, (P, d_l), at every position.

        Parameters
        ----------
        layer : int
            The hidden layer, from 0.
        below : jax.Array of shape (P, d N)
            Features of the layer below it, or the inputs.
        """
        window = self.windows[layer]
        grid = self.windows[layer - 1].grid if layer else self.image[:2]
        squares = jnp.mean(below.reshape(len(below), *grid, -1) ** 2, axis=3)
        sums = jax.lax.reduce_window(
            squares, 0.0, jax.lax.add, (1, *window.size), (1, *window.stride), ((0, 0), *window.padding)
        )
        return sums.reshape(len(below), -1) / window.pixels

    def pooled(self, last: jax.Array) -> jax.Array:
        """Return what the readout sees of the last features: all (P, d N_L), or their means over positions (P, N_L).

        Parameters
        ----------
        last : jax.Array of shape (P, d N_L)
            Features of the last hidden layer.
        """
        return last if self.local else last.reshape(len(last), -1, self.channels[-1]).mean(axis=1)


def _image(value: object) -> tuple[int, int, int]:
    items = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    if len(items) != 3:
        raise ValueError(f"image: got {shown(value)}, expected (rows, columns, channels), such as (28, 28, 1)")
    rows, columns, channels = (integer(f"image[{i}]", item) for i, item in enumerate(items))
    return rows, columns, channels
