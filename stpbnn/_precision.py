"""JAX as the closed forms use it: in double precision, whatever its flag says; an error where it finds no device."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax

__all__ = ["first_device", "in_float64"]


def first_device() -> jax.Device:
    """Return JAX's first device.

    Raises
    ------
    RuntimeError
        If JAX finds none, with what it says; it may say nothing, with a bare AssertionError.
    """
    try:
        return jax.devices()[0]
    except (RuntimeError, AssertionError) as error:
        said = next(iter(str(error).splitlines()), "no backend could be started")
        raise RuntimeError(
            f"JAX finds no device for JAX_PLATFORMS={jax.config.jax_platforms!r}: {said}; unset JAX_PLATFORMS, or set "
            "it to 'cpu'"
        ) from error


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
