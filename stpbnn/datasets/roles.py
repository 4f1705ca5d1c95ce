"""Which columns of a table are inputs, targets, the split, or none of these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from stpbnn._validation import one_of, shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Roles", "roles"]


class Roles(NamedTuple):
    """Which columns are what."""

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    split: str | None


def roles(table: pd.DataFrame, target: object, features: object, drop: object, split: str | None) -> Roles:
    """Return which columns are what, after a look at whether they are there, once each."""
    there = list(table.columns)
    if target is None:
        raise ValueError(f"target: missing, expected the column to predict, one of {shown(there)}")
    targets, dropped = _names("target", target, there), _names("drop", drop, there)
    inputs = _names("features", features, there) if features is not None else tuple(there)
    if split is not None:
        _names("split", split, there)
    for key, names in {"target": targets, "features": inputs if features is not None else ()}.items():
        if other := next((name for name in names if name in dropped or name == split), None):
            raise ValueError(f"{key}: got {other!r}, which is in drop or is the split as well; leave it out of one")
    if features is not None and (both := next((name for name in inputs if name in targets), None)):
        raise ValueError(f"features: got {both!r}, which is the target; leave it out of the features")
    inputs = tuple(name for name in inputs if name not in (*targets, *dropped, split))
    if not targets or not inputs:
        raise ValueError(f"{'features' if targets else 'target'}: got none, expected one at least of {shown(there)}")
    if twice := next((name for name in (*inputs, *targets) if there.count(name) > 1), None):
        raise ValueError(f"file: column {twice!r}: got {there.count(twice)} columns of this name; rename all but one")
    return Roles(inputs, targets, split)


def _names(key: str, names: Any, there: list[str]) -> tuple[str, ...]:
    """Return names of columns, checked."""
    if not isinstance(names, Iterable):
        raise ValueError(f"{key}: got {shown(names)}, expected the name of a column or a list of them")
    given = (names,) if isinstance(names, str) else tuple(names)
    for name in given:
        one_of(key, name, there)
    if len(set(given)) < len(given):
        raise ValueError(f"{key}: got {shown(list(given))}, expected different columns; name each once")
    return given
