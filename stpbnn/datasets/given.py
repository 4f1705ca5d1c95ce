"""Tasks from arrays and frames that are given in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stpbnn import _validation as check
from stpbnn._labels import class_labels
from stpbnn.datasets.column_kinds import Label, Number
from stpbnn.datasets.own import Task
from stpbnn.datasets.preparation import Preparation

__all__ = ["given_task"]


def given_task(data: Sequence[Any], *, classes: bool = False) -> Task:
    """Return the four arrays that were given, checked, with the names of their columns.

    Parameters
    ----------
    data : sequence of four arrays or frames
        X, y, Xt, yt.
    classes : bool
        Whether the targets are class labels.
    """
    if isinstance(data, Task):
        return data
    if not isinstance(data, (tuple, list)) or len(data) != 4:
        raise ValueError(f"data: got {check.shown(data)}, expected the four arrays X, y, Xt, yt")
    if classes:
        return _with_labels(*data)
    X, y, X_test, y_test = (_numbers(name, part) for name, part in zip(("X", "y", "Xt", "yt"), data, strict=True))
    features, targets = _names(data[0]), _names(data[1])
    for name, part, expected in (("Xt", data[2], features), ("yt", data[3], targets)):
        found = _names(part)
        if expected is not None and found is not None and found != expected:
            differ = next((b for a, b in zip(expected, found, strict=False) if a != b), found[-1])
            raise ValueError(f"{name}: got the column {differ!r} in another place, expected {check.shown(expected)}")
    X, X_test = check.inputs("X", X), check.inputs("Xt", X_test, features=np.shape(X)[-1])
    outputs = 1 if y.ndim == 1 else y.shape[1]
    arrays = (
        X,
        check.targets("y", y, examples=len(X), outputs=outputs),
        X_test,
        check.targets("yt", y_test, examples=len(X_test), outputs=outputs),
    )
    return Task(*arrays, preparation=_preparation(features, targets, outputs))


def _with_labels(X: Any, y: Any, X_test: Any, y_test: Any) -> Task:
    """Return inputs as numbers, and labels as they are."""
    features = _names(X)
    inputs = check.inputs("X", _numbers("X", X))
    tests = check.inputs("Xt", _numbers("Xt", X_test), features=inputs.shape[1])
    labels = [
        class_labels(what, getattr(part, "to_numpy", lambda part=part: part)())
        for what, part in (("y", y), ("yt", y_test))
    ]
    for what, found, rows in (("y", labels[0], inputs), ("yt", labels[1], tests)):
        if len(found) != len(rows):
            raise ValueError(f"{what}: got {len(found)} labels, expected {len(rows)}, one for each row of the inputs")
    preparation = None
    if features is not None:
        label = Label((_names(y) or ["class"])[0], tuple(np.unique(labels[0]).tolist()))
        preparation = Preparation(tuple(map(Number, features)), (label,))
    return Task(inputs, labels[0], tests, labels[1], preparation=preparation)


def _names(part: Any) -> list[str] | None:
    """Return the names of the columns of a frame, or that of a series."""
    if (columns := getattr(part, "columns", None)) is not None:
        return [str(name) for name in columns]
    name = getattr(part, "name", None)
    return [name] if isinstance(name, str) and name else None


def _numbers(what: str, part: Any) -> Any:
    """Return the numbers of an array or a frame; refuse a column of text by its name."""
    if getattr(part, "columns", None) is not None and hasattr(part, "to_numpy"):
        for name in part.columns:
            try:
                check.refuse_no_numbers(f"{what}, column {str(name)!r}", part[name].to_numpy())
            except ValueError as error:
                raise ValueError(f"{error}; stpbnn.datasets.load_table encodes the categories of a table") from None
    else:
        check.refuse_no_numbers(what, part)
    return check.numeric(what, part.to_numpy() if hasattr(part, "to_numpy") else part)


def _preparation(features: list[str] | None, targets: list[str] | None, outputs: int) -> Preparation | None:
    """Return the names of the columns as a preparation that changes no number."""
    if features is None:
        return None
    if not targets or len(targets) != outputs:
        targets = ["y"] if outputs == 1 else [f"y{i + 1}" for i in range(outputs)]
    return Preparation(tuple(map(Number, features)), tuple(map(Number, targets)))
