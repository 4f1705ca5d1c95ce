r"""The search for a self-consistent unit: particles move in fields, and the fields follow what particles show.

A stochastic approximation: particles move once in the present fields, and the kernels go a part of the way to what the
particles show. The network is wide at first, and its width falls to its own while the search goes on: where there are
several fixed points, that with the weakest tilt is followed. Several populations search independently, each with
kernels of its own: their spread is the error bar.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stpbnn._linalg import lower_cholesky
from stpbnn.adaptive.fields import Averages, Problem, drive, fields, padded, up
from stpbnn.adaptive.neuron import Drive
from stpbnn.adaptive.particles import Move, move

__all__ = ["Snapshot", "Solution", "Start", "solve"]

GROUPS = 4  # independent populations
SETTLING, ROUND = 80, 60  # iterations before averages are taken, and in a round of averages
SNAPSHOTS = 8  # of each population, kept for predictions
WIDER, FALLING = 8.0, 40  # times the width at first, and the iterations until it has fallen to its own
GAIN = 0.15
SIGNIFICANT = 4.0  # drift in standard errors: the five-per-cent level of two drifts with as few populations
NEGLIGIBLE = 0.005  # drift that is accepted whatever the standard error
COARSE, MOVING = 0.25, 0.5  # a larger drift, or a smaller acceptance, is no solution however large the noise
RUNAWAY = 1e4


class Start(NamedTuple):
    """Kernels K_w and G to begin with, and particles (M, r); None means draws from the prior."""

    K: Float[np.ndarray, "DP DP"]
    G: Float[np.ndarray, "DP DP"]
    position: jax.Array | None = None


class Snapshot(NamedTuple):
    """Particles at one iteration, with their twins and readout, and the coefficient of the control variate."""

    position: np.ndarray
    twin: np.ndarray
    covariance: np.ndarray
    mean: np.ndarray
    control: np.ndarray


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
    lost: bool

    @property
    def second_moment(self) -> Float[np.ndarray, "D D"]:
        """E v v^T over the snapshots of all populations."""
        moments = [
            np.mean(s.covariance + s.mean[:, :, None] * s.mean[:, None, :], axis=0, dtype=float)
            for snapshots in self.snapshots
            for s in snapshots
        ]
        return np.mean(moments, axis=0)


@dataclass
class Mean:
    """The mean of averages, as they come."""

    count: int = 0
    value: Averages | None = None

    def add(self, new: Averages) -> None:
        """Take one more into account."""
        self.count += 1
        old = self.value or new
        self.value = Averages(*(a + (b - a) / self.count for a, b in zip(old, new, strict=True)))


@dataclass
class Population:
    """Particles and the kernels in whose fields they move."""

    key: jax.Array
    position: jax.Array
    K: Float[np.ndarray, "DP DP"]
    G: Float[np.ndarray, "DP DP"]
    last: Snapshot | None = None
    halves: list[Mean] = field(default_factory=lambda: [Mean(), Mean()])
    snapshots: list[Snapshot] = field(default_factory=list)


def solve(problem: Problem, start: Start, particles: int, seed: int, max_iter: int) -> Solution:
    """Find a fixed point from where it is told to start."""
    walkers = _Walkers(problem, particles, seed, start)
    done = min(SETTLING, max_iter // 2)
    falling = min(FALLING, done // 2) if start.position is None else 0
    for step in range(done):
        wider = WIDER ** (1 - step / falling) if step < falling else 1.0
        walkers.problem = replace(problem, width=wider * problem.width)
        walkers.iterate()
    half = max(1, min(ROUND, max_iter - done) // 2)
    while True:
        walkers.forget()
        for step in range(2 * half):
            walkers.iterate(half=step // half, keep=step % max(1, 2 * half // SNAPSHOTS) == 0)
        done += 2 * half
        drift, relative = walkers.drift()
        settled = relative < NEGLIGIBLE or (drift < SIGNIFICANT and relative < COARSE)
        converged = settled and walkers.acceptance > MOVING
        if converged or walkers.lost or done + 2 * half > max_iter:
            return walkers.solution(drift, converged and not walkers.lost)


class _Walkers:
    """All populations, and one step of the approximation."""

    def __init__(self, problem: Problem, particles: int, seed: int, start: Start) -> None:
        P, r = problem.root.shape
        self.problem, self.size, self.steps, self.lost = problem, max(2, particles // GROUPS), 2, False
        self.root = padded(problem.root, up(P), up(r))
        self.history: list[float] = []
        self.tilts: list[list[np.ndarray]] = []
        keys = jax.random.split(jax.random.key(seed), GROUPS)
        self.populations = [Population(key, self._position(i, key, start), *start[:2]) for i, key in enumerate(keys)]
        self.acceptance, self.moves = 1.0, 0

    def _position(self, group: int, key: jax.Array, start: Start) -> jax.Array:
        if start.position is not None:
            return start.position[group * self.size : (group + 1) * self.size]
        return jax.random.normal(jax.random.fold_in(key, 1), (self.size, self.root.shape[1]), jnp.float32)

    def forget(self) -> None:
        for population in self.populations:
            population.halves, population.snapshots = [Mean(), Mean()], []
        self.tilts = []

    def iterate(self, *, half: int | None = None, keep: bool = False) -> None:
        """Move all particles once, and the kernels of each population towards what it shows."""
        if self.lost:
            return
        problem = self.problem
        try:
            drives = [self._drive(population) for population in self.populations]
        except np.linalg.LinAlgError:
            self.lost = True
            return
        self.moves += 1
        moves = []
        for population, (a, felt) in zip(self.populations, drives, strict=True):
            population.key, key = jax.random.split(population.key)
            moved = move(problem.sigma, key, population.position, self.root, felt, jnp.int32(self.steps))
            moves.append(moved)
            population.position = moved.position
            averages, control = estimate(problem, moved)
            self._approach(population, a, averages)
            population.last = snapshot(moved, control, problem.root.shape[1])
            if half is not None:
                population.halves[half].add(averages)
            if keep:
                population.snapshots.append(population.last)
        self._adapt(moves)
        if half is not None:
            self.tilts.append([np.asarray(moved.readout.tilt) for moved in moves])

    def _drive(self, population: Population) -> tuple[np.ndarray, Drive]:
        found = fields(self.problem, population.K, population.G)
        return found.a, drive(self.problem, found)

    def _approach(self, population: Population, a: np.ndarray, found: Averages) -> None:
        """Move the kernels of a population; the step of G is halved until T + G is positive."""
        problem, K, G, gain = self.problem, population.K, population.G, GAIN
        population.K = K + gain * (found.K - K)
        self.history.append(float(np.linalg.norm((found.K - K) @ a) / (np.linalg.norm(K @ a) or 1.0)))
        for _ in range(20):
            population.G = G + gain * (found.covariance() - G)
            if lower_cholesky(population.G + problem.noise, clean=False)[1] == 0:
                break
            gain /= 2
        size = np.trace(population.K)
        self.lost |= not np.isfinite(size) or size > RUNAWAY * problem.outputs * np.trace(problem.kernel)

    def _adapt(self, moved: list[Move]) -> None:
        self.acceptance = float(np.mean([float(m.acceptance) for m in moved]))
        if self.acceptance < 0.9:
            self.steps = min(self.steps + 1, 64)
        elif self.acceptance > 0.97 and self.steps > 1:
            self.steps -= 1

    def drift(self) -> tuple[float, float]:
        """Return the drift between the halves of a round in standard errors, and relative."""
        halves = [[half.value for half in p.halves if half.value is not None] for p in self.populations]
        if self.lost or any(len(both) < 2 for both in halves):
            return np.inf, np.inf
        try:
            rows = np.array([[self._summary(half) for half in both] for both in halves])
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
            float("nan") if self.lost else float(series.mean()),
            self.moves,
            self.lost,
        )

    def _averages(self, population: Population) -> Averages:
        """Return the averages of a population or, where they are of no use, its kernels as they stand; symmetric."""
        halves = [half.value for half in population.halves if half.value is not None]
        if halves and not self.lost:
            found = Averages.of(halves).symmetric()  # of equally many iterations
            try:
                self._summary(found)
                return found
            except np.linalg.LinAlgError:
                pass
        return Averages(population.K, population.G, np.zeros(len(population.K))).symmetric()


def estimate(problem: Problem, moved: Move) -> tuple[Averages, np.ndarray]:
    """Return the moments of a move, with the control variate, and its coefficient (D, D)."""
    D, P = problem.outputs, len(problem.kernel)
    kernel, second, mean, untilted = (np.asarray(m, dtype=float)[..., :P] for m in moved.moments)
    control = np.asarray(jnp.mean(moved.readout.covariance, axis=0), dtype=float)
    control *= problem.precision * float(moved.acceptance)
    known = np.kron(control, problem.kernel - untilted[:P])

    def whole(blocks: np.ndarray) -> np.ndarray:
        return blocks[:, :, :P].transpose(0, 2, 1, 3).reshape(D * P, D * P)

    return Averages(whole(kernel) + known, whole(second) + known, mean.ravel()), control


def snapshot(moved: Move, control: np.ndarray, rank: int) -> Snapshot:
    """Return the particles of a move, in single precision as they are."""
    position, twin = (np.asarray(x)[:, :rank] for x in (moved.position, moved.twin))
    return Snapshot(position, twin, np.asarray(moved.readout.covariance), np.asarray(moved.readout.mean), control)
