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

MODES = 3  # modes of the backward signal; the rest of its covariance is a few per cent


class LayerBelow(NamedTuple):
    """What is known of the layer below, from particles and averaged over moves.

    `slopes` is Γ of the backward signals; `mean` is √N_2 times the mean of what a unit above adds to the output in its
    role of one below.
    """

    slopes: Float[np.ndarray, "P P"]
    mean: Float[np.ndarray, " P"]

    def cavity(self, problem: Problem, response: Response, a: Float[np.ndarray, " P"]) -> Fields:
        """Return fields without what a unit above adds in both of its roles: 1/N_2 + 1/N_1, where one of them was."""
        others = max(0.0, 1 - (1 + problem.ratio) * problem.reacting) / (1 - problem.reacting)
        R = response.matrix(1 / (1 + others * (1 / response.r - 1)))
        return Fields(a + R @ self.mean * np.sqrt(problem.reacting), R)

    def towards(self, new: LayerBelow, gain: float) -> LayerBelow:
        """Return it a part of the way to what particles show."""
        return LayerBelow(*(a + gain * (b - a) for a, b in zip(self, new, strict=True)))


class Particles(NamedTuple):
    """Units below after a move, what they show, and what their response takes away from the covariance of f.

    In directions that the training inputs do not span it takes away `across` times the kernel of the layer below.
    """

    position: jax.Array
    shown: LayerBelow
    screened: Float[np.ndarray, "P P"]
    across: float


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
    position, *shown, signal = move_below(Lower(below.sigma), key, position, root, felt, np.int32(steps))
    prior, second, mean, slopes, share = (
        np.asarray(x, dtype=float)[(slice(P),) * x.ndim] for x in (*shown, *moved.back)
    )
    screened = (prior - second + np.outer(mean, mean)) / problem.ratio  # the modes have its root
    across = float(signal) * below.precisions[-1] / (P * problem.ratio)
    return Particles(position, LayerBelow(slopes, share), (screened + screened.T) / 2, across)


@partial(jax.jit, static_argnames=("sigma",))
def move_below(
    sigma: Lower, key: jax.Array, position: jax.Array, root: jax.Array, drive: Drive, steps: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return units after a move, second moments of what they add in the prior and in the fields, and its mean.

    Also by how much the backward signal has less variance there than in the prior, summed over the examples.
    """

    def featured(z: jax.Array) -> jax.Array:
        return features(sigma, z, root, drive.modes)

    position, _, _ = walk(featured, key, position, drive, steps)
    there = featured(position)
    readout, _, _ = posterior_readout(there, drive)
    M, _, P = there.shape
    flat = there.reshape(-1, P)
    share = jnp.einsum("mk,mkp->mp", readout.mean[:, :, 0], there)
    second = flat.T @ (readout.covariance[:, :, 0, :, 0] @ there).reshape(-1, P) + share.T @ share
    assert drive.modes is not None
    u = readout.covariance[:, :, 0, :, 0] + readout.mean[:, :, None, 0] * readout.mean[:, None, :, 0]
    lost = jnp.eye(u.shape[1], dtype=u.dtype) / drive.precision - jnp.mean(u, axis=0)
    signal = jnp.sum(lost * (drive.modes @ drive.modes.T))
    return position, flat.T @ flat / (M * drive.precision), second / M, jnp.mean(share, axis=0), signal


def modes(problem: Problem, layer: LayerBelow | None) -> Any:
    """Return the leading eigenvectors of Γ times the roots of its eigenvalues: readouts of prior precision λ_2.

    Γ is multiplied by N_2/N_1: the fields of a unit above are divided by √N_2, and its role below has 1/√N_1.
    """
    P = len(problem.kernel)
    found = np.zeros((MODES, P))
    if layer is not None:
        values, vectors = eigh((layer.slopes + layer.slopes.T) / 2, subset_by_index=(max(0, P - MODES), P - 1))
        size = problem.precision * problem.ratio * (1 - problem.reacting) * np.maximum(values, 0)
        found[: len(values)] = (vectors * np.sqrt(size)).T
    return padded(found, MODES, up(P))
