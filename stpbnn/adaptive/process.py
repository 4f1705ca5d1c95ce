r"""Predictions of self-consistent clusters at new inputs, from snapshots of the particles.

The features at new inputs are split into what those of the training inputs tell and a rest, σ_x = B σ + ρ, with
B = k_x (K_1 + T)^{-1}: the first part uses the averages over all iterations, the rest those of the snapshots.
Directions of the new inputs outside of the row space of the training inputs are free: normal under prior and posterior
alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from stpbnn import kernels
from stpbnn._random import standard_normal
from stpbnn.adaptive.averaging import Snapshot
from stpbnn.adaptive.fields import Averages, Problem, Response, fields, padded, up
from stpbnn.adaptive.layers import features, own_features
from stpbnn.adaptive.neuron import weighed
from stpbnn.adaptive.particles import RowSpace
from stpbnn.adaptive.posing import Coordinates, coordinates
from stpbnn.network import FullyConnected
from stpbnn.predictive import Gaussian, IndependentOutputs, JointGaussian

__all__ = ["AdaptiveProcess", "Prediction"]


class Prediction(NamedTuple):
    """Mean (n, D), and covariance (D, n, n) or variance (D, n), of each output of f at query points."""

    mean: Float[np.ndarray, "n D"]
    covariance: Float[np.ndarray, "D n ..."]

    def law(self, noise: float) -> Any:
        """Return the Gaussian law of f + noise of that variance; of one output without the axis of outputs."""
        mean, covariances, one = self.mean, self.covariance, self.mean.shape[1] == 1
        if covariances.ndim == 2:
            variance = np.maximum(covariances, 0).T + noise
            return Gaussian(mean[:, 0], variance[:, 0]) if one else Gaussian(mean, variance)
        covariances = (covariances + np.swapaxes(covariances, 1, 2)) / 2
        for covariance in covariances:
            covariance[np.diag_indices_from(covariance)] = np.maximum(np.diag(covariance), 0) + noise
        if one:
            return JointGaussian(mean[:, 0], np.diag(covariances[0]).copy(), covariances[0])
        return IndependentOutputs.joint(mean, list(covariances))


class _Below(NamedTuple):
    """The kernel of the layer below on training inputs, and what B leaves of it at new ones.

    `rest` is between new and training inputs, `within` between new ones, as in `_Rest`; `free` is the part of `within`
    that the training inputs do not tell at all.
    """

    kernel: Float[np.ndarray, "P P"]
    rest: Float[np.ndarray, "n P"]
    within: Float[np.ndarray, "n ..."]
    free: Float[np.ndarray, "n ..."]


class _Rest(NamedTuple):
    """K_w, N/n E[xx^T] and √(N/n) E[x] with ρ in place of the first σ; the second with ρ twice, or its diagonal."""

    K: Float[np.ndarray, "Dn DP"]
    second: Float[np.ndarray, "Dn DP"]
    mean: Float[np.ndarray, " Dn"]
    within: Float[np.ndarray, "D n ..."]
    below: _Below | None

    @classmethod
    def of(cls, several: list[_Rest]) -> _Rest:
        """Return the mean of several."""
        K, second, mean, within = (np.mean([each[i] for each in several], axis=0) for i in range(4))
        return cls(K, second, mean, within, several[0].below)


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
        return self._combined(Averages.of(self.averages), _Rest.of(rests), B, joint)

    def predict_apart(self, X: Float[np.ndarray, "n N0"]) -> list[Prediction]:
        """Return the predictions of the populations, each for itself."""
        B, rests = self._rests(X, False)
        return [self._combined(a, r, B, False) for a, r in zip(self.averages, rests, strict=True)]

    @cached_property
    def _prior_factor(self) -> tuple[np.ndarray, bool]:
        """K_1 + T, factorised."""
        A = self.problem.kernel.copy()
        A[np.diag_indices_from(A)] += self.problem.temperature
        return cho_factor(A, lower=True)

    def _rests(self, X: np.ndarray, joint: bool) -> tuple[np.ndarray, list[_Rest]]:
        """Return B, and the averages over what it leaves, for each population."""
        prior, of_net, problem = self.net.prior, kernels.feature_map(self.net), self.problem
        cross = kernels.cross_kernel(of_net, prior, X, self.X)
        k = np.asarray(cross.entries)
        within = np.asarray(kernels.cross_kernel(of_net, prior, X).entries if joint else cross.left)
        B = cho_solve(self._prior_factor, k.T).T
        known = k - B @ problem.kernel
        prior_within = within - _product(B, k + known, joint)  # E[ρρ^T]/λ_1 under the prior
        here = coordinates(self.net, self.X, X, problem, self.space, joint=joint)
        return B, [self._rest(i, here, B, known, prior_within, joint) for i in range(len(self.averages))]

    def _below(self, here: Coordinates, B: np.ndarray, joint: bool) -> _Below | None:
        """Return what is known of the layer below, where there is one that answers."""
        if here.within is None:
            return None
        assert self.problem.below is not None
        root = self.problem.below.kernel_root
        kernel, k = root @ root.T, here.along[:, -len(root) :] @ root.T
        known = k - B @ kernel
        free = here.across @ here.across.T if joint else here.across**2
        return _Below(kernel, known, here.within - _product(B, k + known, joint), free)

    def _rest(
        self, group: int, here: Coordinates, B: np.ndarray, known: np.ndarray, prior_within: np.ndarray, joint: bool
    ) -> _Rest:
        """Average over the snapshots of one population."""
        n, P = B.shape
        free = here.across.shape[1:]
        arrays = (
            padded(self.problem.root, up(P), self.problem.root.shape[1], dtype=np.float64),
            padded(here.along, up(n), here.along.shape[1], dtype=np.float64),
            padded(here.across, up(n), *free, dtype=np.float64),
            padded(B, up(n), up(P), dtype=np.float64),
        )
        found = []
        for number, snapshot in enumerate(self.snapshots[group]):
            stream = np.array([self.seed, group + 1000, number])
            modes = None
            if len(snapshot.modes):
                modes = padded(snapshot.modes, len(snapshot.modes), up(P), dtype=np.float64)
            particles = (np.asarray(x, np.float64) for x in snapshot[:4])
            moments = _averaged(self.problem.sigma, stream, joint, *particles, modes, *arrays)
            K, second, mean, inner, K_twin, inner_twin = (np.asarray(m, dtype=float) for m in moments)
            control = snapshot.control
            correction = np.kron(control, known - K_twin[:n, :P] / self.problem.precision)
            square = (slice(n),) * prior_within.ndim
            prior_part = prior_within - inner_twin[square] / self.problem.precision
            found.append(
                _Rest(
                    _whole(K[:, :, :n, :P]) + correction,
                    _whole(second[:, :, :n, :P]) + correction,
                    mean[:, :n].ravel(),
                    inner[:, *square] + np.multiply.outer(np.diag(control), prior_part),
                    self._below(here, B, joint),
                )
            )
        return _Rest.of(found)

    def _combined(self, averages: Averages, rest: _Rest, B: np.ndarray, joint: bool) -> Prediction:
        problem, D, n = self.problem, self.problem.outputs, len(B)
        G, bias, reacting = averages.covariance(), problem.bias_variance, problem.reacting
        response = Response.of(problem, G)
        a, R = fields(problem, averages.K, response)
        hidden = averages.K @ a
        mean = (B @ hidden.reshape(D, -1).T).T.ravel() + rest.K @ a
        residual = a - reacting * (R @ hidden)  # (y − f̄)/T
        B_G = _left(B, G, D)
        rest_G = rest.second - np.outer(rest.mean, averages.mean)
        lost: Any = 0.0
        if rest.below is not None:
            of_below = averages.screening(R, rest.below.kernel)
            rest_G, lost = rest_G - of_below * rest.below.rest, of_below * rest.below.within
            lost = lost + (averages.across - of_below) * rest.below.free
        cross, r = B_G + rest_G, response.r
        alone = 1 - reacting * response.g * r  # V to Σ
        pulled = (1 - reacting) * (cross @ response.matrix(r / alone))  # of all outputs at once: they couple
        covariances = []
        for d, rows in enumerate(np.arange(D * n).reshape(D, -1)):
            columns = slice(d * B.shape[1], (d + 1) * B.shape[1])
            rest_mean = rest.mean[rows]
            outer = np.outer(rest_mean, rest_mean) if joint else rest_mean**2
            mixed = _product(B, rest_G[rows, columns], joint)
            within = _product(B, B_G[rows, columns], joint) + mixed + (mixed.T if joint else mixed)
            within = within + rest.within[d] - lost - outer - _product(pulled[rows], cross[rows], joint)
            if bias:
                shift = cross[rows] @ R[:, columns].sum(axis=1)
                shared = response.vectors[columns].sum(axis=0) ** 2 @ (r * alone)
                within += bias - bias * (np.add.outer(shift, shift) if joint else 2 * shift) - bias**2 * shared
            covariances.append(within)
        residuals = residual.reshape(D, -1).sum(axis=1)
        return Prediction(mean.reshape(D, -1).T + bias * residuals, np.array(covariances))


def _product(left: np.ndarray, right: np.ndarray, joint: bool) -> np.ndarray:
    """Return left right^T, or its diagonal."""
    return left @ right.T if joint else np.einsum("np,np->n", left, right)


def _left(B: Float[np.ndarray, "n P"], G: Float[np.ndarray, "DP DP"], D: int) -> Float[np.ndarray, "Dn DP"]:
    """Return (1_D ⊗ B) G."""
    return (B @ G.reshape(D, B.shape[1], -1)).reshape(D * len(B), -1)


def _whole(blocks: Float[np.ndarray, "D D n P"]) -> Float[np.ndarray, "Dn DP"]:
    """Return the matrix of which these are the blocks."""
    D, _, n, P = blocks.shape
    return blocks.transpose(0, 2, 1, 3).reshape(D * n, D * P)


@partial(jax.jit, static_argnames=("sigma", "joint"))
def _averaged(
    sigma: Callable[[jax.Array], jax.Array],
    stream: jax.Array,
    joint: bool,
    position: jax.Array,
    twin: jax.Array,
    covariance: jax.Array,
    mean: jax.Array,
    modes: jax.Array | None,
    root: jax.Array,
    along: jax.Array,
    across: jax.Array,
    B: jax.Array,
) -> tuple[jax.Array, ...]:
    """Average the rest of the features at new inputs over the particles of a snapshot and over their twins."""
    (M, rows, _), n = position.shape, mean.shape[1]
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(stream[0]), stream[1]), stream[2])
    if across.ndim == 1:
        free = standard_normal(key, (M, rows, len(across)), position.dtype) * across
    else:
        free = standard_normal(key, (M, rows, across.shape[1]), position.dtype) @ across.T

    def split(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        there = features(sigma, z, root, modes)
        return there, own_features(sigma, z, along, free) - there[:, :n] @ B.T

    def flat(values: jax.Array) -> jax.Array:
        return values.reshape(-1, values.shape[-1])

    def inner(left: jax.Array, right: jax.Array) -> jax.Array:
        return flat(left).T @ flat(right) if joint else jnp.sum(flat(left) * flat(right), axis=0)

    there, rest = split(position)
    twins, rest_twin = split(twin)
    D, number = mean.shape[2], M * n

    def crossed(d: int, e: int) -> jax.Array:
        return flat(rest).T @ flat(weighed(covariance[:, :, d, :, e], there)) / number

    def outer(d: int, e: int) -> jax.Array:
        if there.shape[1] == n:
            return kernel[d, e]
        return flat(rest).T @ flat(weighed(covariance[:, :, d, :n, e], there[:, :n])) / number

    def within(d: int) -> jax.Array:
        share = shares[0][:, d]
        return (inner(rest, weighed(covariance[:, :, d, :n, d], rest)) + inner(share, share)) / number

    kernel = jnp.stack([jnp.stack([crossed(d, e) for e in range(D)]) for d in range(D)])
    second = jnp.stack([jnp.stack([outer(d, e) for e in range(D)]) for d in range(D)])
    shares = [jnp.einsum("mid,mip->mdp", mean, each, optimize="optimal") for each in (rest, there[:, :n])]
    return (
        kernel,
        second + jnp.einsum("mdn,mep->denp", *shares, optimize="optimal") / number,
        jnp.mean(shares[0], axis=0) / jnp.sqrt(n),
        jnp.stack([within(d) for d in range(D)]),
        flat(rest_twin).T @ flat(twins[:, :n]) / number,
        inner(rest_twin, rest_twin) / number,
    )
