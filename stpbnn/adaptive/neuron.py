r"""A cluster of n hidden units: its weight, and the moments that the others see of it.

A unit has D readout weights v_i and pre-activations h_i; the units of a cluster add x = Σ_i v_i σ(h_i)/√N to the
output. In the fields a (the residual over T) and R (the response of all other units),

.. math:: p(v, h) \propto \prod_i N(v_i; 0, 1/\lambda_1)\, N(h_i; 0, C)\; \exp(a\cdot x - \tfrac12 x^T R\, x),

where a is D × P, and R couples outputs and examples. v is integrated exactly: given h it is Gaussian of covariance w
and mean w c,

.. math:: c_i = a\,\sigma_i/\sqrt N, \qquad w = (\lambda_1 + \sigma_i^T R\, \sigma_j/N)^{-1}, \qquad
          \log \text{weight of } h = \tfrac12 \log\det w + \tfrac12 c^T w c,

with rows and columns of w numbered by unit and output. All moments are even in v, so that h and −h count alike for odd
σ: there is nothing to gain from antithetic pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Drive", "Moments", "Readout", "log_weight", "moments_of_clusters", "posterior_readout", "weighed"]


class Drive(NamedTuple):
    """What a cluster feels: a/√N (D, P), R/N (D, P, D, P) and the readout's prior precision λ.

    Where R is a multiple of one, as for a cluster that is the network, the number alone: it saves a third of a move.
    In deep networks also the modes (K, P) of the backward signal, through which layers above follow a unit below; of a
    cluster that is the network how fast its coordinates turn.
    """

    field: jax.Array
    response: jax.Array
    precision: jax.Array
    modes: jax.Array | None = None
    speed: jax.Array | None = None


class Readout(NamedTuple):
    """Covariance w (M, n, D, n, D), mean w c (M, n, D) and tilt c^T w c (M,) of the readouts of clusters."""

    covariance: jax.Array
    mean: jax.Array
    tilt: jax.Array


class Moments(NamedTuple):
    """Averages over clusters of what one unit adds to K_w, to E[xx^T] and, times √n, to E[x]; and E[σσ^T]/λ_1 of twins.

    The first two are (D, D, P, P), the third is (D, P), the last (P, P).
    """

    kernel: jax.Array
    second: jax.Array
    mean: jax.Array
    untilted: jax.Array


def posterior_readout(features: jax.Array, drive: Drive) -> tuple[Readout, jax.Array, jax.Array]:
    """Return the readout of clusters with features (M, n, P), log det w (M,), and R σ/N, (M, n, D, D, P)."""
    (M, n), D, c = features.shape[:2], len(drive.field), features @ drive.field.T
    if drive.response.ndim == 0:
        one = jnp.eye(D, dtype=features.dtype)[:, :, None]
        response = drive.response * features[:, :, None, None, :] * one
    else:
        response = jnp.einsum("mip,dpeq->mideq", features, drive.response)
    if n * D == 1:
        w = 1 / (drive.precision + jnp.maximum(jnp.sum(response * features[..., None, None, :], axis=4), 0))
        size, w = jnp.log(w).reshape(M), w[..., None]
        mean = w[:, :, :, 0, 0] * c
        tilt = jnp.sum(c * mean, axis=(1, 2))
    else:
        pull = jnp.einsum("mideq,mjq->midje", response, features).reshape(M, n * D, n * D)
        A = drive.precision * jnp.eye(n * D, dtype=pull.dtype) + (pull + jnp.swapaxes(pull, 1, 2)) / 2
        factor = jnp.linalg.cholesky(A)
        size = -2 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), axis=1)
        half = jax.lax.linalg.triangular_solve(
            factor, jnp.broadcast_to(jnp.eye(n * D, dtype=pull.dtype), A.shape), left_side=True, lower=True
        )
        w = (jnp.swapaxes(half, 1, 2) @ half).reshape(M, n, D, n, D)
        # c is of order 1/T: products with w would lose all digits of single precision
        solve = partial(jax.lax.linalg.triangular_solve, factor, left_side=True, lower=True)
        white = solve(c.reshape(M, n * D, 1))
        mean, tilt = solve(white, transpose_a=True).reshape(M, n, D), jnp.sum(white**2, axis=(1, 2))
    return Readout(w, mean, tilt), size, response


def log_weight(sigma: Callable[[jax.Array], jax.Array], h: jax.Array, drive: Drive) -> tuple[jax.Array, jax.Array]:
    """Return the log weight of pre-activations h (M, n, P), or of whatever features are made of, and its gradient."""
    features, back = jax.vjp(sigma, h)
    (w, mean, tilt), size, response = posterior_readout(features, drive)
    residual = drive.field - jnp.einsum("mjd,mjdeq->meq", mean, response)  # before it is multiplied, for its digits
    slope = mean @ residual - jnp.einsum("miejd,mjdeq->miq", w, response)
    return (size + tilt) / 2, back(slope)[0]


def moments_of_clusters(features: jax.Array, readout: Readout, untilted: jax.Array, precision: jax.Array) -> Moments:
    """Return the averages over clusters from their features, and those of their untilted twins (M, n, P).

    The first n features are those of the n units; further ones, if any, only have readouts that were integrated too.
    """
    M, n, P = untilted.shape
    D, units, own = readout.mean.shape[2], M * n, features[:, :n]
    flat, twins = own.reshape(units, P), untilted.reshape(units, P)

    def average(weights: jax.Array, with_: jax.Array) -> jax.Array:  # one at a time: so many would not fit into a cache
        return flat.T @ weighed(weights, with_).reshape(units, P) / units

    blocks = jnp.moveaxis(readout.covariance[:, :n], (2, 4), (0, 1)).reshape(D * D, M, n, -1)
    kernel = jax.lax.map(lambda weights: average(weights, features), blocks).reshape(D, D, P, P)
    within = kernel
    if features.shape[1] > n:
        within = jax.lax.map(lambda weights: average(weights[:, :, :n], own), blocks).reshape(D, D, P, P)
    share = jnp.einsum("mid,mip->mdp", readout.mean[:, :n], own)
    outer = (share.reshape(M, D * P).T @ share.reshape(M, D * P) / units).reshape(D, P, D, P)
    return Moments(
        kernel,
        within + jnp.swapaxes(outer, 1, 2),
        jnp.mean(share, axis=0) / jnp.sqrt(jnp.asarray(n, share.dtype)),
        twins.T @ twins / (units * precision),
    )


def weighed(weights: jax.Array, features: jax.Array) -> jax.Array:
    """Return Σ_j w_ij σ_j for weights (M, n, n) and features (M, n, P) of clusters."""
    return weights * features if features.shape[1] == 1 else weights @ features
