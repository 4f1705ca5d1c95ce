"""The names of the activations that are built in, which a card can be checked against without loading JAX."""

from __future__ import annotations

__all__ = ["BUILT_IN"]

BUILT_IN = ("linear", "erf", "relu", "leaky_relu", "gelu", "sin", "square", "tanh", "silu")
