"""Minima: of a function of u = log scale by a scan, of one of several variables by damped Newton steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq, elementwise, minimize_scalar

__all__ = [
    "backtracked",
    "bracket_end",
    "descended",
    "lowest_cells",
    "minima",
    "minima_of_family",
    "minima_of_values",
    "newton_step",
    "scan_points",
]

SCAN_STEP_LOG_SCALE = 0.1  # the two minima of known double-well actions are 2 or more apart
TO_ROUNDING = {"xatol": 0.0, "xrtol": 4e-16, "fatol": 0.0, "frtol": 0.0}

Curve = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]
LONGEST_STEP = 2.0  # in log Q
SMALLEST_SHRINK = 0.5**30
SUFFICIENT = 1e-4  # required share of the fall that the slope promises
ROUNDING = 1e-12  # relative to the value of the action


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


@runtime_checkable
class Evaluation(Protocol):
    """A function at one point: its value, and the size of its gradient there."""

    @property
    def value(self) -> float:
        """S."""

    @property
    def residual(self) -> float:
        """The size of the gradient."""


@runtime_checkable
class Sloped(Evaluation, Protocol):
    """The same with its gradient, in coordinates in which a step is taken from there."""

    @property
    def gradient(self) -> Float[np.ndarray, " k"]:
        """The gradient."""


def newton_step(
    gradient: Float[np.ndarray, " k"], hessian: Float[np.ndarray, "k k"], smallest: float
) -> Float[np.ndarray, " k"]:
    """Return a step downhill: curvatures count by their size, at least `smallest`, and long steps are shortened."""
    curvatures, directions = np.linalg.eigh(hessian)
    step = -directions @ ((directions.T @ gradient) / np.maximum(np.abs(curvatures), smallest))
    return step * min(1.0, LONGEST_STEP / float(np.abs(step).max() + 1e-300))


def backtracked[At: Evaluation](at: At, trial: Callable[[float], At], promised: float, scale: float) -> At | None:
    """Return the first point where the function has fallen, going back from a full step; or None.

    Where it has fallen to its rounding, the residual has to halve.

    Parameters
    ----------
    at : Evaluation
        The point that is left.
    trial : callable
        Evaluation at a part of the step, between 0 and 1; LinAlgError where there is none.
    promised : float
        The fall that the slope promises for the whole step.
    scale : float
        The size of the terms of the value, which sets its rounding.
    """
    rounding, shrink = ROUNDING * (abs(at.value) + scale), 1.0
    while shrink > SMALLEST_SHRINK:
        try:
            there = trial(shrink)
        except np.linalg.LinAlgError:  # outside of the region where the function is defined
            shrink /= 2
            continue
        level = there.value <= at.value + rounding
        if there.value < at.value - SUFFICIENT * shrink * abs(promised) or (level and there.residual < at.residual / 2):
            return there
        if level and shrink < 1e-3:
            return None
        shrink /= 2
    return None


def descended[At: Sloped](
    at: At,
    moved: Callable[[At, Float[np.ndarray, " k"]], At],
    hessian: Callable[[At], Float[np.ndarray, "k k"]],
    *,
    smallest: float,
    scale: float,
    steps: int,
    settled: Callable[[At], bool] = lambda at: False,
) -> At:
    """Return the point to which Newton steps lead, each shortened until the function falls.

    They end where a point is settled, where no part of a step leads down, or after so many.

    Parameters
    ----------
    at : Sloped
        The point where they begin.
    moved : callable
        The evaluation a step away from a point; LinAlgError where there is none.
    hessian : callable
        The Hessian at a point.
    smallest : float
        The smallest curvature of a step.
    scale : float
        The size of the terms of the value, which sets its rounding.
    steps : int
        The largest number of steps.
    settled : callable
        Whether a point is good enough.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> def at(x):
    ...     return SimpleNamespace(x=x, value=float(np.cosh(x[0])), gradient=np.sinh(x), residual=float(abs(x[0])))
    >>> end = descended(
    ...     at(np.array([3.0])),
    ...     lambda here, step: at(here.x + step),
    ...     lambda here: np.cosh(here.x)[:, None],
    ...     smallest=1e-6,
    ...     scale=1.0,
    ...     steps=20,
    ... )
    >>> end.residual < 1e-9
    True
    """
    for _ in range(steps):
        if settled(at):
            break
        here, step = at, newton_step(at.gradient, hessian(at), smallest)
        better = backtracked(here, lambda part: moved(here, part * step), float(here.gradient @ step), scale)  # noqa: B023
        if better is None:
            break
        at = better
    return at
