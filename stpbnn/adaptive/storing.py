"""A self-consistent solution as named arrays, and back: what spares a search that was made already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn.adaptive.fields import Averages
from stpbnn.adaptive.particles import RowSpace
from stpbnn.adaptive.search import Snapshot, Solution

__all__ = ["FixedPoint", "packed", "unpacked"]

TOLD = ("drift", "converged", "acceptance", "autocorrelation", "tilt", "moves", "lost")


class FixedPoint(NamedTuple):
    """A solution of the self-consistent equations, and where the search for it began.

    Its log evidence, λ_1 E|v|²/D, mean tilt of the units, and whether the search had settled there.
    """

    start: str
    log_evidence: float
    readout_second_moment: float
    tilt: float
    converged: bool


def packed(space: RowSpace, found: Solution, points: Sequence[FixedPoint]) -> dict[str, np.ndarray]:
    """Return a solution and the coordinates of its particles as arrays; of symmetric matrices the lower triangle.

    Parameters
    ----------
    space : RowSpace
        The coordinates: those of another machine may have other signs.
    found : Solution
        What a search found.
    points : sequence of FixedPoint
        All that were found, where there were two searches.

    Examples
    --------
    >>> units = Snapshot(*(np.ones((2, *shape), np.float32) for shape in [(1,), (1,), (1, 1), (1,)]), np.ones((1, 1)))
    >>> averages = Averages(np.eye(3), 2 * np.eye(3), np.zeros(3))
    >>> found = Solution([averages], [[units, units]], np.zeros(4), 0.5, True, 0.9, 0.1, 0.2, 80, False)
    >>> space, again, _ = unpacked(packed(RowSpace(np.ones((3, 1)), np.ones((1, 1))), found, []), 3, 3)
    >>> again.averages[0].second[2, 2], again.snapshots[0][1].position.shape, again.drift, again.converged
    (np.float64(2.0), (2, 1), 0.5, True)
    """
    return {
        "root": space.root,
        "directions": space.directions,
        "K": np.array([_triangle(each.K) for each in found.averages]),
        "second": np.array([_triangle(each.second) for each in found.averages]),
        "mean": np.array([each.mean for each in found.averages]),
        **{
            f"units_{name}": np.array([[getattr(one, name) for one in group] for group in found.snapshots])
            for name in Snapshot._fields
        },
        "history": found.history,
        "told": np.array([float(getattr(found, name)) for name in TOLD]),
        "tilted": np.array([point.start == "tilted" for point in points], dtype=bool),
        "fixed_points": np.array([point[1:] for point in points], dtype=float).reshape(len(points), 4),
    }


def unpacked(
    arrays: Mapping[str, np.ndarray], examples: int, targets: int
) -> tuple[RowSpace, Solution, list[FixedPoint]]:
    """Return coordinates, solution and fixed points from the arrays that `packed` made of them.

    Parameters
    ----------
    arrays : mapping of str to array
        The arrays by name.
    examples, targets : int
        Rows of the training set, and numbers among its targets.

    Raises
    ------
    KeyError, ValueError
        If one is not there, or not of the shape of the others.
    """
    space = RowSpace(arrays["root"], arrays["directions"])
    kernels = zip(arrays["K"], arrays["second"], arrays["mean"], strict=True)
    averages = [Averages(_whole(K, len(mean)), _whole(second, len(mean)), mean) for K, second, mean in kernels]
    groups = zip(*(arrays[f"units_{name}"] for name in Snapshot._fields), strict=True)
    snapshots = [[Snapshot(*one) for one in zip(*group, strict=True)] for group in groups]
    if len(snapshots) != len(averages) or any(one.position.shape[1:] != space.root.shape[1:] for one in snapshots[0]):
        raise ValueError(f"{len(averages)} populations and the particles of {len(snapshots)}")
    if len(space.root) != examples or any(len(each.mean) != targets for each in averages):
        raise ValueError(f"coordinates of {len(space.root)} examples, expected {examples}")
    told = dict(zip(TOLD, arrays["told"].tolist(), strict=True))
    kinds = {"converged": bool, "moves": int, "lost": bool}
    told = {name: kinds.get(name, float)(value) for name, value in told.items()}
    starts = ["tilted" if tilted else "prior" for tilted in arrays["tilted"]]
    numbers = zip(starts, arrays["fixed_points"].tolist(), strict=True)
    points = [FixedPoint(start, z, second, tilt, bool(settled)) for start, (z, second, tilt, settled) in numbers]
    return space, Solution(averages=averages, snapshots=snapshots, history=arrays["history"], **told), points


def _triangle(matrix: Float[np.ndarray, "n n"]) -> np.ndarray:
    return matrix[np.tril_indices(len(matrix))]


def _whole(triangle: np.ndarray, size: int) -> Float[np.ndarray, "n n"]:
    matrix = np.empty((size, size))
    rows, columns = np.tril_indices(size)
    matrix[rows, columns] = matrix[columns, rows] = triangle
    return matrix
