"""The layer below, in networks of two: units in the backward signals of those above, and what they make of them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stpbnn.adaptive.fields import Fields, Problem, Response, padded, up
from stpbnn.adaptive.layers import Lower, features
from stpbnn.adaptive.neuron import Drive, posterior_readout
from stpbnn.adaptive.particles import Move, from_prior, walk

__all__ = ["LayerBelow", "Particles", "follow", "modes", "move_below"]

MODES = 3  # of the backward signal: the rest of its covariance is a few per cent


class LayerBelow(NamedTuple):
    """What is known of the layer below, from particles and averaged over moves.

    Γ, of the backward signals; √N times the mean of what a unit above adds to the output in its role of one below.
    """

    slopes: Float[np.ndarray, "P P"]
    mean: Float[np.ndarray, " P"]

    def cavity(self, problem: Problem, response: Response, a: Float[np.ndarray, " P"]) -> Fields:
        """Return fields without what a unit above adds in both of its roles: two parts in N, where one was."""
        others = max(0.0, 1 - 2 * problem.reacting) / (1 - problem.reacting)
        R = response.matrix(1 / (1 + others * (1 / response.r - 1)))
        return Fields(a + R @ self.mean * np.sqrt(problem.reacting / problem.width), R)

    def towards(self, new: LayerBelow, gain: float) -> LayerBelow:
        """Return it a part of the way to what particles show."""
        return LayerBelow(*(a + gain * (b - a) for a, b in zip(self, new, strict=True)))


class Particles(NamedTuple):
    """Units below after a move, what they show, and what their response takes away from the covariance of f."""

    position: jax.Array
    shown: LayerBelow
    screened: Float[np.ndarray, "P P"]


def follow(
    problem: Problem, key: np.ndarray, position: jax.Array | None, felt: Drive, moved: Move, steps: int
) -> Particles:
    """Move the units below in the backward signals of those above, as many of them."""
    below, P = problem.below, len(problem.kernel)
    assert below is not None
    assert moved.back is not None
    root = padded(below.root, up(P), up(below.root.shape[1]))
    if position is None:
        position = from_prior(key, (*moved.position.shape[:2], root.shape[1]))
    position, *shown = move_below(Lower(below.sigma), key, position, root, felt, np.int32(steps))
    prior, second, mean, slopes, share = (
        np.asarray(x, dtype=float)[(slice(P),) * x.ndim] for x in (*shown, *moved.back)
    )
    screened = prior - second + np.outer(mean, mean)
    return Particles(position, LayerBelow(slopes, share), (screened + screened.T) / 2)


@partial(jax.jit, static_argnames=("sigma",))
def move_below(
    sigma: Lower, key: jax.Array, position: jax.Array, root: jax.Array, drive: Drive, steps: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return units after a move, second moments of what they add in the prior and in the fields, and its mean."""

    def featured(z: jax.Array) -> jax.Array:
        return features(sigma, z, root, drive.modes)

    position, _, _ = walk(featured, key, position, drive, steps)
    there = featured(position)
    readout, _, _ = posterior_readout(there, drive)
    M, _, P = there.shape
    flat = there.reshape(-1, P)
    share = jnp.einsum("mk,mkp->mp", readout.mean[:, :, 0], there)
    second = flat.T @ (readout.covariance[:, :, 0, :, 0] @ there).reshape(-1, P) + share.T @ share
    return position, flat.T @ flat / (M * drive.precision), second / M, jnp.mean(share, axis=0)


def modes(problem: Problem, layer: LayerBelow | None) -> Any:
    """Return the leading eigenvectors of Γ times the roots of its eigenvalues: readouts of prior precision λ_2."""
    P = len(problem.kernel)
    found = np.zeros((MODES, P))
    if layer is not None:
        values, vectors = eigh((layer.slopes + layer.slopes.T) / 2, subset_by_index=(max(0, P - MODES), P - 1))
        size = problem.precision * (1 - problem.reacting) * np.maximum(values, 0)
        found[: len(values)] = (vectors * np.sqrt(size)).T
    return padded(found, MODES, up(P))
