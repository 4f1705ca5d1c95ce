"""Steps to a stationary point: Newton's, shortened until the function falls, and Anderson's to a fixed point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

__all__ = ["backtracked", "descended", "extrapolated", "newton_step"]

LONGEST_STEP = 2.0  # in log Q
SMALLEST_SHRINK = 0.5**30
SUFFICIENT = 1e-4  # required share of the fall that the slope promises
ROUNDING = 1e-12  # relative to the value of the action
RANK = 1e-8  # singular values of the updates, relative to the largest, that count as zero


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


def extrapolated(
    known: Sequence[tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]], part: float
) -> Float[np.ndarray, " n"]:
    """Return Anderson's step to a fixed point, from the last of these states, each with its update.

    Of a single state the step is a part of its update.

    Examples
    --------
    Of a linear map one pair more than it has dimensions is enough.

    >>> states = [np.array([0.0]), np.array([1.0])]
    >>> step = extrapolated([(state, 3 - 0.5 * state) for state in states], part=1.0)
    >>> states[-1] + step
    array([6.])
    """
    (state, update), *others = reversed(known)
    if not others:
        return part * update
    states, updates = (
        np.stack([last - one for one in ones], axis=1)
        for last, ones in zip((state, update), zip(*others, strict=True), strict=True)
    )
    weights = np.linalg.lstsq(updates, update, rcond=RANK)[0]
    return update - (states + updates) @ weights
