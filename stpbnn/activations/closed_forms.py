r"""Dual kernels and Gaussian means in closed form; each acts entry by entry on variances a, b and covariances c.

Angles are the arctan of a ratio: XLA vectorises arctan, and computes arctan2 one by one.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = [
    "erf_kernel",
    "gelu_kernel",
    "gelu_mean",
    "leaky_relu",
    "linear_kernel",
    "relu_kernel",
    "relu_mean",
    "sin_kernel",
    "square_kernel",
]

Entries = Float[Array, "..."]


def linear_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = c."""
    return c


@jax.custom_jvp
def _determinant(a: Entries, b: Entries, c: Entries) -> Entries:
    """Return ab − c², at least zero; its slopes are those of ab − c² at parallel inputs too."""
    return jnp.maximum(a * b - c * c, 0)


@_determinant.defjvp
def _determinant_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    a, b, c = primals
    da, db, dc = tangents
    return _determinant(a, b, c), a * db + b * da - 2 * c * dc


def _discriminant(a: Entries, b: Entries, c: Entries) -> Entries:
    """(1 + 2a)(1 + 2b) − 4c², never below its value 1 + 2a + 2b at parallel inputs."""
    return 1 + 2 * (a + b) + 4 * _determinant(a, b, c)


@jax.custom_jvp
def erf_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = (2/π) arcsin(2c / √((1+2a)(1+2b))), written with arctan: no loss of digits near x = x'."""
    return (2 / jnp.pi) * jnp.arctan(2 * c / jnp.sqrt(_discriminant(a, b, c)))


@erf_kernel.defjvp
def _erf_kernel_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    a, b, c = primals
    da, db, dc = tangents
    slope = (4 / jnp.pi) / jnp.sqrt(_discriminant(a, b, c))
    return erf_kernel(a, b, c), slope * (dc - c * (da / (1 + 2 * a) + db / (1 + 2 * b)))


def _root(x: Entries) -> Entries:
    """Return √x with derivative zero at x = 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _sine_and_angle(a: Entries, b: Entries, c: Entries) -> tuple[Entries, Entries]:
    """√(ab − c²) and the angle between two inputs: 0 or π where parallel to rounding, π/2 where one of them is zero."""
    scale = _root(a) * _root(b)
    gap = scale - jnp.abs(c)
    apart = gap > 4 * jnp.finfo(jnp.result_type(a, b, c)).eps * scale
    sine = jnp.where(apart, _root(jnp.where(apart, gap, 1)) * _root(scale + jnp.abs(c)), 0)
    along = jnp.where(scale > 0, jnp.where(c < 0, jnp.pi, 0), jnp.pi / 2)
    angle = jnp.where(apart, jnp.pi / 2 - jnp.arctan(c / jnp.where(apart, sine, 1)), along)
    return sine, angle


@jax.custom_jvp
def relu_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = [√(ab − c²) + c (π − θ)] / 2π with θ the angle between the inputs: the arc-cosine kernel of order one."""
    sine, angle = _sine_and_angle(a, b, c)
    return (sine + c * (jnp.pi - angle)) / (2 * jnp.pi)


@relu_kernel.defjvp
def _relu_kernel_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    a, b, c = primals
    da, db, dc = tangents
    sine, angle = _sine_and_angle(a, b, c)
    da, db = (jnp.where(x > 0, dx / jnp.where(x > 0, x, 1), 0) for x, dx in ((a, da), (b, db)))
    return relu_kernel(a, b, c), (sine / 2 * (da + db) + (jnp.pi - angle) * dc) / (2 * jnp.pi)


def relu_mean(a: Entries) -> Entries:
    """Half of E|h|: √(a / 2π)."""
    return _root(a) / (2 * jnp.pi) ** 0.5


def leaky_relu(slope: float) -> dict[str, Any]:
    """σ = relu(h) − s relu(−h), its kernel and its mean, by relu's: κ(a, b, c) − κ(a, b, −c) = c/2 for relu."""
    return {
        "function": lambda h: jnp.maximum(h, 0) + slope * jnp.minimum(h, 0),
        "kernel": lambda a, b, c: (1 - slope) ** 2 * relu_kernel(a, b, c) + slope * c,
        "mean": lambda a: (1 - slope) * relu_mean(a),
    }


def gelu_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = c/4 + [c arctan(c/D) + a b D / ((1+a)(1+b)) + c² / ((1+a)(1+b) D)] / 2π with D² = (1+a)(1+b) − c²."""
    root = jnp.sqrt(1 + (a + b) + _determinant(a, b, c))
    outside = a / (1 + a) * (b / (1 + b)) * root + c / (1 + a) * (c / (1 + b)) / root
    return c / 4 + (c * jnp.arctan(c / root) + outside) / (2 * jnp.pi)


def gelu_mean(a: Entries) -> Entries:
    """E[h Φ(h)] = a / √(2π(1 + a))."""
    return a / jnp.sqrt(2 * jnp.pi * (1 + a))


@jax.custom_jvp
def sin_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = exp(−(a+b)/2) sinh c, in the size of c: neither overflow at large norms nor loss of digits at small ones."""
    size = jnp.abs(c)
    return -jnp.sign(c) * jnp.exp(size - (a + b) / 2) * jnp.expm1(-2 * size) / 2


@sin_kernel.defjvp
def _sin_kernel_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    a, b, c = primals
    da, db, dc = tangents
    centre = (a + b) / 2
    value = sin_kernel(a, b, c)
    return value, (jnp.exp(c - centre) + jnp.exp(-c - centre)) / 2 * dc - value * (da + db) / 2


def square_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = ab + 2c²."""
    return a * b + 2 * c * c
