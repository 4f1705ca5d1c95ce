r"""Log evidence of the self-consistent neuron: a Bethe free energy, and the one integral that it needs.

Each unit adds x = vσ(h)/√N to the output. In the place of its prior law stands the Gaussian N(μ, Σ) that, in the fields
of the unit, has the moments of the unit. Then (expectation propagation; P log 2π is in the first term)

.. math:: \log Z = \log N(y; N\mu, T + N\Sigma) + N (\log z - \log \tilde z), \qquad
          z = E_{prior}\, e^{a\cdot x - x^T R x/2}, \quad \tilde z = \int N(x; \mu, \Sigma)\, e^{a\cdot x - x^T R x/2}.

It is stationary in fields and Gaussians, so that errors of the fixed point enter in second order only. log z comes from
particles that follow the fields as these are switched on (sequential Monte Carlo).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import logsumexp

from stpbnn.adaptive.fields import Averages, Fields, Problem, drive, fields, padded, up
from stpbnn.adaptive.neuron import Drive, log_weight
from stpbnn.adaptive.particles import move
from stpbnn.adaptive.search import estimate

__all__ = ["Annealed", "anneal", "log_evidence", "systematic"]

STAGES = 32


class Annealed(NamedTuple):
    """log z of a unit; its mean tilt, particles (M, r) and averages in equilibrium with the fields."""

    log_z: float
    tilt: float
    position: jax.Array
    averages: Averages


def anneal(problem: Problem, found: Fields, particles: int, seed: int, stages: int = STAGES) -> Annealed:
    """Switch the fields on in equal steps: reweight, resample and move particles, drawn from the prior, at each."""
    P, r = problem.root.shape
    root = padded(problem.root, up(P), up(r))
    key, start = jax.random.split(jax.random.key(seed))
    position = jax.random.normal(start, (particles, up(r)), jnp.float32)
    before, log_z, steps = drive(problem, found, 0.0), 0.0, 2
    for stage in range(1, stages + 1):
        key, choice, momentum = jax.random.split(key, 3)
        after = drive(problem, found, stage / stages)
        gain = np.asarray(_gain(problem.sigma, position, root, before, after), dtype=float)
        total = logsumexp(gain)
        log_z += float(total) - np.log(particles)
        chosen = systematic(np.exp(gain - total), float(jax.random.uniform(choice)))
        moved = move(problem.sigma, momentum, position[chosen], root, after, jnp.int32(steps))
        position, before = moved.position, after
        steps += moved.acceptance < 0.9
    return Annealed(log_z, float(jnp.mean(moved.readout.tilt)), position, estimate(problem, moved)[0])


def systematic(weights: Float[np.ndarray, " M"], shift: float) -> np.ndarray:
    """Return the indices of M particles drawn by their weights, of sum one, with one random number in [0, 1)."""
    places = (np.arange(len(weights)) + shift) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)


@partial(jax.jit, static_argnames=("sigma",))
def _gain(
    sigma: Callable[[jax.Array], jax.Array], position: jax.Array, root: jax.Array, before: Drive, after: Drive
) -> jax.Array:
    h = position @ root.T
    return log_weight(sigma, h, after)[0] - log_weight(sigma, h, before)[0]


def log_evidence(problem: Problem, averages: Averages, log_z: float) -> float:
    """Return log Z at a fixed point, from the averages over a unit and its log z."""
    N, G, noise = problem.width, averages.covariance(), problem.noise
    a, R = fields(problem, averages.K, G)
    values, L = eigh(G / N)
    L *= np.sqrt(np.maximum(values, 0))  # V = L L^T, the covariance of x; averages may leave it a little negative
    factor = cholesky(np.eye(len(G)) - L.T @ R @ L, lower=True)
    half = solve_triangular(factor, L.T, lower=True)  # Σ = (V^{-1} − R)^{-1} = half^T half
    shift = averages.K @ a / N - L @ (L.T @ a)
    mu = shift + half.T @ (half @ (R @ shift))  # (1 − V R)^{-1} = 1 + Σ R
    outer = cholesky(N * (half.T @ half) + noise, lower=True)
    white = solve_triangular(outer, problem.y - N * mu, lower=True)
    gaussian = -(white @ white + len(G) * np.log(2 * np.pi)) / 2 - np.log(np.diag(outer)).sum()
    b = L.T @ (a - R @ mu)
    log_z_gaussian = np.log(np.diag(factor)).sum() + a @ mu - mu @ R @ mu / 2 + b @ b / 2
    return float(gaussian + N * (log_z - log_z_gaussian))
