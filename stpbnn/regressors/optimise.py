"""The choice of hyper-parameters by an objective such as the log evidence, in the manner of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import OptimizeResult
from scipy.optimize import minimize as scipy_minimize
from sklearn.exceptions import ConvergenceWarning

from stpbnn import _validation as check
from stpbnn._random import random_numbers

__all__ = ["Found", "Objective", "Optimizer", "check_optimizer", "minimise"]

Objective = Callable[[Float[np.ndarray, " n"]], tuple[float, Float[np.ndarray, " n"]]]
Optimizer = Callable[..., tuple[Float[np.ndarray, " n"], float]]
LBFGS = "fmin_l_bfgs_b"
NOTHING: Mapping[tuple[str, str], str] = MappingProxyType({})
FLAT = 1e-3  # of the objective, along the hyper-parameters, at a minimum that was reached
NEAR = 0.3  # logarithms of hyper-parameters, within which two searches end at the same place; at 1 some only passed by
LITTLE = 1e-3  # of the objective, for which a search does not follow another's way to a far end
OTHER_PLACES = 20  # that are tried where the search cannot begin at its start


class Found(NamedTuple):
    """The lowest point, the objective there, and whether no step within the bounds lowers it any more."""

    theta: Float[np.ndarray, " n"]
    value: float
    converged: bool


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is neither the name of an optimizer nor a callable."""
    if not callable(optimizer) and not (isinstance(optimizer, str) and optimizer == LBFGS):
        raise ValueError(
            f"optimizer: got {check.shown(optimizer)}, expected {LBFGS!r}, None, or a callable "
            "optimizer(obj_func, initial_theta, bounds) that returns theta and the value of obj_func there"
        )


def minimise(
    objective: Objective,
    start: Float[np.ndarray, " n"],
    bounds: Float[np.ndarray, "n 2"],
    names: Sequence[str],
    *,
    optimizer: str | Optimizer = LBFGS,
    others: Sequence[Float[np.ndarray, " n"]] = (),
    n_restarts: int = 0,
    random_state: Any = None,
    at_bounds: Mapping[tuple[str, str], str] = NOTHING,
    tolerance: float = 1e7 * float(np.finfo(float).eps),
) -> Found:
    """Return the lowest point that was found, from one start, others that are given, and others drawn at random.

    Where the objective is infinite at all of them, the search begins at the first of a few places within the bounds
    where it is finite.

    Parameters
    ----------
    objective : callable
        From the logarithms of the hyper-parameters to value and gradient; where it raises LinAlgError or OverflowError
        it counts as infinite.
    start : array of shape (n,)
        Logarithms of the hyper-parameters at which the first search starts.
    bounds : array of shape (n, 2)
        Lowest and highest logarithms.
    names : sequence of str
        What warnings call the hyper-parameters.
    optimizer : "fmin_l_bfgs_b" or callable
        SciPy's L-BFGS-B, or a function of scikit-learn's convention: optimizer(obj_func, initial_theta, bounds) with
        obj_func(theta, eval_gradient=True), which returns theta and the value there.
    others : sequence of arrays of shape (n,)
        Starts of searches that come before the one from `start`.
    n_restarts : int
        How many further searches, from starts drawn log-uniformly within the bounds.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.
    at_bounds : mapping
        What it means that a hyper-parameter ends on a bound, by its name and "lower" or "upper", where there is
        something to say.
    tolerance : float
        Relative change of the objective at which SciPy's search ends; its own by default.

    Raises
    ------
    ValueError
        For an unknown optimizer, or restarts within infinite bounds.
    numpy.linalg.LinAlgError, OverflowError
        If the objective is infinite at all that was tried: what it raised last.

    Warns
    -----
    ConvergenceWarning
        If a hyper-parameter ends on a bound, or the search does not converge: always where `converged` is False.

    Examples
    --------
    >>> bowl = lambda theta: (float(np.sum((theta - 1) ** 2)), 2 * (theta - 1))
    >>> found = minimise(bowl, np.zeros(1), np.log([[1e-3, 1e3]]), ["scale"])
    >>> found.theta.round(4), found.converged
    (array([1.]), True)
    """
    check_optimizer(optimizer)
    bounds = np.asarray(bounds, dtype=np.float64)
    if n_restarts and not np.isfinite(bounds).all():
        unbounded = [name for name, pair in zip(names, bounds, strict=True) if not np.isfinite(pair).all()]
        raise ValueError(
            f"n_restarts_optimizer: got {n_restarts} with bounds of {', '.join(unbounded)} that are zero or infinite; "
            "restarts are drawn within the bounds: give finite ones, or n_restarts_optimizer=0"
        )
    random = random_numbers(random_state)
    starts = [np.clip(place, *bounds.T) for place in (*others, start)]
    starts += [random.uniform(*bounds.T) for _ in range(n_restarts)]
    found: list[Any] = []
    search = partial(_lbfgs, tolerance=tolerance, ends=found) if optimizer == LBFGS else optimizer
    assert callable(search)
    walled = _Walled(objective)
    for place in starts:
        found.append(search(walled := walled.anew(), place, bounds))
    theta, value, *failure = min(found, key=lambda end: np.nan_to_num(end[1], nan=np.inf))
    if not np.isfinite(value) and np.isfinite(bounds).all():
        drawn = np.random.RandomState(0).uniform(*bounds.T, size=(OTHER_PLACES, len(bounds)))
        place = next((place for place in drawn if np.isfinite(walled(place)[0])), starts[0])
        theta, value, *failure = search(walled, place, bounds)
    if not np.isfinite(value):
        raise type(walled.failure)(
            f"optimizer: the objective is infinite at every point that was tried, from {_listed(names, starts[0])} on "
            f"({walled.failure})"
        )
    theta, value = np.asarray(theta, dtype=np.float64), float(value)
    downhill = np.abs(np.clip(theta - walled(theta)[1], *bounds.T) - theta).max(initial=0.0)
    converged = bool(downhill < FLAT * (1 + abs(value)))
    if not converged:
        reason = failure[0] if failure and failure[0] else f"a slope of {downhill:.1e} is left where it ended"
        warnings.warn(
            f"the search for hyper-parameters did not converge ({reason}); give other starting values, a larger "
            "temperature, or rescale the data",
            ConvergenceWarning,
            stacklevel=2,
        )
    _warn_of_bounds(theta, bounds, names, at_bounds)
    return Found(theta, value, converged)


class _Walled:
    """The objective in scikit-learn's convention, with a wall where it cannot be computed, and once at each place.

    The wall is so high that a line search steps back, and not further than it needs to; infinite before anything finite
    has been seen.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.best, self.worst = np.inf, -np.inf
        self.failure: ArithmeticError | ValueError = np.linalg.LinAlgError("it is not a finite number")
        self.known: dict[bytes, tuple[float, np.ndarray]] = {}

    def anew(self) -> _Walled:
        """Return the same for another search, which does not depend on how high and low the last one was."""
        other = _Walled(self.objective)
        other.known, other.failure = self.known, self.failure
        return other

    def __call__(self, theta: Float[np.ndarray, " n"], eval_gradient: bool = True) -> Any:
        theta = np.array(theta, dtype=np.float64)
        place = theta.tobytes()
        value, gradient = self.known.get(place) or self._found(theta)
        if np.isfinite(value) and np.isfinite(gradient).all():
            self.known[place] = value, gradient
            self.best, self.worst = min(self.best, value), max(self.worst, value)
        else:
            value = 2 * self.worst - self.best + 1 if np.isfinite(self.best) else np.inf
            gradient = np.zeros(len(theta))
        return (value, gradient.copy()) if eval_gradient else value

    def _found(self, theta: Float[np.ndarray, " n"]) -> tuple[float, np.ndarray]:
        try:
            with np.errstate(all="ignore"):  # far out numbers overflow
                return self.objective(theta)
        except (np.linalg.LinAlgError, OverflowError) as failure:
            self.failure = failure
            return np.inf, np.zeros(0)


def _lbfgs(
    objective: Callable[..., Any],
    start: Float[np.ndarray, " n"],
    bounds: Float[np.ndarray, "n 2"],
    tolerance: float,
    ends: Sequence[tuple[Float[np.ndarray, " n"], float, str]],
) -> tuple[Float[np.ndarray, " n"], float, str]:
    """Return where L-BFGS-B ends, the value there, and what went wrong, if anything.

    It stops where it is about to end at a place where another search has ended.
    """
    if not np.isfinite(objective(start)[0]):
        return start, np.inf, ""

    def watch(intermediate_result: OptimizeResult) -> None:
        theta, value = intermediate_result.x, float(intermediate_result.fun)
        if any(_leads_to(end, theta, value, objective(theta)[1]) for end in ends):
            raise StopIteration

    settings: dict[str, Any] = {"bounds": bounds, "options": {"ftol": tolerance}, "callback": watch if ends else None}
    result = scipy_minimize(objective, start, jac=True, method="L-BFGS-B", **settings)
    return result.x, float(result.fun), "" if result.success else str(result.message)


def _leads_to(
    end: tuple[Float[np.ndarray, " n"], float, str],
    theta: Float[np.ndarray, " n"],
    value: float,
    gradient: Float[np.ndarray, " n"],
) -> bool:
    """Return whether a place lies in the bowl about an end: near, higher, and with the slope of a parabola there.

    A parabola f about its minimum has f(θ) − f(θ*) = (θ − θ*)·∇f(θ)/2; where bounds hold the end, up to twice that.
    Some of θ may be far away where little is left to gain: where f forgets what they are, as the size of a noise that
    vanishes, it falls as an exponential, by (1 − exp(−|θ* − θ|)) |∂f/∂θ|.
    """
    there, lowest, *_ = end
    away, left = theta - there, value - lowest
    far = np.abs(away) >= NEAR
    falls = gradient * (-np.sign(away) * np.expm1(-np.abs(away)) if far.any() else away)
    if not 0 <= left <= falls.sum() <= 3 * left:
        return False
    return not far.any() or bool(left < LITTLE and falls[far].min() >= 0 and falls[~far].sum() >= 0 and not far.all())


def _warn_of_bounds(
    theta: Float[np.ndarray, " n"],
    bounds: Float[np.ndarray, "n 2"],
    names: Sequence[str],
    meanings: Mapping[tuple[str, str], str],
) -> None:
    usual = "the data do not determine it within the bounds: rescale the data, or fix it and learn the others"
    for place, (lower, upper), name in zip(theta, bounds, names, strict=True):
        side, bound = ("lower", lower) if place - lower < upper - place else ("upper", upper)
        if lower < upper and abs(place - bound) < 1e-6 * (1 + abs(bound)):
            warnings.warn(
                f"{name}: the optimum lies on the {side} bound {np.exp(bound):.3g} of the search; "
                f"{meanings.get((name, side), usual)}",
                ConvergenceWarning,
                stacklevel=3,
            )


def _listed(names: Sequence[str], theta: Float[np.ndarray, " n"]) -> str:
    return ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, np.exp(theta), strict=True))
