"""A self-consistent solution as named arrays, and back: what spares a search that was made already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn.adaptive.averaging import Snapshot
from stpbnn.adaptive.fields import Averages
from stpbnn.adaptive.particles import RowSpace
from stpbnn.adaptive.search import Populations, Solution

__all__ = ["FixedPoint", "packed", "unpacked"]

ALONE: dict[str, int | tuple[int, ...]] = {"position": 3, "twin": 3, "covariance": (3, 5), "mean": 3}
TOLD = ("drift", "bias", "acceptance", "autocorrelation", "tilt", "moves")
TOLD_BEFORE = ("drift", "converged", "acceptance", "autocorrelation", "tilt", "moves", "lost")  # in older files
CHECKS = ("drift", "particles", "acceptance", "lost", "clusters", "stuck")  # older files lack the last ones


class FixedPoint(NamedTuple):
    """A solution of the self-consistent equations, and where the search for it began.

    Its log evidence, λ_1 E|v|²/D, mean tilt of the units, and whether the search had settled there.
    """

    start: str
    log_evidence: float
    readout_second_moment: float
    tilt: float
    converged: bool


def packed(space: RowSpace, found: Sequence[Solution], points: Sequence[FixedPoint]) -> dict[str, np.ndarray]:
    """Return solutions and the coordinates of their particles as arrays; of symmetric matrices the lower triangle.

    Parameters
    ----------
    space : RowSpace
        The coordinates: those of another machine may have other signs.
    found : sequence of Solution
        What searches found: that of the largest clusters, then those of smaller ones.
    points : sequence of FixedPoint
        All that were found, where there were two searches.

    Examples
    --------
    >>> shapes = (2, 1, 1), (2, 1, 1), (2, 1, 1, 1, 1), (2, 1, 1), (1, 1), (0, 3)
    >>> units = Snapshot(*(np.ones(shape, np.float32) for shape in shapes))
    >>> some = Populations([Averages(np.eye(3), 2 * np.eye(3), np.zeros(3))], [[units, units]])
    >>> found = Solution(some, some, np.zeros(4), 0.5, 0.1, (), 0.9, 0.1, 0.2, 80)
    >>> space, again, _ = unpacked(packed(RowSpace(np.ones((3, 1)), np.ones((1, 1))), [found], []), 3, 3)
    >>> again[0].whole.averages[0].second[2, 2], again[0].whole.snapshots[0][1].position.shape, again[0].drift
    (np.float64(2.0), (2, 1, 1), 0.5)
    """
    return {
        "root": space.root,
        "directions": space.directions,
        **{name: array for number, each in enumerate(found) for name, array in _told(each, _prefix(number)).items()},
        "tilted": np.array([point.start == "tilted" for point in points], dtype=bool),
        "fixed_points": np.array([point[1:] for point in points], dtype=float).reshape(len(points), 4),
    }


def unpacked(
    arrays: Mapping[str, np.ndarray], examples: int, targets: int
) -> tuple[RowSpace, list[Solution], list[FixedPoint]]:
    """Return coordinates, solutions and fixed points from the arrays that `packed` made of them.

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
    if len(space.root) != examples:
        raise ValueError(f"coordinates of {len(space.root)} examples, expected {examples}")
    found = [_solution(arrays, "", space, targets)]
    while (prefix := _prefix(len(found))) + "told" in arrays:
        found.append(_solution(arrays, prefix, space, targets))
    starts = ["tilted" if tilted else "prior" for tilted in arrays["tilted"]]
    numbers = zip(starts, arrays["fixed_points"].tolist(), strict=True)
    points = [FixedPoint(start, z, second, tilt, bool(settled)) for start, (z, second, tilt, settled) in numbers]
    return space, found, points


def _prefix(number: int) -> str:
    return f"before{number}_" if number else ""


def _told(found: Solution, prefix: str) -> dict[str, np.ndarray]:
    return {
        **_arrays(found.whole, prefix),
        **_arrays(found.halved, prefix + "halved_"),
        prefix + "history": found.history,
        prefix + "told": np.array([float(getattr(found, name)) for name in TOLD]),
        prefix + "failed": np.array([name in found.failed for name in CHECKS]),
    }


def _solution(arrays: Mapping[str, np.ndarray], prefix: str, space: RowSpace, targets: int) -> Solution:
    whole = _populations(arrays, prefix, space, targets)
    if prefix + "failed" in arrays:
        halved = _populations(arrays, prefix + "halved_", space, targets)
        told = dict(zip(TOLD, arrays[prefix + "told"].tolist(), strict=True))
        failed = tuple(name for name, fails in zip(CHECKS, arrays[prefix + "failed"], strict=False) if fails)
    else:
        halved = Populations([], [])
        told = dict(zip(TOLD_BEFORE, arrays["told"].tolist(), strict=True)) | {"bias": 0.0}
        lost, settled = told.pop("lost"), told.pop("converged")
        failed = ("lost",) if lost else () if settled else ("drift",)
    told["moves"] = int(told["moves"])
    return Solution(whole=whole, halved=halved, history=arrays[prefix + "history"], failed=failed, **told)


def _arrays(some: Populations, prefix: str) -> dict[str, np.ndarray]:
    return {
        prefix + "K": np.array([_triangle(each.K) for each in some.averages]),
        prefix + "second": np.array([_triangle(each.second) for each in some.averages]),
        prefix + "mean": np.array([each.mean for each in some.averages]),
        prefix + "screened": np.array([each.screened for each in some.averages]),
        prefix + "across": np.array([each.across for each in some.averages]),
        **{
            f"{prefix}units_{name}": np.array([[getattr(one, name) for one in group] for group in some.snapshots])
            for name in Snapshot._fields
        },
    }


def _populations(arrays: Mapping[str, np.ndarray], prefix: str, space: RowSpace, targets: int) -> Populations:
    kernels = zip(*(arrays[prefix + name] for name in ("K", "second", "mean")), strict=True)
    averages = [Averages(_whole(K, len(mean)), _whole(second, len(mean)), mean) for K, second, mean in kernels]
    screened, across = (arrays.get(prefix + name, np.zeros(len(averages))) for name in ("screened", "across"))
    below = zip(averages, screened, across, strict=True)  # older files have none of it
    averages = [each._replace(screened=inside, across=outside) for each, inside, outside in below]
    names = [name for name in Snapshot._fields if f"{prefix}units_{name}" in arrays or name != "modes"]
    units = {name: arrays[f"{prefix}units_{name}"] for name in names}
    if units["position"].ndim == 4:  # of an older file, which has no axis of units in a cluster
        units |= {name: np.expand_dims(np.asarray(units[name]), axes) for name, axes in ALONE.items()}
    if "modes" not in units:
        units["modes"] = np.empty((*units["position"].shape[:2], 0, len(space.root)), np.float32)
    groups = zip(*units.values(), strict=True)
    snapshots = [[Snapshot(*one) for one in zip(*group, strict=True)] for group in groups]
    if len(snapshots) != len(averages) or any(one.position.shape[2] < space.root.shape[1] for one in snapshots[0]):
        raise ValueError(f"{len(averages)} populations and the particles of {len(snapshots)}")
    if any(len(each.mean) != targets for each in averages):
        raise ValueError(f"averages of {len(averages[0].mean)} targets, expected {targets}")
    return Populations(averages, snapshots)


def _triangle(matrix: Float[np.ndarray, "n n"]) -> np.ndarray:
    return matrix[np.tril_indices(len(matrix))]


def _whole(triangle: np.ndarray, size: int) -> Float[np.ndarray, "n n"]:
    matrix = np.empty((size, size))
    rows, columns = np.tril_indices(size)
    matrix[rows, columns] = matrix[columns, rows] = triangle
    return matrix
