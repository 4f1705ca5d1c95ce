"""Self-consistency: the kernels that particles average and the fields that these kernels make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from stpbnn.adaptive.neuron import Drive
from stpbnn.adaptive.particles import Move, move

__all__ = ["Fields", "Population", "Problem", "fields"]

GROUPS = 8  # independent populations, whose spread is the error bar
BUCKET = 64  # P and r are filled up to a multiple: one compilation serves many sizes


@dataclass(frozen=True)
class Problem:
    """What the self-consistent unit needs to know: targets, inputs in their row space, prior, temperature, width."""

    y: Float[np.ndarray, " P"]
    root: Float[np.ndarray, "P r"]
    kernel: Float[np.ndarray, "P P"]  # K_1, of infinite width, without the output bias
    sigma: Callable[[jax.Array], jax.Array]
    temperature: float
    width: float
    precision: float
    bias_variance: float
    reaction: bool


@dataclass(frozen=True)
class Fields:
    """The fields of one unit: a (that of the cavity where there are reaction terms), and R = (T + G)^{-1}."""

    a: Float[np.ndarray, " P"]
    R: Float[np.ndarray, "P P"]


def fields(
    problem: Problem, K: Float[np.ndarray, "P P"], G: Float[np.ndarray, "P P"], inverse_width: float
) -> Fields:
    """Return the fields that kernels make."""
    b, T, diagonal = problem.bias_variance, problem.temperature, np.diag_indices_from(G)
    A = G + b
    A[diagonal] += T
    R = inverse(A)
    if problem.reaction and inverse_width > 0:
        noise = np.full_like(K, b)
        noise[diagonal] += T
        A = K + noise - (noise @ R) @ K * inverse_width
    else:
        A = K + b
        A[diagonal] += T
    return Fields(np.linalg.solve(A, problem.y), R)


def inverse(A: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return the inverse of a positive definite matrix; LinAlgError for others."""
    factor, failure = lapack.dpotrf(A, lower=1, clean=0)
    if failure:
        raise np.linalg.LinAlgError(f"the leading minor of order {failure} is not positive")
    lower, _ = lapack.dpotri(factor, lower=1)
    return np.tril(lower) + np.tril(lower, -1).T


@dataclass
class Population:
    """Particles with their own self-consistent kernels, independent of all others."""

    key: jax.Array
    position: jax.Array
    K: Float[np.ndarray, "P P"]
    G: Float[np.ndarray, "P P"]
    fields: Fields
    last: Move | None = None
    sums: list[Any] = field(default_factory=list)


def padded(array: np.ndarray, *shape: int) -> jax.Array:
    """Return an array in single precision, filled up with zeros."""
    out = np.zeros(shape, dtype=np.float32)
    out[tuple(slice(n) for n in array.shape)] = array
    return jnp.asarray(out)


def up(number: int) -> int:
    return -(-number // BUCKET) * BUCKET if number > BUCKET // 2 else BUCKET // 2
