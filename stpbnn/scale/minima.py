"""Minima of a function of u = log scale: a scan brackets them, and root finding refines them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq, elementwise, minimize_scalar

__all__ = [
    "bracket_end",
    "lowest_cells",
    "minima",
    "minima_of_family",
    "minima_of_values",
    "scan_points",
]

SCAN_STEP_LOG_SCALE = 0.1  # the two minima of known double-well actions are 2 or more apart
TO_ROUNDING = {"xatol": 0.0, "xrtol": 4e-16, "fatol": 0.0, "frtol": 0.0}

Curve = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]


def bracket_end(start: float, step: float, beyond: Callable[[float], bool], limit: float, refusal: Exception) -> float:
    """Return the first of start, start + step, ... at which `beyond` holds; raise the refusal past the limit."""
    end = start
    while not beyond(end):
        end += step
        if abs(end) > limit:
            raise refusal
    return end


def scan_points(lower: float, upper: float, step: float = SCAN_STEP_LOG_SCALE) -> Float[np.ndarray, " n"]:
    """Return the points at which a function between two bounds is looked at, a step beyond both."""
    return np.linspace(lower - step, upper + step, int((upper - lower) / step) + 3)


def lowest_cells(slopes: Float[np.ndarray, "... n"]) -> tuple[np.ndarray, ...]:
    """Return the cells of a scan in which the slope rises through zero."""
    return np.nonzero((slopes[..., :-1] < 0) & (slopes[..., 1:] >= 0))


def minima(slope: Curve, lower: float, upper: float, step: float = SCAN_STEP_LOG_SCALE) -> list[float]:
    """Return the minima between two bounds, to rounding: where the slope rises through zero.

    Scales at which the slope cannot be computed, the kernel being singular to rounding there, are no candidates.
    """
    grid = scan_points(lower, upper, step)
    (cells,) = lowest_cells(_where_regular(slope, grid))
    return [brentq(lambda u: slope(np.array([u]))[0], grid[i], grid[i + 1], xtol=1e-15, rtol=1e-15) for i in cells]


def _where_regular(slope: Curve, grid: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    try:
        return slope(grid)
    except np.linalg.LinAlgError:
        if len(grid) == 1:
            return np.array([np.nan])
        return np.concatenate([_where_regular(slope, point) for point in np.split(grid, len(grid))])


def minima_of_family(
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray], slopes: np.ndarray, grid: np.ndarray, members: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the minima of many functions on one grid, refined together, and which function each belongs to.

    Parameters
    ----------
    slope : callable
        Slope of a member of the family at u: slope(u, member), elementwise.
    slopes : array of shape (m, n)
        All slopes on the grid.
    grid : array of shape (n,)
        Points u.
    members : array of shape (m,)
        The numbers that tell the functions apart.
    """
    place, cell = lowest_cells(slopes)
    ends = grid[cell], grid[cell + 1]
    return elementwise.find_root(slope, ends, args=(members[place],), tolerances=TO_ROUNDING).x, place


def minima_of_values(function: Curve, lower: float, upper: float) -> list[float]:
    """Return the minima between two bounds of a function whose slope is not known, to eight digits."""
    step = SCAN_STEP_LOG_SCALE
    grid = np.arange(lower - step, upper + 2 * step, step)
    values = function(grid)
    low = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:])) + 1

    def at(u: float) -> float:
        return float(function(np.array([u]))[0])

    return [float(minimize_scalar(at, bounds=(grid[i - 1], grid[i + 1]), method="bounded").x) for i in low]
