r"""Log evidence of self-consistent clusters: a Bethe free energy, and the one integral that it needs.

Each cluster of n units adds x to the output. In the place of its prior law stands the Gaussian N(μ, Σ) that, in the
fields of the cluster, has the moments of the cluster. Then, with M = N/n (expectation propagation; P log 2π is in the
first term)

.. math:: \log Z = \log N(y; M\mu, T + M\Sigma) + M (\log z - \log \tilde z), \qquad
          z = E_{prior}\, e^{a\cdot x - x^T R x/2}, \quad \tilde z = \int N(x; \mu, \Sigma)\, e^{a\cdot x - x^T R x/2}.

It is stationary in fields and Gaussians, so that errors of the fixed point enter in second order only. log z comes from
particles that follow the fields as these are switched on (sequential Monte Carlo).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from stpbnn._random import parted, standard_normal, streams
from stpbnn.adaptive.averaging import estimate
from stpbnn.adaptive.fields import Averages, Fields, Problem, Response, drive, fields, padded, up
from stpbnn.adaptive.layers import Units, features
from stpbnn.adaptive.neuron import Drive, log_weight
from stpbnn.adaptive.particles import move

__all__ = ["Annealed", "anneal", "log_evidence", "systematic"]

STAGES = 32


class Annealed(NamedTuple):
    """log z of a cluster; its mean tilt, particles (M, n, r) and averages in equilibrium with the fields."""

    log_z: float
    tilt: float
    position: jax.Array
    averages: Averages

    @property
    def units(self) -> jax.Array:
        """The positions of all units, (M n, r)."""
        return self.position.reshape(-1, self.position.shape[2])


def anneal(problem: Problem, found: Fields, particles: int, seed: int, stages: int = STAGES) -> Annealed:
    """Switch the fields on in equal steps: reweight, resample and move particles, drawn from the prior, at each."""
    P, r = problem.root.shape
    root = jax.device_put(padded(problem.root, up(P), up(r)))
    number = max(2, particles // problem.cluster)
    key, start = streams(seed, 2)
    rows, links = problem.coordinates
    position = _drawn(start, (number, rows, links + up(r)))
    before, log_z, steps = drive(problem, found, 0.0), 0.0, 2
    for stage in range(1, stages + 1):
        key, choice, momentum = parted(key, 3)
        after = drive(problem, found, stage / stages)
        gain = np.asarray(_gain(problem.sigma, position, root, before, after), dtype=float)
        total = logsumexp(gain)
        log_z += float(total) - np.log(number)
        chosen = systematic(np.exp(gain - total), float(_uniform(choice)))
        moved = move(problem.sigma, momentum, np.asarray(position)[chosen], root, after, np.int32(steps))
        position, before = moved.position, after
        steps += int(np.asarray(moved.acceptance) < 0.9)
    return Annealed(log_z, float(np.mean(moved.readout.tilt)), position, estimate(problem, moved)[0])


def systematic(weights: Float[np.ndarray, " M"], shift: float) -> np.ndarray:
    """Return the indices of M particles drawn by their weights, of sum one, with one random number in [0, 1)."""
    places = (np.arange(len(weights)) + shift) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)


@partial(jax.jit, static_argnames="shape")
def _drawn(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return standard_normal(key, shape, jnp.float32)


_uniform = jax.jit(jax.random.uniform)


@partial(jax.jit, static_argnames=("sigma",))
def _gain(sigma: Units, position: jax.Array, root: jax.Array, before: Drive, after: Drive) -> jax.Array:
    there = features(sigma, position, root, None)
    return log_weight(jnp.asarray, there, after)[0] - log_weight(jnp.asarray, there, before)[0]


def log_evidence(problem: Problem, averages: Averages, log_z: float) -> float:
    """Return log Z at a fixed point, from the averages over a cluster and its log z."""
    if problem.part == 1:  # a = y/T and R = 1/T whatever the averages are
        white = problem.whitening @ problem.y
        size = np.linalg.slogdet(2 * np.pi * problem.noise)[1]
        return float(log_z - (white @ white + size) / 2)
    response = Response.of(problem, averages.covariance())
    g, r, vectors = response
    a = fields(problem, averages.K, response).a
    v = np.minimum(problem.part * g, (1 - 1e-9) / r)
    s = v / (1 - r * v)  # eigenvalues of Σ
    y, m = vectors.T @ problem.y, vectors.T @ (problem.part * (averages.K @ a))
    drift = vectors.T @ (problem.noise @ a)  # a·x in these coordinates
    mu, number = (1 + r * s) * m - s * drift, 1 / problem.part
    whole = 1 + number * s
    gaussian = -np.sum((y - number * mu) ** 2 / whole + np.log(2 * np.pi * whole)) / 2
    gaussian -= np.linalg.slogdet(problem.noise)[1] / 2
    log_z_gaussian = np.sum(mu * drift - r * mu**2 / 2 + v * (drift - r * mu) ** 2 / 2 - np.log1p(r * s) / 2)
    return float(gaussian + number * (log_z - log_z_gaussian))
