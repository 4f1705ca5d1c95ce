r"""One effective hidden unit: its weight, and the moments that the others see of it.

A unit has D readout weights v and pre-activations h. In the fields a (the residual over T) and R (the response),

.. math:: p(v, h) \propto N(v; 0, 1/\lambda_1)\, N(h; 0, C)\,
          \exp\!\big( v\cdot a\,\sigma(h)/\sqrt N - \tfrac12 v^T [\sigma(h)^T R\, \sigma(h)/N]\, v \big),

where a is D × P, R couples outputs and examples, and the bracket is D × D. v is integrated exactly: given h it is
Gaussian of covariance w and mean w c,

.. math:: c = a\,\sigma/\sqrt N, \qquad w = (\lambda_1 + \sigma^T R \sigma/N)^{-1}, \qquad
          \log \text{weight of } h = \tfrac12 \log\det w + \tfrac12 c^T w c.

All moments are even in v, so that h and −h count alike for odd σ: there is nothing to gain from antithetic pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Drive", "Moments", "Readout", "log_weight", "moments_of_units", "posterior_readout"]


class Drive(NamedTuple):
    """What one unit feels: a/√N (D, P), R/N (D, P, D, P) and the readout's prior precision λ_1."""

    field: jax.Array
    response: jax.Array
    precision: jax.Array


class Readout(NamedTuple):
    """Covariance w (M, D, D), mean w c (M, D) and tilt c^T w c (M,) of the readout weights of particles."""

    covariance: jax.Array
    mean: jax.Array
    tilt: jax.Array


class Moments(NamedTuple):
    """Averages over particles: E[w σσ^T], E[(w + w c c^T w) σσ^T], E[w c σ], and E[σσ^T]/λ_1 over the untilted twins.

    The first two are (D, D, P, P), the third is (D, P), the last (P, P).
    """

    kernel: jax.Array
    second: jax.Array
    mean: jax.Array
    untilted: jax.Array


def posterior_readout(features: jax.Array, drive: Drive) -> tuple[Readout, jax.Array]:
    """Return the readout of particles with features (M, P), and R σ/N, (M, D, D, P)."""
    response = jnp.einsum("mp,dpeq->mdeq", features, drive.response)
    pull = jnp.sum(response * features[:, None, None, :], axis=3)
    D = len(drive.field)
    if D == 1:
        w = 1 / (drive.precision + jnp.maximum(pull, 0))
    else:
        w = jnp.linalg.inv(drive.precision * jnp.eye(D, dtype=pull.dtype) + (pull + jnp.swapaxes(pull, 1, 2)) / 2)
    c = features @ drive.field.T
    mean = jnp.einsum("mde,me->md", w, c)
    return Readout(w, mean, jnp.sum(c * mean, axis=1)), response


def log_weight(sigma: Callable[[jax.Array], jax.Array], h: jax.Array, drive: Drive) -> tuple[jax.Array, jax.Array]:
    """Return the log weight of pre-activations h (M, P), and its gradient in h."""
    features, back = jax.vjp(sigma, h)
    (w, mean, tilt), response = posterior_readout(features, drive)
    size = w[:, 0, 0] if len(drive.field) == 1 else jnp.linalg.det(w)
    slope = mean @ drive.field - jnp.sum((w + _squares(mean))[..., None] * response, axis=(1, 2))
    return (jnp.log(size) + tilt) / 2, back(slope)[0]


def moments_of_units(features: jax.Array, readout: Readout, untilted: jax.Array, precision: jax.Array) -> Moments:
    """Return the averages over particles from their features (M, P), and those of their untilted twins."""
    number = len(features)

    def average(weights: jax.Array) -> jax.Array:
        return (features * weights[:, None]).T @ features / number

    def each(weights: jax.Array) -> jax.Array:  # one product at a time: so many would not fit into a cache
        flat = jax.lax.map(average, jnp.moveaxis(weights, 0, -1).reshape(-1, number))
        return flat.reshape(*weights.shape[1:], *flat.shape[1:])

    w, mean, _ = readout
    return Moments(
        each(w),
        each(w + _squares(mean)),
        mean.T @ features / number,
        untilted.T @ untilted / (number * precision),
    )


def _squares(mean: jax.Array) -> jax.Array:
    return mean[:, :, None] * mean[:, None, :]
