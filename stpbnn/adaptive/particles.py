r"""Particles of the tilted Gaussian: Hamiltonian moves that are exact for the untilted one.

A particle is a cluster of n hidden units. The pre-activations of a unit at the training inputs are h = B z, B B^T = C,
with z standard normal in the row space of the inputs under the prior. A move draws a momentum p, alternates kicks by
the gradient of the log weight with rotations in the plane of z and p, a quarter of a turn in all, and is accepted with
Metropolis' probability. Without a tilt it ends at p itself: p is the untilted twin of the particle, whose expectations
are known in closed form: a control variate. A coordinate that sticks out may turn by less.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stpbnn._random import standard_normal
from stpbnn.adaptive.layers import Backward, Units, Upper, Whole, backward, exact_twins, features
from stpbnn.adaptive.neuron import Drive, Moments, Readout, log_weight, moments_of_clusters, posterior_readout
from stpbnn.network import Prior

__all__ = ["Move", "RowSpace", "from_prior", "move", "walk", "whitened_inputs"]

NEGLIGIBLE = 1e-7  # singular values below this fraction of the largest are beneath single precision


class RowSpace(NamedTuple):
    """The space that the training inputs span: h = z B^T with z = ω V, for whitened first-layer weights ω."""

    root: Float[np.ndarray, "P r"]
    directions: Float[np.ndarray, "N r"]

    @classmethod
    def of(cls, prior: Prior, X: Float[np.ndarray, "P N0"]) -> RowSpace:
        """Return it for training inputs."""
        U, values, Vt = np.linalg.svd(whitened_inputs(prior, X), full_matrices=False)
        kept = values > NEGLIGIBLE * values[0]
        kept[0] = True  # inputs that are all zero keep one direction
        return cls(U[:, kept] * values[kept], Vt[kept].T)


def whitened_inputs(prior: Prior, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, "n N"]:
    """Return inputs of which h is the product with standard normal weights: the last column is that of the bias."""
    scaled = X / np.sqrt(prior.precisions[0] * X.shape[1])
    if prior.bias_variance == 0:
        return scaled
    return np.column_stack([scaled, np.full(len(X), np.sqrt(prior.bias_variance))])


@partial(jax.jit, static_argnames="shape")
def from_prior(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return particles that are drawn from the prior."""
    return standard_normal(jax.random.fold_in(key, 1), shape, jnp.float32)


class Move(NamedTuple):
    """Particles (M, n, r) after a move, their twins, readout, acceptance, likeness to the twins, moments.

    Beside them the part of the particles that are refused more often than not, the sum of the readouts' own covariances
    (D, D), and of units above their backward signals.
    """

    position: jax.Array
    twin: jax.Array
    readout: Readout
    acceptance: jax.Array
    refused: jax.Array
    likeness: jax.Array
    moments: Moments
    spread: jax.Array
    back: Backward | None


@partial(jax.jit, static_argnames=("sigma",))
def move(
    sigma: Units,
    key: jax.Array,
    position: jax.Array,
    root: jax.Array,
    drive: Drive,
    steps: jax.Array,
) -> Move:
    """Move all particles (M, n, r) once by a quarter of a turn in `steps` rotations, and average over them."""

    def featured(z: jax.Array) -> jax.Array:
        return features(sigma, z, root, drive.modes)

    position, momentum, probability = walk(featured, key, position, drive, steps)
    n, of_position = sigma.widths[-1] if isinstance(sigma, Whole) else position.shape[1], featured(position)
    twins = featured(momentum)[:, :n]
    readout, _, _ = posterior_readout(of_position, drive)
    found = moments_of_clusters(of_position, readout, twins, drive.precision)
    back = backward(sigma, position, root, of_position, readout) if isinstance(sigma, Upper) else None
    readout = Readout(readout.covariance[:, :n], readout.mean[:, :n], readout.tilt)
    likeness = _likeness(readout, twins, drive) * exact_twins(sigma)
    spread = jnp.einsum("midie->de", readout.covariance[:, :, :, :n])
    accepted, refused = jnp.mean(probability), jnp.mean(probability < 0.5)
    return Move(position, momentum, readout, accepted, refused, likeness, found, spread, back)


def walk(
    featured: Callable[[jax.Array], jax.Array], key: jax.Array, position: jax.Array, drive: Drive, steps: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return particles after a move, the momenta with which they began, and the probabilities of acceptance."""
    angle = (jnp.pi / 2 / steps).astype(position.dtype) * (1 if drive.speed is None else drive.speed)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)

    def step(_: int, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        z, p, energy, value, gradient = state
        kick = angle / 2 * gradient
        energy, p = energy + jnp.sum((p + kick / 2) * kick, axis=(1, 2)), p + kick
        z, p = cosine * z + sine * p, cosine * p - sine * z
        value, gradient = log_weight(featured, z, drive)
        kick = angle / 2 * gradient
        return z, p + kick, energy + jnp.sum((p + kick / 2) * kick, axis=(1, 2)), value, gradient

    key_momentum, key_accept = jax.random.split(key)
    momentum = standard_normal(key_momentum, position.shape, position.dtype)
    before, gradient = log_weight(featured, position, drive)
    start = (position, momentum, jnp.zeros_like(before), before, gradient)
    z, _, energy, after, _ = jax.lax.fori_loop(0, steps, step, start)
    probability = jnp.nan_to_num(jnp.exp(jnp.minimum(after - before - energy, 0)))
    accepted = jax.random.uniform(key_accept, probability.shape, position.dtype) < probability
    return jnp.where(accepted[:, None, None], z, position), momentum, probability


def _likeness(readout: Readout, twins: jax.Array, drive: Drive) -> jax.Array:
    """Return the slope of the clusters' tilts over those of their twins, from 0 to 1: one where there is no tilt."""
    pull = jnp.sum((twins @ drive.field.T) ** 2, axis=(1, 2)) * jnp.mean(
        jnp.einsum("midid->mid", readout.covariance[:, :, :, : twins.shape[1]])
    )
    pull = pull - jnp.mean(pull)
    slope = jnp.sum(pull * readout.tilt) / jnp.maximum(jnp.sum(pull**2), 1e-30)
    return jnp.clip(slope, 0, 1)
