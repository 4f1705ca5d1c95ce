"""The table [network] of a card: the settings of a network, of one kind or another."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, Strict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from stpbnn._validation import shown
from stpbnn.cards.section import NonEmpty, Section

if TYPE_CHECKING:
    from stpbnn import network

__all__ = ["Network"]

BUILT_IN = ("linear", "erf", "relu", "leaky_relu", "gelu", "sin", "square", "tanh", "silu")  # known without JAX
HIDDEN = {"fully-connected": "widths", "convolutional": "channels"}  # the key of the sizes of the hidden layers
OF_IMAGES = ("channels", "kernel_size", "stride", "padding", "readout", "image")
Counts = Annotated[tuple[PositiveInt, ...], Strict(False), NonEmpty]
Pair = Annotated[tuple[PositiveInt, ...], Strict(False), Field(min_length=2, max_length=2)]
Pairs = PositiveInt | Pair | Annotated[tuple[Pair, ...], Strict(False)]
OF_PAIRS = "a whole number from 1, a list of rows and columns, or a list of such pairs, one for each layer"


class Network(Section):
    """[network]: the settings of FullyConnected, or of Convolutional."""

    kind: Literal["fully-connected", "convolutional"] = Field(
        default="fully-connected", description='"fully-connected" or "convolutional"'
    )
    widths: Counts | None = Field(
        default=None, validate_default=True, description="a list of whole numbers from 1, such as [100] or [50, 50]"
    )
    channels: Counts | None = Field(
        default=None, validate_default=True, description="a list of whole numbers from 1, such as [100] or [50, 50]"
    )
    kernel_size: Pairs | None = Field(default=None, description=OF_PAIRS)
    stride: Pairs | None = Field(default=None, description=OF_PAIRS)
    padding: Literal["valid", "same"] | None = Field(default=None, description='"valid" or "same"')
    readout: Literal["flatten", "mean"] | None = Field(default=None, description='"flatten" or "mean"')
    image: Annotated[tuple[PositiveInt, ...], Strict(False), Field(min_length=3, max_length=3)] | None = Field(
        default=None, description="a list of rows, columns and channels, such as [28, 28, 1]"
    )
    activation: str = Field(default="erf", description='the name of an activation, such as "erf", or "module:function"')
    outputs: PositiveInt = Field(default=1, description="a whole number from 1")
    weight_precision: PositiveFloat | Annotated[tuple[PositiveFloat, ...], Strict(False)] = Field(
        default=1.0, description="a positive number, or a list of them, one for each layer of weights"
    )
    bias_precision: PositiveFloat | None = Field(
        default=None, description="a positive number; leave it out for no biases"
    )
    likelihood: Literal["gaussian", "bernoulli", "categorical"] = Field(
        default="gaussian", description='"gaussian" for numbers, "bernoulli" for two classes, "categorical" for several'
    )

    @field_validator("widths", "channels")
    @classmethod
    def _needed(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and HIDDEN.get(info.data.get("kind", "")) == info.field_name:
            raise PydanticCustomError("missing", "Field required")
        return value

    @property
    def of_classes(self) -> bool:
        """Whether the targets are classes."""
        return self.likelihood != "gaussian"

    @property
    def of_hidden(self) -> str:
        """The key of the sizes of the hidden layers."""
        return HIDDEN[self.kind]

    @property
    def hidden(self) -> tuple[int, ...]:
        """The sizes of the hidden layers: widths or channels."""
        sizes: tuple[int, ...] = getattr(self, self.of_hidden)
        return sizes

    def products(self, spanned: int, inputs: int) -> int:
        """Return how many products of weights and features the hidden layers take at an input.

        Parameters
        ----------
        spanned : int
            The directions that inputs span, which are all that a fully-connected network sees.
        inputs : int
            N_0.
        """
        if self.kind == "fully-connected":
            return sum(below * above for below, above in pairwise((spanned, *self.hidden)))
        net = self.build()
        shapes = net.shapes(inputs)
        return sum(n * math.prod(shapes[f"W{i}"][:-1]) for i, n in enumerate(net.units, start=1))

    def check(self) -> None:
        """Raise ValueError, naming the key, if the settings do not suit one another.

        JAX is not loaded where they plainly do.
        """
        others = ("widths",) if self.kind == "convolutional" else OF_IMAGES
        for key in others:
            if (value := getattr(self, key)) is not None:
                kind = "fully-connected" if key == "widths" else "convolutional"
                raise ValueError(
                    f"network.{key}: got {shown(value)} for a {self.kind} network, which has none; leave it out, or "
                    f'give kind = "{kind}"'
                )
        given, layers = self.weight_precision, len(self.hidden) + 1
        known = self.activation in BUILT_IN and max(*self.hidden, self.outputs) < 2**31 and not self.of_classes
        known &= self.kind == "fully-connected"
        if not known or (isinstance(given, tuple) and len(given) != layers):
            self.build()

    def build(self) -> network.Network:
        """Return the network; ValueError, naming the key, if the settings do not suit one another."""
        from stpbnn.network import of_settings

        try:
            return of_settings(self.model_dump(exclude_none=True, exclude={"kind"}))
        except ValueError as error:
            raise ValueError(f"network.{error}") from None
