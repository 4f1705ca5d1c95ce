r"""What all networks share: their settings, the numbers of their prior, and the layers of whitened weights.

Code works on *whitened* weights: standard normal under the prior, scaled by :math:`1/\sqrt{\lambda_l n}` in the
forward pass, n the number of inputs of a unit. Same law, far better conditioned.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp

from stpbnn import activations
from stpbnn._random import standard_normal
from stpbnn._validation import integer, number, one_of, plural

__all__ = ["LIKELIHOODS", "Network", "Prior", "Weights", "counts"]

LIKELIHOODS = ("gaussian", "bernoulli", "categorical")
GAUSSIAN = ("likelihood", "gaussian")

Weights = Mapping[str, jax.Array]


class Prior(NamedTuple):
    """The numbers of the prior: weight precisions λ_0..λ_L and the bias variance 1/λ_b (zero without biases)."""

    precisions: tuple[float, ...]
    bias_variance: float = 0.0


def counts(what: str, value: Any, expected: str) -> tuple[int, ...]:
    """Return the numbers of units of the hidden layers, at least one."""
    if isinstance(value, numbers.Integral):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise ValueError(f"{what}: got {value!r}, expected {expected}")
    found = tuple(integer(f"{what}[{i}]", count) for i, count in enumerate(value))
    if not found:
        raise ValueError(f"{what}: got none, expected at least one hidden layer, such as (200,)")
    return found


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


def _plain(value: Any) -> Any:
    """Return tuples as lists, all the way down."""
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


class Network:
    """The base of all networks, which are frozen dataclasses with these settings and more of their own."""

    activation: str | activations.Activation
    outputs: int
    weight_precision: float | Sequence[float]
    bias_precision: float | None
    likelihood: str

    _hidden: ClassVar[str]  # the name of the setting with N_1..N_L
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def _settle(self, layers: int, **own: Any) -> None:
        """Check the settings that all networks share, and set them with those of the class."""
        activations.get(self.activation)
        settings = own | {
            "outputs": integer("outputs", self.outputs),
            "weight_precision": _precisions(self.weight_precision, layers + 1),
            "bias_precision": None if self.bias_precision is None else number("bias_precision", self.bias_precision),
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        fits = {"gaussian": True, "bernoulli": self.outputs == 1, "categorical": self.outputs > 1}
        if not fits[one_of("likelihood", self.likelihood, LIKELIHOODS)]:
            expected = "1 output for two classes" if self.likelihood == "bernoulli" else "one output for each class"
            raise ValueError(
                f"likelihood: got {self.likelihood!r} with {plural(self.outputs, 'output')}, expected "
                f"{expected}; give outputs="
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
    def hidden(self) -> tuple[int, ...]:
        """N_1..N_L: the widths of the hidden layers, or their channels."""
        return tuple(getattr(self, self._hidden))

    def with_hidden(self, sizes: int | Iterable[int]) -> Self:
        """Return a network with other hidden layers; a single number is the size of each of the present layers.

        Parameters
        ----------
        sizes : int, or iterable of int
            Widths, or channels.

        Raises
        ------
        ValueError
            As the network itself.

        Examples
        --------
        >>> from stpbnn import FullyConnected
        >>> FullyConnected((10, 10)).with_hidden(7).widths
        (7, 7)
        """
        return replace(self, **{self._hidden: tuple(sizes) if isinstance(sizes, Iterable) else (sizes,) * self.depth})

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        return len(self.hidden)

    @property
    def units(self) -> tuple[int, ...]:
        """The numbers of features of the hidden layers."""
        raise NotImplementedError

    @property
    def seen(self) -> int:
        """M, the number of features that the readout sees."""
        return self.units[-1]

    @property
    def local(self) -> bool:
        """Whether the readout has weights of its own at each position of the last layer: here there is one position."""
        return False

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
        """Return the settings as plain numbers, strings and lists, which the class reads back."""
        plain = {name: _plain(value) for name, value in self.get_params().items() if (name, value) != GAUSSIAN}
        return plain | {"activation": self.sigma.name}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name, as scikit-learn's searches and clones ask for them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **settings: Any) -> Self:
        """Return a network with other settings: this one does not change.

        The regressors and `NNGPKernel` take settings by their names, as network__activation, and hold the new network.

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
        >>> from stpbnn import FullyConnected
        >>> FullyConnected((10,)).set_params(activation="relu", outputs=2)
        FullyConnected(widths=(10,), activation='relu', outputs=2, weight_precision=1.0, bias_precision=None)
        """
        for name in settings:
            one_of("network", name, self.get_params())
        return replace(self, **settings)

    def __sklearn_clone__(self) -> Self:
        """Return the network itself: it does not change."""
        return self

    def refuse_features(self, what: str, n_features: int) -> None:
        """Refuse inputs of a number of features that the network does not take: this one takes any."""

    def shapes(self, n_features: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights by name: W1..WL and v, and b1..b(L+1) where there are biases.

        Parameters
        ----------
        n_features : int
            N_0, the number of inputs.
        """
        raise NotImplementedError

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
        return self._shifted(features @ weights[name] * scale, weights, layer)

    def _shifted(self, out: jax.Array, weights: Weights, layer: int) -> jax.Array:
        """Add the biases of a layer, where there are any."""
        return out if self.bias_precision is None else out + weights[f"b{layer + 1}"] * self.bias_precision**-0.5

    def features(self, weights: Weights, X: jax.Array) -> list[jax.Array]:
        """Return the features σ(h^1)..σ(h^L) at inputs X (P, N_0), one array of P rows for each hidden layer.

        Parameters
        ----------
        weights : mapping of str to jax.Array
            Whitened weights by name.
        X : jax.Array of shape (P, N_0)
            Inputs.
        """
        raise NotImplementedError

    def mean_squares(self, layer: int, below: jax.Array) -> jax.Array:
        """Return the mean square of what the units of a hidden layer see, (P, positions): here one position.

        Parameters
        ----------
        layer : int
            The hidden layer, from 0.
        below : jax.Array
            Features of the layer below it, or the inputs, P rows.
        """
        return jnp.mean(below**2, axis=1, keepdims=True)

    def pooled(self, last: jax.Array) -> jax.Array:
        """Return what the readout sees (P, M) of the features of the last hidden layer: here all of them.

        Parameters
        ----------
        last : jax.Array
            Features of the last hidden layer, P rows.
        """
        return last

    def read_out(self, weights: Weights, last: jax.Array) -> jax.Array:
        """Return the outputs, (P,) or (P, D), from the features of the last hidden layer.

        Parameters
        ----------
        weights : mapping of str to jax.Array
            Whitened weights by name.
        last : jax.Array
            Features of the last hidden layer, P rows.
        """
        return self._affine(weights, "v", self.depth, self.pooled(last))

    def forward(self, weights: Weights, X: jax.Array) -> jax.Array:
        """Return the outputs f(X) of shape (P,), or (P, D) for more than one output.

        Parameters
        ----------
        weights : mapping of str to jax.Array
            Whitened weights by name.
        X : jax.Array of shape (P, N_0)
            Inputs.
        """
        return self.read_out(weights, self.features(weights, X)[-1])
