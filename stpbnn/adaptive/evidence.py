r"""Log evidence of self-consistent clusters: a Bethe free energy, and the one integral that it needs.

Each cluster of n units adds x to the output. In the place of its prior law stands the Gaussian N(μ, Σ) that, in the
fields of the cluster, has the moments of the cluster. Then, with M = N/n (expectation propagation; P log 2π is in the
first term)

.. math:: \log Z = \log N(y; M\mu, T + M\Sigma) + M (\log z - \log \tilde z), \qquad
          z = E_{prior}\, e^{a\cdot x - x^T R x/2}, \quad \tilde z = \int N(x; \mu, \Sigma)\, e^{a\cdot x - x^T R x/2}.

It is stationary in fields and Gaussians, so that errors of the fixed point enter in second order only. log z comes from
particles that follow the fields as these are switched on (sequential Monte Carlo), in steps after which most of them
count. Moves are refined while some particles are refused: those in a narrow mode, which would lose its weight.
"""

from __future__ import annotations

from collections.abc import Callable
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

KEPT = 0.8  # the part of the particles that count, at the least, after a step of the fields
REFUSED, FINER = 0.005, 4  # the part of refused particles beyond which moves get so many rotations more
MOST = 256  # rotations of a move
SMALLEST, GROWTH, HALVINGS = 1e-4, 0.02, 8  # of a step, absolute or relative to the fields; trials to find its size


class Annealed(NamedTuple):
    """log z of a cluster; its mean tilt, particles (M, n, r) and averages in equilibrium with the fields.

    Beside them how many rotations a move took in the end.
    """

    log_z: float
    tilt: float
    position: jax.Array
    averages: Averages
    steps: int

    @property
    def units(self) -> jax.Array:
        """The positions of all units, (M n, r)."""
        return self.position.reshape(-1, self.position.shape[2])


def anneal(problem: Problem, found: Fields, particles: int, seed: int) -> Annealed:
    """Switch the fields on step by step: reweight, resample and move particles, drawn from the prior, at each."""
    P, r = problem.root.shape
    root = jax.device_put(padded(problem.root, up(P), up(r)))
    number = max(2, particles // problem.cluster)
    key, start = streams(seed, 2)
    rows, links = problem.coordinates
    position = _drawn(start, (number, rows, links + up(r)))
    share, felt, log_z, steps = 0.0, drive(problem, found, 0.0), 0.0, 2
    while share < 1:
        key, choice, momentum = parted(key, 3)
        weights = partial(_weights, problem.sigma, position, root)
        share, felt, gain = _further(partial(drive, problem, found), weights, share, weights(felt))
        total = logsumexp(gain)
        log_z += float(total) - np.log(number)
        chosen = systematic(np.exp(gain - total), float(_uniform(choice)))
        moved = move(problem.sigma, momentum, np.asarray(position)[chosen], root, felt, np.int32(steps))
        position = moved.position
        steps = min(steps + FINER * int(np.asarray(moved.refused) > REFUSED), MOST)
    return Annealed(log_z, float(np.mean(moved.readout.tilt)), position, estimate(problem, moved)[0], steps)


def _further(
    felt: Callable[[float], Drive], weights: Callable[[Drive], jax.Array], share: float, before: jax.Array
) -> tuple[float, Drive, np.ndarray]:
    """Return the largest share of the fields at which enough particles count, the fields, and what they gain."""

    def at(share: float) -> tuple[float, Drive, np.ndarray]:
        there = felt(share)
        gain = np.asarray(weights(there) - before, dtype=float)
        return share, there, np.where(np.isnan(gain), -np.inf, gain)

    def counts(gain: np.ndarray) -> bool:
        return 2 * logsumexp(gain) - logsumexp(2 * gain) >= np.log(KEPT * len(gain))

    best = at(1.0)
    if counts(best[2]):
        return best
    low, high = max(SMALLEST, GROWTH * share), 1 - share
    if low >= high:
        return best
    best = at(share + low)
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        trial = at(share + middle)
        if counts(trial[2]):
            low, best = middle, trial
        else:
            high = middle
    return best


def systematic(weights: Float[np.ndarray, " M"], shift: float) -> np.ndarray:
    """Return the indices of M particles drawn by their weights, of sum one, with one random number in [0, 1)."""
    places = (np.arange(len(weights)) + shift) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)


@partial(jax.jit, static_argnames="shape")
def _drawn(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return standard_normal(key, shape, jnp.float32)


_uniform = jax.jit(jax.random.uniform)


@partial(jax.jit, static_argnames=("sigma",))
def _weights(sigma: Units, position: jax.Array, root: jax.Array, felt: Drive) -> jax.Array:
    return log_weight(jnp.asarray, features(sigma, position, root, None), felt)[0]


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
