"""Checks of what the programs are given: values that JAX traces pass, with no more than their shapes looked at."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stpbnn import _validation as check

__all__ = ["lengths", "points", "targets", "value_above"]


def value_above(name: str, value: Any, minimum: float) -> Any:
    """Return a number that is above a minimum; a traced one is returned unchecked."""
    if isinstance(value, jax.core.Tracer):
        return value
    return check.number(
        name, value.item() if isinstance(value, jax.Array) and value.ndim == 0 else value, minimum=minimum
    )


def points(what: str, X: Any, features: int | None = None) -> jax.Array:
    """Return inputs (P, N_0) in JAX's current precision; under a JAX transformation only their shape is checked."""
    if not isinstance(X, jax.core.Tracer):
        return jnp.asarray(check.inputs(what, X, features=features))
    if X.ndim != 2 or features not in (None, X.shape[1]):
        raise ValueError(f"{what}: got shape {X.shape}, expected (examples, {features or 'features'})")
    return X


def lengths(what: str, value: Any, features: int) -> Any:
    """Return positive numbers, one or one for each feature; traced ones are returned unchecked."""
    if isinstance(value, jax.core.Tracer):
        return value
    if not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
        return value_above(what, value, 0)
    found = check.array(what, value)
    if found.shape != (features,) or not (found > 0).all():
        raise ValueError(f"{what}: got {check.shown(value)}, expected a positive number, or {features} of them")
    return jnp.asarray(found)


def targets(y: Any, examples: int, outputs: int = 1) -> jax.Array:
    """Return targets (P,) or (P, D) in JAX's current precision; only the shape of traced ones is checked."""
    shape = (examples,) if outputs == 1 else (examples, outputs)
    if np.shape(y) != shape:
        each = "one number" if outputs == 1 else f"{outputs} numbers, one for each output,"
        raise ValueError(f"y: got shape {np.shape(y)}, expected {shape}: {each} for each of the inputs")
    if isinstance(y, jax.core.Tracer):
        return y
    return jnp.asarray(check.targets("y", y, examples=examples, outputs=outputs))
