"""Checks at the public doors: each refuses bad input once, saying what was given, what was expected, what to do."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from stpbnn._memory import refuse_beyond

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "array",
    "boolean",
    "data_set",
    "inputs",
    "instance",
    "integer",
    "listed",
    "named",
    "number",
    "numeric",
    "one_of",
    "out_of_range",
    "path",
    "plural",
    "real",
    "refuse_no_numbers",
    "room_for_kernels",
    "shown",
    "targets",
    "text",
    "tree",
]

AS_ROWS = "reshape(len(X), -1), which makes each example one row of numbers"
LONGEST = 120  # characters of a value that a message shows
NO_NUMBERS = {
    "c": "Complex data not supported: expected real numbers; give the real part, or both parts as numbers of their own",
    "M": "got dates, expected numbers; count them in a unit of your choice, such as days since the first",
    "m": "got time spans, expected numbers; divide them by a unit of your choice, such as one day",
    "U": "got text, expected numbers; convert it, with astype(float) for example",
}
CLASSES = (
    "got text, expected numbers; convert it, with astype(float) for example, or where it names classes take "
    "stpbnn.classification: one_hot(y) gives unit vectors, for a network of as many outputs"
)
KINDS = ((complex, "c"), (np.complexfloating, "c"), (np.datetime64, "M"), (np.timedelta64, "m"), ((str, bytes), "U"))


def shown(value: Any) -> str:
    """Return the value as a message shows it: in one line, and not too long."""
    try:
        line = " ".join(repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        return "a number of thousands of digits"
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 20]} ... {line[-15:]}"


def one_of(what: str, value: Any, options: Iterable[str]) -> str:
    """Return `value` if it is one of the options; otherwise suggest the nearest one."""
    options = tuple(options)
    if isinstance(value, str) and value in options:
        return value
    folded = {option.casefold(): option for option in reversed(options)}
    text = value[:LONGEST].casefold() if isinstance(value, str) else ""
    near = get_close_matches(text, folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
    raise ValueError(f"{what}: got {shown(value)}, expected one of {', '.join(map(repr, options))}{hint}")


def instance[Kind](what: str, value: Any, *kinds: type[Kind]) -> Kind:
    """Return `value` if it is an instance of one of these public classes."""
    if not isinstance(value, kinds):
        packages = [kind.__module__.split(".")[0] for kind in kinds]
        articles = ["an" if package[0] in "aeiox" else "a" for package in packages]
        names = [f"{a} {p}.{kind.__name__}" for a, p, kind in zip(articles, packages, kinds, strict=True)]
        raise ValueError(f"{what}: got {shown(value)}, expected {' or '.join(names)}")
    return value


def tree(what: str, value: Any) -> xr.DataTree:
    """Return `value` if it is an xarray.DataTree, as posteriors are."""
    import xarray as xr

    if not isinstance(value, xr.DataTree):
        raise ValueError(f"{what}: got {shown(value)}, expected the xarray.DataTree that stpbnn.sample returned")
    return value


def data_set(what: str, value: Any, *variables: str, source: str = "stpbnn.compare") -> xr.Dataset:
    """Return `value` if it is an xarray.Dataset with these variables."""
    import xarray as xr

    instance(what, value, xr.Dataset)
    for name in variables:
        if name not in value:
            raise ValueError(f"{what}: got no variable {name!r}, expected what {source} returned")
    return value


def boolean(what: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{what}: got {shown(value)}, expected True or False")
    return bool(value)


def text(what: str, value: Any) -> str:
    """Return `value` if it is text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what}: got {shown(value)}, expected text that is not empty")
    return value


def path(what: str, value: Any, expected: str = "the path of a folder") -> str:
    """Return the text of a path that is not empty."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"{what}: got {shown(value)}, expected {expected}")
    return os.fsdecode(value)


def real(what: str, value: Any) -> float:
    """Return `value` as a float, NaN and infinity included."""
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_, np.timedelta64)):
        raise ValueError(f"{what}: got {shown(value)}, expected a number")
    with named(what):
        return float(value)


def number(what: str, value: Any, *, minimum: float = 0.0, inclusive: bool = False) -> float:
    """Return `value` as a finite float above `minimum` (or equal to it, where inclusive)."""
    relation = "at least" if inclusive else "greater than"
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_, np.timedelta64))
    try:
        finite = real and math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of double precision
        finite = False
    if not finite or value < minimum or (value == minimum and not inclusive):
        raise ValueError(f"{what}: got {shown(value)}, expected a finite number {relation} {minimum:g}")
    return float(value)


def integer(what: str, value: Any, *, minimum: int = 1, below: int | None = None) -> int:
    """Return `value` as an int of at least `minimum`, and below `below` where that is given, at most 64 bits."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_, np.timedelta64))
    if not whole or not minimum <= value < (2**63 if below is None else below):
        limit = f" and below {below}" if below is not None else " and below 2**63" if whole and value > 0 else ""
        raise ValueError(f"{what}: got {shown(value)}, expected an integer of at least {minimum}{limit}")
    return int(value)


def listed(what: str, values: Any) -> list[Any]:
    """Return the values of a list, a range, an array or another iterable, of which there is at least one.

    Examples
    --------
    >>> listed("widths", range(2, 4))
    [2, 3]
    >>> listed("widths", {"widths": 2})
    Traceback (most recent call last):
    ValueError: widths: got {'widths': 2}, expected a list with at least one entry
    """
    found = [] if isinstance(values, (str, bytes, Mapping)) or not np.iterable(values) else list(values)
    if not found:
        raise ValueError(f"{what}: got {shown(values)}, expected a list with at least one entry")
    return found


def plural(count: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> plural(1, "chain"), plural(2, "chain"), plural(0, "class")
    ('1 chain', '2 chains', '0 classes')
    """
    ending = "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{'' if count == 1 else ending}"


def refuse_no_numbers(what: str, value: Any) -> None:
    """Refuse what NumPy would turn into numbers in silence: hidden values, text, dates, time spans, complex numbers."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    if hidden := sum(int(np.ma.getmaskarray(part).sum()) for part in parts if isinstance(part, np.ma.MaskedArray)):
        raise ValueError(f"{what}: got {plural(hidden, 'masked value')}; fill, remove or impute them")
    try:
        values = np.asarray(value)
    except (TypeError, ValueError):  # such as rows of several lengths: not in silence
        return
    kind = values.dtype.kind.replace("S", "U")
    if kind == "O":
        kind = next((kind for item in values.flat for types, kind in KINDS if isinstance(item, types)), "O")
    if kind in NO_NUMBERS:
        told = CLASSES if kind == "U" and what.startswith("y") else NO_NUMBERS[kind]
        raise ValueError(f"{what}: {told}")


def _finite(what: str, array: np.ndarray) -> np.ndarray:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{what}: got {plural(len(bad), 'NaN or infinite value')}, the first at index {where}; remove or impute "
            "such values"
        )
    return array


def numeric(what: str, value: Any) -> np.ndarray:
    """Return numbers as a float64 array, a copy of the caller's."""
    refuse_no_numbers(what, value)
    try:
        with np.errstate(over="ignore"):  # infinite, which is refused
            values = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{what}: expected an array of numbers, got {type(value).__name__} ({str(error).splitlines()[0]})"
        ) from None
    if value is None:  # NumPy takes None for NaN
        raise ValueError(f"{what}: expected an array of numbers, got None")
    return values


def array(what: str, value: Any) -> np.ndarray:
    """Return numbers as a finite float64 array of any shape."""
    return _finite(what, numeric(what, value))


def inputs(what: str, X: Any, *, features: int | None = None) -> np.ndarray:
    """Return inputs as a finite float64 array of shape (P, N_0), a copy of the caller's."""
    X = numeric(what, X)
    if X.ndim != 2:
        remedy = AS_ROWS if X.ndim > 2 else "reshape(-1, 1) for a single feature or reshape(1, -1) for a single example"
        told = f"got {plural(X.ndim, 'dimension')}, shape {X.shape}, expected two, (examples, features); use {remedy}"
        raise ValueError(f"{what}: {told}")
    if 0 in X.shape:
        raise ValueError(f"{what}: got shape {X.shape}, expected at least one example and one feature")
    if features is not None and X.shape[1] != features:
        raise ValueError(f"{what}: got {X.shape[1]} features, expected {features} as in the training set")
    return _finite(what, X)


def targets(what: str, y: Any, *, examples: int, outputs: int) -> np.ndarray:
    """Return targets as a finite float64 array, a copy of the caller's: (P,) for one output, (P, D) for more."""
    y = numeric(what, y)
    if y.ndim == 2 and y.shape[1] == 1 and outputs == 1:
        y = y[:, 0]
    expected: Sequence[int] = (examples,) if outputs == 1 else (examples, outputs)
    if y.shape != tuple(expected):
        raise ValueError(
            f"{what}: got shape {y.shape}, expected {tuple(expected)}: one row for each of the {examples} inputs "
            f"and {plural(outputs, 'output')}, as outputs={outputs} of the network says"
        )
    return _finite(what, y)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Make the errors of another library's checks name the argument, in one line."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        told = " ".join(str(error).split())
        remedy = f" Use {AS_ROWS}." if "dim <= 2" in told else ""
        raise kind(f"{what}: {told}{remedy}") from None


def out_of_range(temperature: Any, X: np.ndarray, y: np.ndarray) -> ValueError:
    """Return the error for numbers whose squares or ratios overflow."""
    return ValueError(
        f"temperature: got {shown(temperature)} with inputs up to {np.abs(X).max():.0e} and targets up to "
        f"{np.abs(y).max():.0e}: out of the range of double precision; rescale the data or the temperature"
    )


def room_for_kernels(what: str, examples: int, matrices: int = 3) -> None:
    """Refuse more examples than there is memory for: `matrices` dense P by P kernels in double precision."""
    refuse_beyond(
        matrices * 8 * examples**2, f"{what}: got P = {examples} examples, whose kernels", "take fewer examples"
    )
