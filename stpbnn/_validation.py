"""Checks at the public doors: each refuses bad input once, saying what was given, what was expected, what to do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from stpbnn._memory import refuse_beyond

__all__ = [
    "boolean",
    "inputs",
    "instance",
    "integer",
    "number",
    "one_of",
    "out_of_range",
    "room_for_kernels",
    "targets",
]


def one_of(what: str, value: Any, options: Iterable[str]) -> str:
    """Return `value` if it is one of the options; otherwise suggest the nearest one."""
    options = tuple(options)
    if isinstance(value, str) and value in options:
        return value
    folded = {option.casefold(): option for option in reversed(options)}
    near = get_close_matches(str(value).casefold(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
    raise ValueError(f"{what}: got {value!r}, expected one of {', '.join(map(repr, options))}{hint}")


def instance[Kind](what: str, value: Any, kind: type[Kind]) -> Kind:
    """Return `value` if it is one of the public classes of stpbnn that is asked for."""
    if not isinstance(value, kind):
        raise ValueError(f"{what}: got {value!r}, expected a stpbnn.{kind.__name__}")
    return value


def boolean(what: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{what}: got {value!r}, expected True or False")
    return bool(value)


def number(what: str, value: Any, *, minimum: float = 0.0, inclusive: bool = False) -> float:
    """Return `value` as a finite float above `minimum` (or equal to it, where inclusive)."""
    relation = "at least" if inclusive else "greater than"
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not real or not math.isfinite(value) or value < minimum or (value == minimum and not inclusive):
        raise ValueError(f"{what}: got {value!r}, expected a finite number {relation} {minimum:g}")
    return float(value)


def integer(what: str, value: Any, *, minimum: int = 1, below: int | None = None) -> int:
    """Return `value` as an int of at least `minimum`, and below `below` where that is given."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if not whole or value < minimum or (below is not None and value >= below):
        limit = "" if below is None else f" and below {below}"
        raise ValueError(f"{what}: got {value!r}, expected an integer of at least {minimum}{limit}")
    return int(value)


def _finite(what: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{what}: {len(bad)} value(s) are NaN or infinite, the first at index {where}; remove or impute them"
        )


def _numeric(what: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: expected an array of numbers, got {type(value).__name__} ({error})") from None


def inputs(what: str, X: Any, *, features: int | None = None) -> np.ndarray:
    """Return inputs as a finite float64 array of shape (P, N_0)."""
    X = _numeric(what, X)
    if X.ndim != 2:
        raise ValueError(
            f"{what}: got {X.ndim} dimension(s), shape {X.shape}, expected two, (examples, features); "
            "use reshape(-1, 1) for a single feature or reshape(1, -1) for a single example"
        )
    if 0 in X.shape:
        raise ValueError(f"{what}: got shape {X.shape}, expected at least one example and one feature")
    if features is not None and X.shape[1] != features:
        raise ValueError(f"{what}: got {X.shape[1]} features, expected {features} as in the training set")
    _finite(what, X)
    return X


def targets(what: str, y: Any, *, examples: int, outputs: int) -> np.ndarray:
    """Return targets as a finite float64 array: (P,) for one output, (P, D) for more."""
    y = _numeric(what, y)
    if y.ndim == 2 and y.shape[1] == 1 and outputs == 1:
        y = y[:, 0]
    expected: Sequence[int] = (examples,) if outputs == 1 else (examples, outputs)
    if y.shape != tuple(expected):
        raise ValueError(
            f"{what}: got shape {y.shape}, expected {tuple(expected)}: one row for each of the {examples} inputs "
            f"and {outputs} output(s), as FullyConnected(outputs={outputs}) says"
        )
    _finite(what, y)
    return y


def out_of_range(temperature: float, X: np.ndarray, y: np.ndarray) -> ValueError:
    """Return the error for numbers whose squares or ratios overflow."""
    return ValueError(
        f"temperature: got {temperature!r} with inputs up to {np.abs(X).max():.0e} and targets up to "
        f"{np.abs(y).max():.0e}: out of the range of double precision; rescale the data or the temperature"
    )


def room_for_kernels(what: str, examples: int, matrices: int = 3) -> None:
    """Refuse more examples than there is memory for: `matrices` dense P by P kernels in double precision."""
    refuse_beyond(
        matrices * 8 * examples**2, f"{what}: got P = {examples} examples, whose kernels", "take fewer examples"
    )
