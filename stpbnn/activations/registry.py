"""The registry of activations by name."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from stpbnn._validation import number, one_of, shown
from stpbnn.activations import closed_forms
from stpbnn.activations.activation import Activation
from stpbnn.activations.quadrature import HermiteKernel, HermiteMean

__all__ = ["available", "get", "leaky_relu", "register"]

_BUILT_IN: dict[str, dict[str, Any]] = {
    "linear": {"function": lambda h: h, "kernel": closed_forms.linear_kernel},
    "erf": {"function": jax.scipy.special.erf, "kernel": closed_forms.erf_kernel},
    "relu": {
        "function": lambda h: jnp.maximum(h, 0),
        "kernel": closed_forms.relu_kernel,
        "mean": closed_forms.relu_mean,
    },
    "leaky_relu": closed_forms.leaky_relu(0.01),
    "gelu": {
        "function": partial(jax.nn.gelu, approximate=False),
        "kernel": closed_forms.gelu_kernel,
        "mean": closed_forms.gelu_mean,
    },
    "sin": {"function": jnp.sin, "kernel": closed_forms.sin_kernel},
    "square": {"function": lambda h: h * h, "kernel": closed_forms.square_kernel, "mean": lambda a: a},
    "tanh": {"function": jnp.tanh, "kernel": HermiteKernel(jnp.tanh, 768, odd=True), "order": 768},
    "silu": {
        "function": jax.nn.silu,
        "kernel": HermiteKernel(jax.nn.silu, 256),
        "mean": HermiteMean(jax.nn.silu, 256),
    },
}
_REGISTRY = {name: Activation.known(name, **parts) for name, parts in _BUILT_IN.items()}


def register(activation: Activation) -> Activation:
    """Make an activation known by its name.

    Parameters
    ----------
    activation : Activation
        The activation; its name must be free.

    Returns
    -------
    Activation
        The same activation.

    Raises
    ------
    ValueError
        If another activation has that name.

    Examples
    --------
    >>> register(get("erf")).name  # again the same one: allowed
    'erf'
    """
    if not isinstance(activation, Activation):
        raise ValueError(
            f"activation: got {shown(activation)}, expected a stpbnn.Activation, as Activation(name, f) gives"
        )
    if activation.name in available() and get(activation.name) != activation:
        raise ValueError(f"activation: {activation.name!r} is already registered; choose another name")
    return _REGISTRY.setdefault(activation.name, activation)


def available() -> tuple[str, ...]:
    """Return the registered names.

    Examples
    --------
    >>> {"linear", "erf", "relu", "tanh"} <= set(available())
    True
    """
    return tuple(_REGISTRY)


def get(activation: object) -> Activation:
    """Return the activation of that name, or the activation itself.

    Parameters
    ----------
    activation : str or Activation
        A registered name, or an activation.

    Raises
    ------
    ValueError
        If no activation has that name; the nearest one is suggested.

    Examples
    --------
    >>> get("relu").name
    'relu'
    """
    if isinstance(activation, Activation):
        return activation
    return _REGISTRY[one_of("activation", activation, available())]


def leaky_relu(slope: float = 0.01) -> Activation:
    r"""Return the leaky relu of that slope, :math:`\sigma(h) = \max(h, 0) + s \min(h, 0)`.

    .. math:: \kappa = (1 - s)^2 \kappa_{relu}(a, b, c) + s\,c, \qquad m(a) = (1 - s) \sqrt{a / 2\pi}

    Parameters
    ----------
    slope : float
        s, the slope at negative h.

    Raises
    ------
    ValueError
        If the slope is not a finite number.

    Examples
    --------
    >>> leaky_relu(0.2).name, leaky_relu() == get("leaky_relu")
    ('leaky_relu(0.2)', True)
    """
    slope = number("slope", slope, minimum=-math.inf)
    return get("leaky_relu") if slope == 0.01 else _leaky_relu(slope)


@cache
def _leaky_relu(slope: float) -> Activation:
    return Activation.known(f"leaky_relu({slope:g})", **closed_forms.leaky_relu(slope))
