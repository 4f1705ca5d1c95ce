r"""One effective hidden unit: its weight, and the moments that the others see of it.

A unit has the readout weight v and pre-activations h. In the fields a (the residual over T) and R (the response),

.. math:: p(v, h) \propto N(v; 0, 1/\lambda_1)\, N(h; 0, C)\,
          \exp\!\big( v\, a\cdot\sigma(h)/\sqrt N - \tfrac12 v^2\, \sigma(h)^T R\, \sigma(h)/N \big),

and v is integrated exactly: given h it is Gaussian of variance w and mean w c,

.. math:: c = a\cdot\sigma/\sqrt N, \qquad w = 1/(\lambda_1 + \sigma^T R \sigma/N), \qquad
          \log \text{weight of } h = \tfrac12 \log w + \tfrac12 w c^2.

All moments are even in v, so that h and −h count alike for odd σ: there is nothing to gain from antithetic pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Drive", "Moments", "log_weight", "moments", "posterior_readout"]


class Drive(NamedTuple):
    """What one unit feels: a/√N, R/N and the readout's prior precision λ_1."""

    field: jax.Array
    response: jax.Array
    precision: jax.Array


class Moments(NamedTuple):
    """Averages over particles: E[w σσ^T], E[(w + w²c²) σσ^T], E[w c σ], and E[σσ^T]/λ_1 over the untilted twins."""

    kernel: jax.Array
    second: jax.Array
    mean: jax.Array
    untilted: jax.Array


def posterior_readout(features: jax.Array, drive: Drive) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return variance w and mean w c of the readout weight of particles (M,) with features (M, P), and R σ/N."""
    response = features @ drive.response
    w = 1 / (drive.precision + jnp.maximum(jnp.sum(features * response, axis=1), 0))
    return w, w * (features @ drive.field), response


def log_weight(sigma: Callable[[jax.Array], jax.Array], h: jax.Array, drive: Drive) -> tuple[jax.Array, jax.Array]:
    """Return the log weight of pre-activations h (M, P), and its gradient in h."""
    features, back = jax.vjp(sigma, h)
    w, mean, response = posterior_readout(features, drive)
    tilt = mean**2 / w
    slope = mean[:, None] * drive.field - (w * (1 + tilt))[:, None] * response
    return (jnp.log(w) + tilt) / 2, back(slope)[0]


def moments(features: jax.Array, w: jax.Array, mean: jax.Array, untilted: jax.Array, precision: jax.Array) -> Moments:
    """Return the averages over particles from their features (M, P), and those of their untilted twins."""
    number = len(features)
    return Moments(
        (features * w[:, None]).T @ features / number,
        (features * (w + mean**2)[:, None]).T @ features / number,
        mean @ features / number,
        untilted.T @ untilted / (number * precision),
    )
