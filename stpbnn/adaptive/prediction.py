r"""Predictions of the self-consistent neuron at new inputs, from snapshots of the particles.

The features at new inputs are split into what those of the training inputs tell and a rest, σ_x = B σ + ρ, with
B = k_x (K_1 + T)^{-1}: the first part uses the averages over all iterations, the rest those of the snapshots.
Directions of the new inputs outside of the row space of the training inputs are free: normal under prior and posterior
alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from stpbnn import kernels
from stpbnn.adaptive.fixed_point import Averages, Problem, Snapshot, fields, padded, up
from stpbnn.adaptive.particles import RowSpace, whitened_inputs
from stpbnn.network import FullyConnected

__all__ = ["AdaptiveProcess", "Prediction"]


class Prediction(NamedTuple):
    """Mean (n,) and covariance (n, n), or variance (n,), of f at query points."""

    mean: Float[np.ndarray, " n"]
    covariance: Float[np.ndarray, "n ..."]


class _Rest(NamedTuple):
    """E[w ρσ^T], E[(w + w²c²) ρσ^T], E[w c ρ] and E[(w + w²c²) ρρ^T], or its diagonal."""

    K: np.ndarray
    second: np.ndarray
    mean: np.ndarray
    within: np.ndarray


@dataclass(frozen=True)
class AdaptiveProcess:
    """The fixed point, ready for predictions."""

    net: FullyConnected
    X: Float[np.ndarray, "P N0"]
    problem: Problem
    space: RowSpace
    averages: list[Averages]
    snapshots: list[list[Snapshot]]
    seed: int

    def predict(self, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Prediction:
        """Return the prediction of all populations together."""
        B, rests = self._rests(X, joint)
        averages = Averages(*(np.mean([a[i] for a in self.averages], axis=0) for i in range(3)))
        rest = _Rest(*(np.mean([r[i] for r in rests], axis=0) for i in range(4)))
        return self._combined(averages, rest, B, joint)

    def predict_apart(self, X: Float[np.ndarray, "n N0"]) -> list[Prediction]:
        """Return the predictions of the populations, each for itself."""
        B, rests = self._rests(X, False)
        return [self._combined(a, r, B, False) for a, r in zip(self.averages, rests, strict=True)]

    def _rests(self, X: np.ndarray, joint: bool) -> tuple[np.ndarray, list[_Rest]]:
        """Return B, and the averages over what it leaves, for each population."""
        prior, features, problem = self.net.prior, kernels.feature_map(self.net), self.problem
        cross = kernels.cross_kernel(features, prior, X, self.X)
        k = np.asarray(cross.entries)
        within = np.asarray(kernels.cross_kernel(features, prior, X).entries if joint else cross.left)
        A = problem.kernel.copy()
        A[np.diag_indices_from(A)] += problem.temperature
        B = cho_solve(cho_factor(A, lower=True), k.T).T
        known = k - B @ problem.kernel
        prior_within = within - _product(B, k + known, joint)  # E[ρρ^T]/λ_1 under the prior
        return B, [self._rest(i, X, B, known, prior_within, joint) for i in range(len(self.averages))]

    def _rest(
        self, group: int, X: np.ndarray, B: np.ndarray, known: np.ndarray, prior_within: np.ndarray, joint: bool
    ) -> _Rest:
        """Average over the snapshots of one population."""
        n, P = B.shape
        x = whitened_inputs(self.net.prior, X)
        along = x @ self.space.directions
        across = x - along @ self.space.directions.T
        if np.abs(across).max() <= 1e-6 * np.abs(x).max():
            across = across[:, :0]
        arrays = (
            padded(self.problem.root, up(P), self.problem.root.shape[1], dtype=np.float64),
            padded(along, up(n), along.shape[1], dtype=np.float64),
            padded(across, up(n), across.shape[1], dtype=np.float64),
            padded(B, up(n), up(P), dtype=np.float64),
        )
        total: list[np.ndarray] | None = None
        for number, snapshot in enumerate(self.snapshots[group]):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), group + 1000), number)
            found = _averaged(
                self.problem.sigma, key, joint, *(jnp.asarray(x, jnp.float64) for x in snapshot[:4]), *arrays
            )
            K, second, mean, inner, K_twin, inner_twin = (np.asarray(m, dtype=float) for m in found)
            control = snapshot.control
            correction = control * (known - K_twin[:n, :P] / self.problem.precision)
            slices = (slice(n),) * inner.ndim
            parts = [
                K[:n, :P] + correction,
                second[:n, :P] + correction,
                mean[:n],
                inner[slices] + control * (prior_within - inner_twin[slices] / self.problem.precision),
            ]
            total = parts if total is None else [t + p for t, p in zip(total, parts, strict=True)]
        assert total is not None
        return _Rest(*(t / len(self.snapshots[group]) for t in total))

    def _combined(self, averages: Averages, rest: _Rest, B: np.ndarray, joint: bool) -> Prediction:
        problem, b, N = self.problem, self.problem.bias_variance, self.problem.width
        G = averages.covariance()
        a, R = fields(problem, averages.K, G)
        hidden = averages.K @ a
        mean = B @ hidden + rest.K @ a
        residual = a - R @ hidden / N if problem.reaction else a  # (y − f̄)/T
        rest_G = rest.second - np.outer(rest.mean, averages.mean)
        cross = B @ G + rest_G
        outer = np.outer(rest.mean, rest.mean) if joint else rest.mean**2
        mixed = _product(B, rest_G, joint)
        within = _product(B, B @ G, joint) + mixed + (mixed.T if joint else mixed) + rest.within - outer
        if problem.reaction:
            within = within + _product(cross @ R, cross, joint) / N
            cross, G = cross + cross @ R @ G / N, G + G @ R @ G / N
        A = G + b
        A[np.diag_indices_from(A)] += problem.temperature
        cross += b
        covariance = within + b - _product(cross, cho_solve(cho_factor(A, lower=True), cross.T).T, joint)
        return Prediction(mean + b * residual.sum(), covariance)


def _product(left: np.ndarray, right: np.ndarray, joint: bool) -> np.ndarray:
    """Return left right^T, or its diagonal."""
    return left @ right.T if joint else np.einsum("np,np->n", left, right)


@partial(jax.jit, static_argnames=("sigma", "joint"))
def _averaged(
    sigma: Callable[[jax.Array], jax.Array],
    key: jax.Array,
    joint: bool,
    position: jax.Array,
    twin: jax.Array,
    w: jax.Array,
    mean: jax.Array,
    root: jax.Array,
    along: jax.Array,
    across: jax.Array,
    B: jax.Array,
) -> tuple[jax.Array, ...]:
    """Average the rest of the features at new inputs over the particles of a snapshot and over their twins."""
    free = jax.random.normal(key, (len(position), across.shape[1]), position.dtype) @ across.T

    def split(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = sigma(z @ root.T)
        return features, sigma(z @ along.T + free) - features @ B.T

    def inner(rest: jax.Array, weights: jax.Array) -> jax.Array:
        return (rest * weights[:, None]).T @ rest if joint else weights @ rest**2

    features, rest = split(position)
    features_twin, rest_twin = split(twin)
    number, second = len(w), (w + mean**2) / len(w)
    return (
        (rest * (w / number)[:, None]).T @ features,
        (rest * second[:, None]).T @ features,
        mean @ rest / number,
        inner(rest, second),
        rest_twin.T @ features_twin / number,
        inner(rest_twin, jnp.full_like(w, 1 / number)),
    )
