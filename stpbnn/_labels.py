"""Class labels at the public doors."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from stpbnn import _validation as check

__all__ = [
    "class_labels",
    "distinct_classes",
    "fitting_classes",
    "listed_classes",
    "refuse_no_labels",
    "refuse_unknown_labels",
]


def class_labels(what: str, labels: Any) -> np.ndarray:
    """Return one list of class labels, finite numbers or text, as an array.

    Examples
    --------
    >>> class_labels("y", np.array(["cat", "dog"], dtype=object))
    array(['cat', 'dog'], dtype='<U3')
    """
    refuse_no_labels(what, labels)
    with check.named(what):
        array = np.asarray(labels)
    if array.dtype.kind == "O" and labels is not None:  # such as a column of text in a table
        array = np.asarray(array.tolist())
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{what}: got shape {array.shape}, expected one list of class labels, numbers or text")
    if array.dtype.kind not in "biuUS" and not (array.dtype.kind == "f" and np.isfinite(array).all()):
        raise ValueError(f"{what}: got {array.dtype} values, expected finite numbers or text")
    return array


def distinct_classes(what: str, labels: np.ndarray) -> np.ndarray:
    """Return the different labels, sorted; ValueError for one alone.

    Examples
    --------
    >>> distinct_classes("y", np.array([3, 1, 3]))
    array([1, 3])
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"{what}: got one class only, {classes.tolist()[0]!r}, expected at least two to tell apart; add examples "
            "of another class"
        )
    return classes


def fitting_classes(what: str, labels: np.ndarray, net: Any) -> np.ndarray:
    """Return the different labels, sorted; ValueError where a network with a likelihood of classes has others.

    Examples
    --------
    >>> from stpbnn import FullyConnected
    >>> fitting_classes("y", np.array([3, 1, 3]), FullyConnected((5,), likelihood="bernoulli"))
    array([1, 3])
    """
    classes = distinct_classes(what, labels)
    expected = 2 if net.likelihood == "bernoulli" else net.outputs
    if len(classes) != expected:
        raise ValueError(
            f"{what}: got {len(classes)} classes for a {net.likelihood} likelihood of "
            f"{check.plural(net.outputs, 'output')}, expected {expected}; "
            f"give {type(net).__name__}(..., outputs={len(classes)}, likelihood='categorical')"
        )
    return classes


def refuse_no_labels(what: str, labels: Any) -> None:
    """Refuse what holds no class labels, or labels of mixed type, which NumPy would turn into text in silence."""
    parts = labels if isinstance(labels, (list, tuple)) else [labels]
    if any(np.ma.is_masked(part) for part in parts):
        raise ValueError(f"{what}: got masked values, expected a label for each example; remove or fill them")
    dtype = getattr(labels, "dtype", None)
    if labels is None or (isinstance(dtype, np.dtype) and dtype.kind in "biufUS"):
        return
    with check.named(what):
        items = np.array(labels, dtype=object)
    kinds = {_kind_of_label(label) for label in items.flat}
    if kinds == {"text", "numbers"}:
        raise ValueError(
            f"{what}: got labels of mixed type, text and numbers, expected one of them; convert all of them to text, "
            f"with [str(label) for label in {what}]"
        )
    if others := kinds - {"text", "numbers"}:
        raise ValueError(f"{what}: got {sorted(others)[0]} values as labels, expected finite numbers or text")


def _kind_of_label(label: Any) -> str:
    if isinstance(label, (str, bytes)):
        return "text"
    real = isinstance(label, (numbers.Real, np.bool_)) and not isinstance(label, np.timedelta64)
    return "numbers" if real else type(label).__name__


def listed_classes(labels: Sequence[Any]) -> str:
    """Return the first eight of some classes in words.

    Examples
    --------
    >>> listed_classes([7]), listed_classes(["c", "d"])
    ('the class 7', "the classes 'c', 'd'")
    """
    return f"the class{'es' * (len(labels) > 1)} {', '.join(map(check.shown, labels[:8]))}"


def refuse_unknown_labels(what: str, labels: Any, classes: np.ndarray) -> None:
    """Refuse class labels that the training set lacks, and name them."""
    given = np.asarray(labels)
    unknown = sorted({label for label in given.ravel().tolist() if label not in classes.tolist()}, key=str)
    if unknown:
        raise ValueError(
            f"{what}: got {listed_classes(unknown)}, which the training set lacks; "
            f"expected labels among {check.shown(classes.tolist())}: leave these examples out, or train with some of "
            "them"
        )
