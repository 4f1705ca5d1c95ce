"""What moves of the particles show: averages with their control variate, their mean, and snapshots for predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stpbnn.adaptive.fields import Averages, Problem
from stpbnn.adaptive.neuron import Drive
from stpbnn.adaptive.particles import Move

__all__ = ["Mean", "Snapshot", "estimate", "snapshot"]


class Snapshot(NamedTuple):
    """Clusters at one iteration, with their twins and readout, and the coefficient of the control variate.

    In deep networks also the modes (K, P) of the backward signal.
    """

    position: np.ndarray
    twin: np.ndarray
    covariance: np.ndarray
    mean: np.ndarray
    control: np.ndarray
    modes: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """The covariance of the readouts of the cluster's own units."""
        return self.covariance[:, :, :, : self.covariance.shape[1]]


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


def estimate(problem: Problem, moved: Move) -> tuple[Averages, np.ndarray]:
    """Return the moments of a move, with the control variate, and its coefficient (D, D)."""
    D, P = problem.outputs, len(problem.kernel)
    kernel, second, mean, untilted = (np.asarray(m, dtype=float)[..., :P] for m in moved.moments)
    control = np.asarray(moved.spread, dtype=float) / (moved.position.shape[0] * problem.cluster)
    control *= problem.precision * float(np.asarray(moved.acceptance) * np.asarray(moved.likeness))
    known = np.kron(control, problem.kernel - untilted[:P])

    def whole(blocks: np.ndarray) -> np.ndarray:
        return blocks[:, :, :P].transpose(0, 2, 1, 3).reshape(D * P, D * P)

    return Averages(whole(kernel) + known, whole(second) + known, mean.ravel()), control


def snapshot(problem: Problem, moved: Move, felt: Drive, control: np.ndarray) -> Snapshot:
    """Return the particles of a move, in single precision as they are."""
    P, rank = problem.root.shape
    position, twin = (np.asarray(x)[..., : rank + problem.coordinates[1]] for x in (moved.position, moved.twin))
    modes = np.empty((0, P), np.float32) if felt.modes is None else np.asarray(felt.modes)[:, :P]
    return Snapshot(
        position, twin, np.asarray(moved.readout.covariance), np.asarray(moved.readout.mean), control, modes
    )
