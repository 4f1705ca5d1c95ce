"""The device that JAX works on, and an error that says so where there is none."""

from __future__ import annotations

import jax

__all__ = ["first_device"]


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
