r"""FullyConnected: the frozen description of a Bayesian network, its forward pass and its prior.

.. math::
    h^1 = W^1 x / \sqrt{N_0} \;(+ b^1), \qquad
    h^{l+1} = W^{l+1} \sigma(h^l) / \sqrt{N_l} \;(+ b^{l+1}), \qquad
    f(x) = v^T \sigma(h^L) / \sqrt{N_L} \;(+ b^{L+1})

with priors :math:`W^l_{ij} \sim N(0, 1/\lambda_{l-1})`, :math:`v_i \sim N(0, 1/\lambda_L)`,
:math:`b \sim N(0, 1/\lambda_b)`. Code works on *whitened* weights: standard normal under the prior, scaled by
:math:`1/\sqrt{\lambda_l N_l}` in the forward pass. Same law, far better conditioned.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import jax

from stpbnn import activations
from stpbnn._random import standard_normal
from stpbnn._validation import integer, number, one_of

__all__ = ["LIKELIHOODS", "FullyConnected", "NetworkHolder", "Prior", "Weights"]

LIKELIHOODS = ("gaussian", "bernoulli", "categorical")
GAUSSIAN = ("likelihood", "gaussian")

Weights = Mapping[str, jax.Array]


class Prior(NamedTuple):
    """The numbers of the prior: weight precisions λ_0..λ_L and the bias variance 1/λ_b (zero without biases)."""

    precisions: tuple[float, ...]
    bias_variance: float = 0.0


def _widths(value: Any) -> tuple[int, ...]:
    if isinstance(value, numbers.Integral):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise ValueError(f"widths: got {value!r}, expected the hidden widths N_1..N_L, such as (200,) or (100, 100)")
    widths = tuple(integer(f"widths[{i}]", width) for i, width in enumerate(value))
    if not widths:
        raise ValueError("widths: got none, expected at least one hidden layer, such as (200,)")
    return widths


def _precisions(value: Any, layers: int) -> float | tuple[float, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str):
        return number("weight_precision", value)
    precisions = tuple(number(f"weight_precision[{i}]", item) for i, item in enumerate(value))
    if len(precisions) != layers:
        raise ValueError(
            f"weight_precision: got {len(precisions)} numbers, expected one, or {layers} "
            f"(lambda_0..lambda_{layers - 1}: one for each hidden layer and one for the readout)"
        )
    return precisions


@dataclass(frozen=True)
class FullyConnected:
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

    def __post_init__(self) -> None:
        widths = _widths(self.widths)
        activations.get(self.activation)
        settings = {
            "widths": widths,
            "outputs": integer("outputs", self.outputs),
            "weight_precision": _precisions(self.weight_precision, len(widths) + 1),
            "bias_precision": None if self.bias_precision is None else number("bias_precision", self.bias_precision),
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        fits = {"gaussian": True, "bernoulli": self.outputs == 1, "categorical": self.outputs > 1}
        if not fits[one_of("likelihood", self.likelihood, LIKELIHOODS)]:
            expected = "1 output for two classes" if self.likelihood == "bernoulli" else "one output for each class"
            raise ValueError(
                f"likelihood: got {self.likelihood!r} with {self.outputs} output(s), expected {expected}; give outputs="
            )

    def __repr__(self) -> str:
        """Return the settings; the Gaussian likelihood goes without saying."""
        shown = {name: value for name, value in self.get_params().items() if (name, value) != GAUSSIAN}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def sigma(self) -> activations.Activation:
        """The activation σ with its dual kernel and mean."""
        return activations.get(self.activation)

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        return len(self.widths)

    @property
    def precisions(self) -> tuple[float, ...]:
        """λ_0..λ_L, one for each layer of weights."""
        given = self.weight_precision
        return tuple(given) if isinstance(given, Sequence) else (given,) * (self.depth + 1)

    @property
    def prior(self) -> Prior:
        """λ_0..λ_L and 1/λ_b: with the activation, all that the kernels of the network depend on."""
        return Prior(self.precisions, 0.0 if self.bias_precision is None else 1 / self.bias_precision)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain numbers, strings and lists; FullyConnected(**d) reads them back."""
        precision = self.weight_precision
        plain = {
            "widths": list(self.widths),
            "activation": self.sigma.name,
            "outputs": self.outputs,
            "weight_precision": list(precision) if isinstance(precision, Sequence) else precision,
            "bias_precision": self.bias_precision,
        }
        return plain if self.likelihood == "gaussian" else plain | {"likelihood": self.likelihood}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name, as scikit-learn's searches and clones ask for them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **settings: Any) -> FullyConnected:
        """Return a network with other settings: this one does not change.

        The regressors and `NNGPKernel` take settings by their names, as network__widths, and hold the new network.

        Parameters
        ----------
        **settings
            Any of them, by name.

        Raises
        ------
        ValueError
            For unknown names, and for settings as the network itself.

        Examples
        --------
        >>> FullyConnected((10,)).set_params(activation="relu", outputs=2)
        FullyConnected(widths=(10,), activation='relu', outputs=2, weight_precision=1.0, bias_precision=None)
        """
        for name in settings:
            one_of("network", name, self.get_params())
        return replace(self, **settings)

    def __sklearn_clone__(self) -> FullyConnected:
        """Return the network itself: it does not change."""
        return self

    def shapes(self, n_features: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights by name: W1..WL and v, and b1..b(L+1) where there are biases."""
        fan_in = (n_features, *self.widths)
        out = () if self.outputs == 1 else (self.outputs,)
        weights = {f"W{layer + 1}": (fan_in[layer], width) for layer, width in enumerate(self.widths)}
        biases = {f"b{layer + 1}": (width,) for layer, width in enumerate(self.widths)} | {f"b{self.depth + 1}": out}
        return weights | {"v": (fan_in[-1], *out)} | ({} if self.bias_precision is None else biases)

    def sample_prior(self, key: jax.Array, n_features: int) -> dict[str, jax.Array]:
        """Draw whitened weights from the prior: independent standard normal numbers.

        Parameters
        ----------
        key : jax.Array
            A JAX random key.
        n_features : int
            N_0, the number of inputs.
        """
        shapes = self.shapes(n_features)
        keys = jax.random.split(key, len(shapes))
        return {name: standard_normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    def _affine(self, weights: Weights, name: str, layer: int, features: jax.Array) -> jax.Array:
        """Apply layer number `layer` (0..L) to its input features (P, N_layer)."""
        scale = (self.precisions[layer] * features.shape[-1]) ** -0.5
        out = features @ weights[name] * scale
        return out if self.bias_precision is None else out + weights[f"b{layer + 1}"] * self.bias_precision**-0.5

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
        return self._affine(weights, "v", self.depth, last)

    def forward(self, weights: Weights, X: jax.Array) -> jax.Array:
        """Return the outputs f(X) of shape (P,), or (P, D) for more than one output.

        Parameters
        ----------
        weights : mapping of str to jax.Array
            Whitened weights by name.
        X : jax.Array of shape (P, N_0)
            Inputs.
        """
        return self.readout(weights, self.features(weights, X)[-1])


class NetworkHolder:
    """A part of what holds networks among its parameters, and takes their settings by name: network__widths."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters, and those of parts as part__parameter; settings of a network make a new one.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For names that are not known.
        """
        held = self.get_params(deep=False) | params  # type: ignore[attr-defined]
        settings: dict[str, dict[str, Any]] = {}
        for key in [key for key in params if "__" in key]:
            name, _, setting = key.partition("__")
            if name in held and held[name] is None:
                raise ValueError(f"{key}: got a setting of {name}, which is None; give a {name} to set it")
            if isinstance(held.get(name), FullyConnected):
                settings.setdefault(name, {})[setting] = params.pop(key)
        networks = {name: value for name, value in params.items() if isinstance(value, FullyConnected)}
        networks |= {name: held[name].set_params(**own) for name, own in settings.items()}
        return super().set_params(**(networks | {key: v for key, v in params.items() if key not in networks}))  # type: ignore[misc]
