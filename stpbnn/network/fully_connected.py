r"""FullyConnected: the frozen description of a Bayesian network, its forward pass and its prior.

.. math::
    h^1 = W^1 x / \sqrt{N_0} \;(+ b^1), \qquad
    h^{l+1} = W^{l+1} \sigma(h^l) / \sqrt{N_l} \;(+ b^{l+1}), \qquad
    f(x) = v^T \sigma(h^L) / \sqrt{N_L} \;(+ b^{L+1})

with priors :math:`W^l_{ij} \sim N(0, 1/\lambda_{l-1})`, :math:`v_i \sim N(0, 1/\lambda_L)`,
:math:`b \sim N(0, 1/\lambda_b)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax

from stpbnn import activations
from stpbnn.network.architecture import Network, Weights, counts

__all__ = ["FullyConnected"]


@dataclass(frozen=True, repr=False)
class FullyConnected(Network):
    r"""A fully-connected Bayesian network with L hidden layers, in standard (NTK-like) scaling.

    Parameters
    ----------
    widths : sequence of int
        Hidden widths N_1..N_L.
    activation : str or stpbnn.Activation
        σ: a registered name, or an activation of one's own.
    outputs : int
        D, the number of outputs.
    weight_precision : float or sequence of float
        Prior precisions λ_0..λ_L (inverse variances of the weights): one number for all, or L + 1 of them.
    bias_precision : float or None
        Prior precision λ_b of all biases; None means that there are none, as in the paper.
    likelihood : {"gaussian", "bernoulli", "categorical"}
        The law of a target given the outputs: of a number with noise of variance T; of one of two classes by the
        logistic function of one output; of one of D classes by the softmax of D outputs. The last two are taken to the
        power 1/T.

    Raises
    ------
    ValueError
        For widths below one, an unknown activation, precisions that are not positive or not L + 1 in number, or a
        number of outputs that does not fit the likelihood.

    References
    ----------
    Theory notes, section 1. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> net = FullyConnected((100, 50), "relu", weight_precision=(1.0, 1.0, 2.0))
    >>> net.depth, net.precisions
    (2, (1.0, 1.0, 2.0))
    >>> weights = net.sample_prior(jax.random.key(0), n_features=8)
    >>> net.forward(weights, jnp.ones((3, 8))).shape
    (3,)
    """

    widths: Sequence[int] = (200,)
    activation: str | activations.Activation = "erf"
    outputs: int = 1
    weight_precision: float | Sequence[float] = 1.0
    bias_precision: float | None = None
    likelihood: str = "gaussian"

    _hidden: ClassVar[str] = "widths"

    def __post_init__(self) -> None:
        widths = counts("widths", self.widths, "the hidden widths N_1..N_L, such as (200,) or (100, 100)")
        self._settle(len(widths), widths=widths)

    @property
    def units(self) -> tuple[int, ...]:
        """N_1..N_L, the widths."""
        return self.hidden

    def shapes(self, n_features: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights by name: W1..WL and v, and b1..b(L+1) where there are biases."""
        fan_in = (n_features, *self.widths)
        out = () if self.outputs == 1 else (self.outputs,)
        weights = {f"W{layer + 1}": (fan_in[layer], width) for layer, width in enumerate(self.widths)}
        biases = {f"b{layer + 1}": (width,) for layer, width in enumerate(self.widths)} | {f"b{self.depth + 1}": out}
        return weights | {"v": (fan_in[-1], *out)} | ({} if self.bias_precision is None else biases)

    def features(self, weights: Weights, X: jax.Array) -> list[jax.Array]:
        """Return the features σ(h^1)..σ(h^L) at inputs X (P, N_0), each of shape (P, N_l).

        Parameters
        ----------
        weights : mapping of str to jax.Array
            Whitened weights by name.
        X : jax.Array of shape (P, N_0)
            Inputs.
        """
        hidden = [X]
        for layer in range(self.depth):
            hidden.append(self.sigma.function(self._affine(weights, f"W{layer + 1}", layer, hidden[-1])))
        return hidden[1:]

    def readout(self, weights: Weights, last: jax.Array) -> jax.Array:
        """Return the outputs, (P,) or (P, D), from the features (P, N_L) of the last hidden layer."""
        return self.read_out(weights, last)
