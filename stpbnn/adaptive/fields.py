r"""Self-consistency: kernels that a unit averages, and the fields that these kernels make.

.. math:: a = (K_w + T)^{-1} y, \qquad R = (T + G)^{-1}, \qquad K_w = E[w\sigma\sigma^T], \qquad
          G = K_w + \mathrm{Cov}[w c\, \sigma]

With D outputs the kernels are matrices of D × D blocks, one for each pair of outputs, and y is the targets of the first
output, then those of the second, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from stpbnn._linalg import lower_cholesky
from stpbnn.adaptive.neuron import Drive

__all__ = ["Averages", "Fields", "Problem", "drive", "fields", "padded", "up"]

BUCKET = 64  # sizes are filled up to multiples: one compilation serves many of them


@dataclass(frozen=True)
class Problem:
    """Targets, inputs in their row space, K_1 of infinite width without the output bias, prior, temperature, width."""

    y: Float[np.ndarray, " DP"]
    root: Float[np.ndarray, "P r"]
    kernel: Float[np.ndarray, "P P"]
    sigma: Callable[[jax.Array], jax.Array]
    temperature: float
    width: float
    precision: float
    bias_variance: float = 0.0
    reaction: bool = True

    @property
    def outputs(self) -> int:
        """How many outputs the network has."""
        return len(self.y) // len(self.kernel)

    @cached_property
    def noise(self) -> Float[np.ndarray, "DP DP"]:
        """T and the output bias: what the units do not explain."""
        noise = np.kron(np.eye(self.outputs), np.full_like(self.kernel, self.bias_variance))
        noise[np.diag_indices_from(noise)] += self.temperature
        return noise


class Fields(NamedTuple):
    """The fields of one unit: a (that of its cavity where there are reaction terms), and R = (T + G)^{-1}."""

    a: Float[np.ndarray, " DP"]
    R: Float[np.ndarray, "DP DP"]


class Averages(NamedTuple):
    """K_w, E[(w + w c c^T w) σσ^T] and E[w c σ] over particles and iterations."""

    K: Float[np.ndarray, "DP DP"]
    second: Float[np.ndarray, "DP DP"]
    mean: Float[np.ndarray, " DP"]

    def covariance(self) -> Float[np.ndarray, "DP DP"]:
        """Return G = K_w + Cov[w c σ], without the output bias."""
        return self.second - np.outer(self.mean, self.mean)

    def symmetric(self) -> Averages:
        """Return them without what rounding left of unequal halves."""
        return Averages((self.K + self.K.T) / 2, (self.second + self.second.T) / 2, self.mean)

    @classmethod
    def of(cls, several: list[Averages]) -> Averages:
        """Return the mean of several."""
        return cls(*(np.mean([each[i] for each in several], axis=0) for i in range(3)))


def fields(problem: Problem, K: Float[np.ndarray, "DP DP"], G: Float[np.ndarray, "DP DP"]) -> Fields:
    """Return the fields that kernels make; LinAlgError where T + G is not positive."""
    noise = problem.noise
    R = symmetric_inverse(G + noise)
    A = K + noise
    if problem.reaction:
        A -= (noise @ R @ K if problem.bias_variance else problem.temperature * (R @ K)) / problem.width
    return Fields(np.linalg.solve(A, problem.y), R)


def symmetric_inverse(A: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Return the inverse of a positive definite matrix, which may be overwritten; LinAlgError for others."""
    factor, failure = lower_cholesky(A, clean=False)
    if failure:
        raise np.linalg.LinAlgError(f"the leading minor of order {failure} is not positive")
    lower, _ = lapack.dpotri(factor, lower=1)
    return np.tril(lower) + np.tril(lower, -1).T


def drive(problem: Problem, found: Fields, share: float = 1.0) -> Drive:
    """Return what a unit feels in a share of the fields, in single precision."""
    D, P, N = problem.outputs, len(problem.kernel), problem.width
    with np.errstate(over="ignore"):
        field = padded((share / np.sqrt(N) * found.a).reshape(D, P), D, up(P))
        response = padded((share / N * found.R).reshape(D, P, D, P), D, up(P), D, up(P))
    return Drive(field, response, jnp.float32(problem.precision))


def padded(array: np.ndarray, *shape: int, dtype: Any = np.float32) -> jax.Array:
    """Return an array filled up with zeros, in single precision unless said."""
    out = np.zeros(shape, dtype=dtype)
    out[tuple(slice(n) for n in array.shape)] = array
    return jnp.asarray(out)


def up(number: int) -> int:
    """Return a size filled up to a multiple of the bucket."""
    return -(-number // BUCKET) * BUCKET
