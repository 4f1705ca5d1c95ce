"""Class labels at the public doors."""

from __future__ import annotations

from typing import Any

import numpy as np

from stpbnn import _validation as check

__all__ = ["class_labels"]


def class_labels(what: str, labels: Any) -> np.ndarray:
    """Return one list of class labels, finite numbers or text, as an array.

    Examples
    --------
    >>> class_labels("y", np.array(["cat", "dog"], dtype=object))
    array(['cat', 'dog'], dtype='<U3')
    """
    check.refuse_no_labels(what, labels)
    with check.named(what):
        array = np.asarray(labels)
    if array.dtype.kind == "O" and labels is not None:  # such as a column of text in a table
        array = np.asarray(array.tolist())
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{what}: got shape {array.shape}, expected one list of class labels, numbers or text")
    if array.dtype.kind not in "biuUS" and not (array.dtype.kind == "f" and np.isfinite(array).all()):
        raise ValueError(f"{what}: got {array.dtype} values, expected finite numbers or text")
    return array
