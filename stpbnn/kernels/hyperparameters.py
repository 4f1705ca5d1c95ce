"""The numbers of a network's prior that can be learned, as a vector of logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from stpbnn.network import FullyConnected, Prior

__all__ = ["log_values", "names", "prior_of", "with_values"]


def _tied(net: FullyConnected) -> bool:
    return not isinstance(net.weight_precision, Sequence)


def names(net: FullyConnected) -> list[str]:
    """Return the names of the learnable numbers: one weight precision where one was given, and that of the biases.

    Examples
    --------
    >>> names(FullyConnected((10,), weight_precision=(1.0, 2.0), bias_precision=4.0))
    ['weight_precision[0]', 'weight_precision[1]', 'bias_precision']
    >>> names(FullyConnected((10, 10)))
    ['weight_precision']
    """
    weights = ["weight_precision"] if _tied(net) else [f"weight_precision[{i}]" for i in range(net.depth + 1)]
    return weights + ([] if net.bias_precision is None else ["bias_precision"])


def log_values(net: FullyConnected) -> Float[np.ndarray, " n"]:
    """Return the logarithms of the learnable numbers, in the order of their names."""
    weights = net.precisions[:1] if _tied(net) else net.precisions
    return np.log([*weights, *([] if net.bias_precision is None else [net.bias_precision])])


def prior_of(net: FullyConnected, log_values: Float[ArrayLike, " n"]) -> Prior:
    """Return the prior with other numbers, which may be traced and differentiated.

    Parameters
    ----------
    net : FullyConnected
        The network that says which precisions are tied and whether there are biases.
    log_values : array of shape (n,)
        Logarithms of the precisions, in the order of `names`.
    """
    values: Any = jnp.exp(jnp.asarray(log_values))
    weights = (values[0],) * (net.depth + 1) if _tied(net) else tuple(values[: net.depth + 1])
    return Prior(weights, 0.0 if net.bias_precision is None else 1 / values[-1])


def with_values(net: FullyConnected, log_values: Float[np.ndarray, " n"]) -> FullyConnected:
    """Return the network with other numbers in its prior: what was tied stays tied.

    Examples
    --------
    >>> with_values(FullyConnected((10,)), np.log([2.0])).weight_precision.__round__(3)
    2.0
    """
    values = np.exp(log_values).tolist()
    weights = values[0] if _tied(net) else tuple(values[: net.depth + 1])
    return replace(net, weight_precision=weights, bias_precision=None if net.bias_precision is None else values[-1])
