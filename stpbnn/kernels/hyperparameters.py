"""The numbers of a network's prior that can be learned, as a vector of logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from stpbnn.network import Network, Prior

__all__ = ["log_values", "names", "prior_of", "tangents", "values", "with_values"]


def _tied(net: Network) -> bool:
    return not isinstance(net.weight_precision, Sequence)


def names(net: Network) -> list[str]:
    """Return the names of the learnable numbers: one weight precision where one was given, and that of the biases.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> names(FullyConnected((10,), weight_precision=(1.0, 2.0), bias_precision=4.0))
    ['weight_precision[0]', 'weight_precision[1]', 'bias_precision']
    >>> names(FullyConnected((10, 10)))
    ['weight_precision']
    """
    weights = ["weight_precision"] if _tied(net) else [f"weight_precision[{i}]" for i in range(net.depth + 1)]
    return weights + ([] if net.bias_precision is None else ["bias_precision"])


def log_values(net: Network) -> Float[np.ndarray, " n"]:
    """Return the logarithms of the learnable numbers, in the order of their names."""
    weights = net.precisions[:1] if _tied(net) else net.precisions
    return np.log([*weights, *([] if net.bias_precision is None else [net.bias_precision])])


def values(net: Network) -> dict[str, float]:
    """Return the learnable numbers by name.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> values(FullyConnected((10,), weight_precision=(1.0, 2.0)))
    {'weight_precision[0]': 1.0, 'weight_precision[1]': 2.0}
    """
    return dict(zip(names(net), np.exp(log_values(net)).tolist(), strict=True))


def prior_of(net: Network, log_values: Float[ArrayLike, " n"]) -> Prior:
    """Return the prior with other numbers, which may be traced and differentiated.

    Parameters
    ----------
    net : Network
        The network that says which precisions are tied and whether there are biases.
    log_values : array of shape (n,)
        Logarithms of the precisions, in the order of `names`.
    """
    values: Any = jnp.exp(jnp.asarray(log_values))
    weights = (values[0],) * (net.depth + 1) if _tied(net) else tuple(values[: net.depth + 1])
    return Prior(weights, 0.0 if net.bias_precision is None else 1 / values[-1])


def with_values[Net: Network](net: Net, log_values: Float[np.ndarray, " n"]) -> Net:
    """Return the network with other numbers in its prior: what was tied stays tied.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> with_values(FullyConnected((10,)), np.log([2.0])).weight_precision.__round__(3)
    2.0
    """
    values = np.exp(log_values).tolist()
    weights = values[0] if _tied(net) else tuple(values[: net.depth + 1])
    return net.set_params(weight_precision=weights, bias_precision=None if net.bias_precision is None else values[-1])


def tangents(net: Network, log_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n numbers"]:
    """Return the derivatives of λ_0..λ_L and 1/λ_b along each of the learnable numbers.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((10,), weight_precision=2.0, bias_precision=4.0)
    >>> tangents(net, log_values(net)).round(4).tolist()
    [[2.0, 2.0, 0.0], [0.0, 0.0, -0.25]]
    """
    along = jax.jacfwd(
        lambda theta: jnp.stack([jnp.asarray(number) for number in jax.tree.leaves(prior_of(net, theta))])
    )(log_values)
    return np.asarray(along).T
