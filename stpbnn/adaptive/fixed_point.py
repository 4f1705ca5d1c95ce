r"""Self-consistency: kernels that particles average, fields that these kernels make, and back.

.. math:: a = (K_w + T)^{-1} y, \qquad R = (T + G)^{-1}, \qquad K_w = E[w\sigma\sigma^T], \qquad
          G = K_w + \mathrm{Cov}[w c\, \sigma]

A stochastic approximation from the saddle point of the proportional limit: particles move once in the present fields,
and the kernels go a part of the way to what the particles show. Several populations start together and then go on
independently, each with kernels of its own: their spread is the error bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from stpbnn.adaptive.neuron import Drive
from stpbnn.adaptive.particles import Move, move

__all__ = ["Averages", "Fields", "Problem", "Snapshot", "Solution", "fields", "solve"]

GROUPS = 4  # independent populations
BUCKET = 64  # sizes are filled up to multiples: one compilation serves many of them
TOGETHER, APART, ROUND = 60, 20, 60  # iterations: all populations as one, each for itself, averaged
SNAPSHOTS = 8  # of each population, kept for predictions
GAIN = 0.3
SIGNIFICANT = 4.0  # drift in standard errors: the three-per-cent level with as few populations
NEGLIGIBLE = 0.005  # drift that is accepted whatever the standard error
COARSE, MOVING = 0.25, 0.5  # a larger drift, or a smaller acceptance, is no solution however large the noise
RUNAWAY = 1e4


@dataclass(frozen=True)
class Problem:
    """Targets, inputs in their row space, K_1 of infinite width without the output bias, prior, temperature, width."""

    y: Float[np.ndarray, " P"]
    root: Float[np.ndarray, "P r"]
    kernel: Float[np.ndarray, "P P"]
    sigma: Callable[[jax.Array], jax.Array]
    temperature: float
    width: float
    precision: float
    bias_variance: float = 0.0
    reaction: bool = True


class Fields(NamedTuple):
    """The fields of one unit: a (that of its cavity where there are reaction terms), and R = (T + G)^{-1}."""

    a: Float[np.ndarray, " P"]
    R: Float[np.ndarray, "P P"]


class Averages(NamedTuple):
    """K_w, E[(w + w²c²) σσ^T] and E[w c σ] over particles and iterations."""

    K: Float[np.ndarray, "P P"]
    second: Float[np.ndarray, "P P"]
    mean: Float[np.ndarray, " P"]

    def covariance(self) -> Float[np.ndarray, "P P"]:
        """Return G = K_w + Cov[w c σ], without the output bias."""
        return self.second - np.outer(self.mean, self.mean)


class Snapshot(NamedTuple):
    """Particles at one iteration, with their twins and readout, and the coefficient of the control variate."""

    position: np.ndarray
    twin: np.ndarray
    variance: np.ndarray
    mean: np.ndarray
    control: float


class Solution(NamedTuple):
    """What the populations found: averages and snapshots of each, and how they got there."""

    averages: list[Averages]
    snapshots: list[list[Snapshot]]
    history: np.ndarray
    drift: float
    converged: bool
    acceptance: float
    autocorrelation: float
    tilt: float
    moves: int


def fields(problem: Problem, K: Float[np.ndarray, "P P"], G: Float[np.ndarray, "P P"]) -> Fields:
    """Return the fields that kernels make; LinAlgError where T + G is not positive."""
    b, T, diagonal = problem.bias_variance, problem.temperature, np.diag_indices_from(G)
    A = G + b
    A[diagonal] += T
    R = inverse(A)
    noise = np.full_like(K, b)
    noise[diagonal] += T
    A = K + noise
    if problem.reaction:
        A -= noise @ R @ K / problem.width if b else T / problem.width * (R @ K)
    return Fields(np.linalg.solve(A, problem.y), R)


def inverse(A: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return the inverse of a positive definite matrix; LinAlgError for others."""
    factor, failure = lapack.dpotrf(A, lower=1, clean=0)
    if failure:
        raise np.linalg.LinAlgError(f"the leading minor of order {failure} is not positive")
    lower, _ = lapack.dpotri(factor, lower=1)
    return np.tril(lower) + np.tril(lower, -1).T


def padded(array: np.ndarray, *shape: int, dtype: Any = np.float32) -> jax.Array:
    """Return an array filled up with zeros, in single precision unless said."""
    out = np.zeros(shape, dtype=dtype)
    out[tuple(slice(n) for n in array.shape)] = array
    return jnp.asarray(out)


def up(number: int) -> int:
    """Return a size filled up to a multiple of the bucket."""
    return -(-number // BUCKET) * BUCKET


@dataclass
class Population:
    """Particles and the kernels in whose fields they move."""

    key: jax.Array
    position: jax.Array
    K: Float[np.ndarray, "P P"]
    G: Float[np.ndarray, "P P"]
    last: Snapshot | None = None
    halves: list[list[Averages]] = field(default_factory=lambda: [[], []])
    snapshots: list[Snapshot] = field(default_factory=list)


def solve(problem: Problem, start: float, particles: int, seed: int, max_iter: int) -> Solution:
    """Find the fixed point from the kernel of infinite width, scaled by `start`."""
    walkers = _Walkers(problem, particles, seed, start)
    together, apart = min(TOGETHER, max_iter // 3), min(APART, max_iter // 6)
    half = max(1, min(ROUND, max_iter - together - apart) // 2)
    for _ in range(together):
        walkers.iterate(shared=True)
    walkers.separate()
    for _ in range(apart):
        walkers.iterate(shared=False)
    done = together + apart
    while True:
        walkers.forget()
        for step in range(2 * half):
            walkers.iterate(shared=False, half=step // half, keep=step % max(1, 2 * half // SNAPSHOTS) == 0)
        done += 2 * half
        drift, relative = walkers.drift()
        settled = relative < NEGLIGIBLE or (drift < SIGNIFICANT and relative < COARSE)
        converged = settled and walkers.acceptance > MOVING
        if converged or walkers.lost or done + 2 * half > max_iter:
            return walkers.solution(drift, converged and not walkers.lost)


class _Walkers:
    """All populations, and one step of the approximation."""

    def __init__(self, problem: Problem, particles: int, seed: int, start: float) -> None:
        P, r = problem.root.shape
        self.problem, self.size, self.steps, self.lost = problem, max(2, particles // GROUPS), 2, False
        self.root = padded(problem.root, up(P), up(r))
        self.history: list[float] = []
        self.tilts: list[list[np.ndarray]] = []
        K = start * problem.kernel
        keys = jax.random.split(jax.random.key(seed), GROUPS)
        shape = (self.size, self.root.shape[1])
        self.populations = [
            Population(key, jax.random.normal(jax.random.fold_in(key, 1), shape, jnp.float32), K, K) for key in keys
        ]
        self.acceptance, self.moves = 1.0, 0

    def separate(self) -> None:
        for population in self.populations[1:]:
            population.K, population.G = self.populations[0].K, self.populations[0].G

    def forget(self) -> None:
        for population in self.populations:
            population.halves, population.snapshots = [[], []], []
        self.tilts = []

    def iterate(self, *, shared: bool, half: int | None = None, keep: bool = False) -> None:
        """Move all particles once, and the kernels towards what they show."""
        if self.lost:
            return
        problem = self.problem
        try:
            drives = [self._drive(p) for p in (self.populations[:1] if shared else self.populations)]
        except np.linalg.LinAlgError:
            self.lost = True
            return
        found = []
        self.moves += 1
        for i, population in enumerate(self.populations):
            population.key, key = jax.random.split(population.key)
            a, drive = drives[0 if shared else i]
            moved = move(problem.sigma, key, population.position, self.root, drive, jnp.int32(self.steps))
            population.position = moved.position
            averages, control = _estimate(problem, moved)
            population.last = _snapshot(moved, control, problem.root.shape[1])
            found.append((a, averages, moved))
        self._adapt([moved for *_, moved in found])
        if shared:
            mean = Averages(*(np.mean([averages[i] for _, averages, _ in found], axis=0) for i in range(3)))
            self._approach(self.populations[0], found[0][0], mean, GAIN)
        else:
            for population, (a, averages, _) in zip(self.populations, found, strict=True):
                self._approach(population, a, averages, GAIN / 2)
                if half is not None:
                    population.halves[half].append(averages)
                if keep and population.last is not None:
                    population.snapshots.append(population.last)
        if half is not None:
            self.tilts.append([np.asarray(m.mean**2 / m.variance) for *_, m in found])

    def _drive(self, population: Population) -> tuple[np.ndarray, Drive]:
        problem, P = self.problem, self.root.shape[0]
        a, R = fields(problem, population.K, population.G)
        with np.errstate(over="ignore"):
            field_, response = padded(a / np.sqrt(problem.width), P), padded(R / problem.width, P, P)
        return a, Drive(field_, response, jnp.float32(problem.precision))

    def _approach(self, population: Population, a: np.ndarray, found: Averages, gain: float) -> None:
        """Move the kernels of a population; the step of G is halved until T + G is positive."""
        problem, K, G = self.problem, population.K, population.G
        population.K = K + gain * (found.K - K)
        self.history.append(float(np.linalg.norm((found.K - K) @ a) / (np.linalg.norm(K @ a) or 1.0)))
        for _ in range(20):
            population.G = G + gain * (found.covariance() - G)
            try:
                A = population.G + problem.bias_variance
                A[np.diag_indices_from(A)] += problem.temperature
                np.linalg.cholesky(A)
                break
            except np.linalg.LinAlgError:
                gain /= 2
        size = np.trace(population.K)
        self.lost |= not np.isfinite(size) or size > RUNAWAY * np.trace(problem.kernel)

    def _adapt(self, moved: list[Move]) -> None:
        self.acceptance = float(np.mean([float(m.acceptance) for m in moved]))
        if self.acceptance < 0.9:
            self.steps = min(self.steps + 1, 64)
        elif self.acceptance > 0.97 and self.steps > 1:
            self.steps -= 1

    def drift(self) -> tuple[float, float]:
        """Return the drift between the halves of a round in standard errors, and relative."""
        if self.lost or any(not half for p in self.populations for half in p.halves):
            return np.inf, np.inf
        try:
            rows = np.array([[self._summary(_mean(half)) for half in p.halves] for p in self.populations])
        except np.linalg.LinAlgError:
            return np.inf, np.inf
        change = rows[:, 1] - rows[:, 0]
        error = np.std(change, axis=0, ddof=1) / np.sqrt(len(change))
        moved = np.abs(change.mean(axis=0))
        return float(np.max(moved / np.maximum(error, 1e-300))), float(np.max(moved / np.abs(rows).mean(axis=(0, 1))))

    def _summary(self, averages: Averages) -> list[float]:
        """Return numbers that tell the fixed point: the size of K_w, and the explained part of the targets, a·K_w a."""
        a = fields(self.problem, averages.K, averages.covariance()).a
        return [float(np.trace(averages.K)), float(a @ averages.K @ a)]

    def solution(self, drift: float, converged: bool) -> Solution:
        series = np.array([np.concatenate(tilts) for tilts in self.tilts]) if self.tilts else np.zeros((2, 1))
        centred = series - series.mean()
        spread = float(np.mean(centred**2))
        correlation = float(np.mean(centred[1:] * centred[:-1])) / spread if spread > 0 and len(series) > 1 else 0.0
        return Solution(
            [self._averages(p) for p in self.populations],
            [p.snapshots or [p.last] for p in self.populations if p.last is not None],
            np.array(self.history),
            drift,
            converged,
            self.acceptance,
            correlation,
            float(series.mean()),
            self.moves,
        )

    def _averages(self, population: Population) -> Averages:
        """Return the averages of a population or, where they are of no use, its kernels as they stand."""
        rounds = [*population.halves[0], *population.halves[1]]
        if rounds and not self.lost:
            found = _mean(rounds)
            try:
                self._summary(found)
                return found
            except np.linalg.LinAlgError:
                pass
        return Averages(population.K, population.G, np.zeros(len(population.K)))


def _mean(averages: list[Averages]) -> Averages:
    return Averages(*(np.mean([each[i] for each in averages], axis=0) for i in range(3)))


def _estimate(problem: Problem, moved: Move) -> tuple[Averages, float]:
    """Return the moments of a move, with the control variate, and its coefficient."""
    P = len(problem.y)
    found = [np.asarray(m, dtype=float)[(slice(P),) * m.ndim] for m in moved.moments]
    control = float(jnp.mean(moved.variance)) * problem.precision * float(moved.acceptance)
    known = control * (problem.kernel - found[3])
    return Averages(found[0] + known, found[1] + known, found[2]), control


def _snapshot(moved: Move, control: float, rank: int) -> Snapshot:
    position, twin = (np.asarray(x)[:, :rank] for x in (moved.position, moved.twin))
    return Snapshot(position, twin, np.asarray(moved.variance), np.asarray(moved.mean), control)
