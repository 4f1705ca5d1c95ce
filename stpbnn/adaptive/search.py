r"""The search for a self-consistent unit: particles move in fields, and the fields follow what particles show.

A stochastic approximation: particles move once in the present fields, and the kernels go a part of the way to what the
particles show. The network is wide at first, and its width falls to its own while the search goes on: where there are
several fixed points, that with the weakest tilt is followed. Where a cluster is the network its fields are known, and
particles are carried from the prior to the posterior by sequential Monte Carlo, which weighs modes. Several populations
search independently, each with kernels of its own: their spread is the error bar.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stpbnn._random import parted, streams
from stpbnn.adaptive.averaging import Mean, Snapshot, estimate, snapshot
from stpbnn.adaptive.below import LayerBelow, follow, modes
from stpbnn.adaptive.evidence import anneal
from stpbnn.adaptive.fields import Averages, Problem, Response, drive, fields, padded, up
from stpbnn.adaptive.neuron import Drive
from stpbnn.adaptive.particles import Move, from_prior, move
from stpbnn.adaptive.settled import checked, stuck, summary

__all__ = ["Populations", "Solution", "Start", "solve"]

GROUPS, HALVED = 4, 2  # independent populations, and those of half the size beside them
SETTLING, ROUND = 80, 60  # iterations before averages are taken, and in a round of averages
DISPERSING = 20  # in the place of SETTLING where particles were resampled: copies move apart
SNAPSHOTS = 8  # of each population, kept for predictions
WIDER, FALLING = 8.0, 40  # times the width at first, and the iterations until it has fallen to its own
GAIN, SLOWER = 0.15, 20  # and the moves after which it has fallen to a half
MOVING, MOST = 0.5, 64  # a smaller acceptance is no solution; rotations of a move
ACCEPTED, OF_NETWORKS = (0.9, 0.97), (0.65, 0.85)  # between which moves keep their rotations
RUNAWAY, BEYOND = 1e4, 30  # times the kernel of infinite width, and the targets: what is no solution


class Start(NamedTuple):
    """Kernels K_w and G to begin with, and units (M, r); None means draws from the prior."""

    K: Float[np.ndarray, "DP DP"]
    G: Float[np.ndarray, "DP DP"]
    position: jax.Array | None = None


class Populations(NamedTuple):
    """Averages and snapshots of several populations, each for itself."""

    averages: list[Averages]
    snapshots: list[list[Snapshot]]

    @property
    def cluster(self) -> int:
        """How many units a cluster has."""
        return int(self.snapshots[0][0].mean.shape[1])


class Solution(NamedTuple):
    """What the populations found, and how they got there; beside them what others found with half of the particles."""

    whole: Populations
    halved: Populations
    history: np.ndarray
    drift: float
    bias: float
    failed: tuple[str, ...]
    acceptance: float
    autocorrelation: float
    tilt: float
    moves: int

    @property
    def lost(self) -> bool:
        """Whether the kernels grew beyond all bounds."""
        return "lost" in self.failed

    @property
    def converged(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def second_moment(self) -> Float[np.ndarray, "D D"]:
        """E v v^T over the snapshots of all populations."""
        moments = [
            (np.einsum("midie->de", s.own) + np.einsum("mid,mie->de", s.mean, s.mean)) / s.mean[..., 0].size
            for snapshots in self.whole.snapshots
            for s in snapshots
        ]
        return np.mean(moments, axis=0, dtype=float)


@dataclass
class Population:
    """Particles and the kernels in whose fields they move."""

    key: np.ndarray
    position: jax.Array
    K: Float[np.ndarray, "DP DP"]
    G: Float[np.ndarray, "DP DP"]
    last: Callable[[], Snapshot] | None = None
    position_below: jax.Array | None = None
    below: LayerBelow | None = None
    halves: list[Mean] = field(default_factory=lambda: [Mean(), Mean()])
    snapshots: list[Snapshot] = field(default_factory=list)


def solve(
    problem: Problem, start: Start, particles: int, seed: int, max_iter: int, ends: tuple[str, ...] = ("lost",)
) -> Solution:
    """Find a fixed point from where it is told to start; checks in `ends` end a search where they fail."""
    walkers = _Walkers(problem, particles, seed, start)
    settling = DISPERSING if walkers.carried else SETTLING
    done = min(settling, max_iter // 2)
    falling = min(FALLING, done // 2) if start.position is None and not walkers.carried else 0
    for step in range(done):
        wider = WIDER ** (1 - step / falling) if step < falling else 1.0
        walkers.problem = replace(problem, width=wider * problem.width)
        walkers.iterate()
    half = max(1, min(ROUND, max_iter - done) // 2)
    while True:
        walkers.forget()
        for step in range(2 * half):
            walkers.gain = GAIN / (1 + max(done + step - settling, 0) / SLOWER)
            walkers.iterate(half=step // half, keep=step % max(1, 2 * half // SNAPSHOTS) == 0)
        done += 2 * half
        found = walkers.solution()
        failed = set(found.failed)
        if failed <= {"stuck"} or failed & set(ends) or done + 2 * half > max_iter:
            return found


class _Walkers:
    """All populations, and one step of the approximation."""

    def __init__(self, problem: Problem, particles: int, seed: int, start: Start) -> None:
        self.problem, self.start, self.steps, self.moves, self.acceptance = problem, start, 2, 0, 1.0
        self.root = jax.device_put(padded(problem.root, *map(up, problem.root.shape)))
        self.known = fields(problem, start.K, Response.of(problem, start.G)) if problem.reacting == 1 else None
        self.lost, self.gain, self.carried = False, GAIN, self.known is not None and start.position is None
        self.history, self.tilts = list[float](), list[list[np.ndarray]]()
        keys = streams(seed, GROUPS + HALVED)
        size = max(4, particles // (GROUPS * problem.cluster))
        sizes = [size] * GROUPS + [size // 2] * HALVED
        self.populations = [
            Population(key, self._position(i, sizes, key, start), start.K, start.G) for i, key in enumerate(keys)
        ]

    def _position(self, group: int, sizes: list[int], key: np.ndarray, start: Start) -> jax.Array:
        size, (rows, links) = sizes[group], self.problem.coordinates
        row = self.root.shape[1] + links
        if self.known is not None and start.position is None:
            found = anneal(self.problem, self.known, size * self.problem.cluster, int(key[-1]))
            self.steps = min(found.steps // 2, MOST)
            return found.position
        if start.position is None:  # the first of many are the same as few: one program
            return jax.device_put(np.asarray(from_prior(key, (max(sizes), rows, row)))[:size])
        units = jnp.roll(start.position, -group * size * rows, axis=0)
        return jnp.resize(units, (size, rows, row))

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
        moves = []  # all of them under way before the first is looked at: JAX does not wait
        for population, (_, felt, _) in zip(self.populations, drives, strict=True):
            population.key, key = parted(population.key)
            moves.append(move(problem.sigma, key, population.position, self.root, felt, np.int32(self.steps)))
        for population, moved, (a, felt, felt_below) in zip(self.populations, moves, drives, strict=True):
            population.position = moved.position
            averages, control = estimate(problem, moved)
            if problem.above:
                screened, across = self._screened(population, felt_below, moved)
                averages = averages._replace(screened=screened, across=across)
            self._approach(population, a, averages)
            population.last = partial(snapshot, problem, moved, felt, control)
            if half is not None:
                population.halves[half].add(averages)
            if keep:
                population.snapshots.append(population.last())
        self._adapt(moves)
        if half is not None:
            self.tilts.append([np.asarray(moved.readout.tilt) / problem.cluster for moved in moves[:GROUPS]])

    def _drive(self, population: Population) -> tuple[np.ndarray, Drive, Drive]:
        """Return a, and what a cluster feels; of two layers also what a unit below does."""
        problem, below = self.problem, population.below
        if self.known is not None:
            felt = drive(problem, self.known)
            return self.known.a, felt, felt
        response = Response.of(problem, population.G)
        found = fields(problem, population.K, response)
        felt = drive(problem, found)
        if not problem.above:
            return found.a, felt, felt
        above = felt if below is None else drive(problem, below.cavity(problem, response, found.a))
        along = modes(problem, below)
        assert problem.below is not None
        there = along / math.sqrt(problem.below.precisions[-1])  # math.sqrt keeps single precision
        return found.a, above._replace(modes=along), felt._replace(modes=there)

    def _screened(self, population: Population, felt: Drive, moved: Move) -> tuple[Float[np.ndarray, "P P"], float]:
        """Move the units below, and return what their response takes away, in the span of the inputs and across."""
        population.key, key = parted(population.key)
        found = follow(self.problem, key, population.position_below, felt, moved, self.steps)
        population.position_below = found.position
        population.below = found.shown if population.below is None else population.below.towards(found.shown, self.gain)
        return found.screened, found.across

    def _approach(self, population: Population, a: np.ndarray, found: Averages) -> None:
        """Move the kernels of a population towards what its particles show."""
        problem, K = self.problem, population.K
        self.history.append(float(np.linalg.norm((found.K - K) @ a) / (np.linalg.norm(K @ a) or 1.0)))
        population.K = K + self.gain * (found.K - K)
        population.G = population.G + self.gain * (found.covariance() - population.G)
        size = abs(np.trace(population.K)) + abs(np.trace(population.G))
        self.lost |= not np.isfinite(size)
        if self.known is None:
            self.lost |= bool(size > RUNAWAY * problem.outputs * np.trace(problem.kernel))
            self.lost |= bool(problem.temperature * np.linalg.norm(a) > BEYOND * np.linalg.norm(problem.y) > 0)

    def _adapt(self, moved: list[Move]) -> None:
        self.acceptance = float(np.mean([float(m.acceptance) for m in moved]))
        least, most = OF_NETWORKS if self.carried else ACCEPTED
        finer = int(self.acceptance < least) - int(self.acceptance > most)
        self.steps = min(max(self.steps + finer * max(1, self.steps // 8), 1), MOST)

    def _rows(self) -> np.ndarray | None:
        """Return the summaries of both halves of a round, for all populations."""
        halves = [[half.value for half in p.halves if half.value is not None] for p in self.populations]
        if self.lost or any(len(both) < 2 for both in halves):
            return None
        try:
            rows = np.array([[summary(self.problem, half) for half in both] for both in halves])
        except np.linalg.LinAlgError:
            return None
        return rows if np.isfinite(rows).all() else None

    def solution(self) -> Solution:
        rows = self._rows()
        drift, bias, failed = (np.inf, np.inf, ["drift"]) if rows is None else checked(rows, GROUPS)
        if self.acceptance <= MOVING and not self.carried:  # particles of a network may be refused, if they move on
            failed.append("acceptance")
        series = np.array([np.concatenate(tilts) for tilts in self.tilts]) if self.tilts else np.zeros((2, 1))
        centred = series - series.mean()
        spread = float(np.mean(centred**2))
        correlation = float(np.mean(centred[1:] * centred[:-1])) / spread if spread > 0 and len(series) > 1 else 0.0
        if stuck(correlation, len(self.tilts)):
            failed.append("stuck")
        if self.lost:
            failed = ["lost"]
        averages = [self._averages(p) for p in self.populations]
        snapshots = [p.snapshots or [p.last()] for p in self.populations if p.last is not None]
        return Solution(
            Populations(averages[:GROUPS], snapshots[:GROUPS]),
            Populations(averages[GROUPS:], snapshots[GROUPS:]),
            np.array(self.history),
            drift,
            bias,
            tuple(failed),
            self.acceptance,
            correlation,
            float("nan") if self.lost else float(series.mean()),
            self.moves,
        )

    def _averages(self, population: Population) -> Averages:
        """Return the averages of a population or, where they are of no use, its kernels or those of the start."""
        halves = [half.value for half in population.halves if half.value is not None]
        if halves and not self.lost:
            found = Averages.of(halves).symmetric()  # both halves have equally many iterations
            if np.isfinite(found.second).all():
                return found
        finite = np.isfinite(population.K).all() and np.isfinite(population.G).all()
        K, G = (population.K, population.G) if finite else (self.start.K, self.start.G)
        return Averages(K, G, np.zeros(len(K))).symmetric()
