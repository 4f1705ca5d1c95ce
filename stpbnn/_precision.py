"""Double precision for the closed forms, whatever JAX's flag says."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax

from stpbnn._backend import first_device

__all__ = ["in_float64"]


def in_float64[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a function that is called from outside of JAX's transformations in float64."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True):
            try:
                return function(*args, **kwargs)
            except AssertionError:  # JAX's bare one, where it finds no device
                first_device()
                raise

    return wrapped
