"""Data at the doors of the programs: numbers of fitting shapes in JAX's current precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stpbnn import _validation as check

__all__ = ["points", "targets"]


def points(what: str, X: Any, features: int | None = None) -> jax.Array:
    """Return inputs (P, N_0) in JAX's current precision; under a JAX transformation only their shape is checked."""
    if not isinstance(X, jax.core.Tracer):
        return jnp.asarray(check.inputs(what, X, features=features))
    if X.ndim != 2 or features not in (None, X.shape[1]):
        raise ValueError(f"{what}: got shape {X.shape}, expected (examples, {features or 'features'})")
    return X


def targets(y: Any, examples: int, outputs: int = 1) -> jax.Array:
    """Return targets (P,) or (P, D) in JAX's current precision; of traced ones only the shape is checked."""
    shape = (examples,) if outputs == 1 else (examples, outputs)
    if np.shape(y) != shape:
        each = "one number" if outputs == 1 else f"{outputs} numbers, one for each output,"
        raise ValueError(f"y: got shape {np.shape(y)}, expected {shape}: {each} for each of the inputs")
    if isinstance(y, jax.core.Tracer):
        return y
    return jnp.asarray(check.targets("y", y, examples=examples, outputs=outputs))
