r"""The size of the clusters: doubled until the prediction no longer moves by more than its standard error.

A cluster of one unit is the self-consistent neuron, that of all N units the posterior itself. Sizes are divisors of N.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stpbnn import _validation as check
from stpbnn.adaptive.fields import Problem
from stpbnn.adaptive.search import Solution, Start, solve
from stpbnn.adaptive.settled import moved, summary

__all__ = [
    "cluster_size",
    "doubled",
    "known_sizes",
    "nearest_divisor",
    "refuse_unknown",
    "sizes",
    "smallest_size",
    "units_of",
]


def cluster_size(cluster: Any) -> Any:
    """Return the size of clusters, a number of units or "auto".

    Examples
    --------
    >>> cluster_size("auto"), cluster_size(5)
    ('auto', 5)
    """
    return (
        check.one_of("cluster", cluster, ("auto",)) if isinstance(cluster, str) else check.integer("cluster", cluster)
    )


def divisors(width: int) -> list[int]:
    """Return all divisors, in order.

    Examples
    --------
    >>> divisors(50), len(divisors(10**12))
    ([1, 2, 5, 10, 25, 50], 169)
    """
    small = [n for n in range(1, math.isqrt(width) + 1) if width % n == 0]
    return sorted({*small, *(width // n for n in small)})


def sizes(width: int) -> Iterator[int]:
    """Yield 1, then the smallest divisor of the width that is at least twice the one before, up to the width.

    Examples
    --------
    >>> list(sizes(50)), list(sizes(7)), list(sizes(12))
    ([1, 2, 5, 10, 25, 50], [1, 7], [1, 2, 4, 12])
    """
    least = 1
    for size in divisors(width):
        if size >= least or size == width:
            yield size
            least = 2 * size


def smallest_size(depth: int, outputs: int, width: int) -> int:
    """Return the smallest size that is known: one unit of one layer, or of two and one output; elsewhere the network.

    Examples
    --------
    >>> smallest_size(1, 2, 10), smallest_size(2, 1, 10), smallest_size(3, 1, 10)
    (1, 1, 10)
    """
    return 1 if depth == 1 or (depth == 2 and outputs == 1) else width


def known_sizes(depth: int, outputs: int, width: int) -> tuple[int, ...]:
    """Return the sizes that "auto" takes, the last of which is the network: of several hidden layers few are known.

    Examples
    --------
    >>> known_sizes(1, 2, 10), known_sizes(2, 1, 10), known_sizes(2, 2, 10), known_sizes(3, 1, 10)
    ((1, 2, 5, 10), (1, 10), (10,), (10,))
    """
    if depth == 1:
        return tuple(sizes(width))
    return tuple(sorted({smallest_size(depth, outputs, width), width}))


def refuse_unknown(name: str, cluster: int | str, depth: int, outputs: int, width: int) -> None:
    """Refuse a size that is not known of several hidden layers, by the name that it has at the door.

    Examples
    --------
    >>> refuse_unknown("cluster", "auto", 3, 1, 10)
    """
    if depth > 1 and cluster not in (known := (*known_sizes(depth, outputs, width), "auto")):
        raise ValueError(
            f"{name}: got {cluster!r} for {check.plural(depth, 'hidden layer')} and {check.plural(outputs, 'output')}, "
            f"expected one of {', '.join(map(str, known))}, the sizes that are known; or take the proportional limit"
        )


def nearest_divisor(cluster: int, width: int) -> int:
    """Return the divisor of the width that is nearest to a size, the larger one of two.

    Examples
    --------
    >>> nearest_divisor(8, 50)
    10
    """
    return min(reversed(divisors(width)), key=lambda n: abs(n - cluster))


def units_of(particles: int, cluster: int) -> int:
    """Return how many units are simulated at once: four clusters in a population at least."""
    return max(particles, 16 * cluster) * 5 // 4


def doubled(
    problem: Problem, start: Start, particles: int, seed: int, max_iter: int, fits: Callable[[int], bool]
) -> list[Solution]:
    """Return the solutions of all sizes that were tried, that of the largest clusters first.

    After a size whose particles are stuck the network comes next, for larger clusters of the same units would be stuck
    as well. Where it comes next in any case, as nothing could be compared before, it comes at once. `fits` says
    whether clusters of a size go into memory: where the prediction still moves and larger ones do not, the check
    "clusters" has failed.
    """
    found: list[Solution] = []
    before: np.ndarray | None = None
    width = int(problem.width)
    depth = 1 if problem.below is None else 1 + len(problem.below.widths)
    left = list(known_sizes(depth, problem.outputs, width))
    last = fits(width)
    while left:
        if last and (len(left) == 2 if not found else "stuck" in found[0].failed):
            left = [width]
        cluster = left.pop(0)
        if found and not fits(cluster):
            found[0] = found[0]._replace(failed=(*found[0].failed, "clusters"))
            break
        here = problem.resized(cluster)
        ends = ("lost", "stuck") if last and cluster < width else ("lost",)
        found.insert(0, solve(here, start, particles, seed, max_iter, ends))
        if cluster == width:
            break
        rows = np.array([summary(here, each) for each in found[0].whole.averages]) if found[0].converged else None
        if rows is not None and before is not None and not moved(rows, before):
            break
        before = rows
    return found
