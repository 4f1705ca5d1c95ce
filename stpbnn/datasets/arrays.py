"""Tables in the array files of NumPy, .npy and .npz, without pickles."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stpbnn._validation import shown
from stpbnn.files import DAMAGE

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TEST", "table"]

TEST = "_test"  # ends the names of arrays with the rows of the test set
NAMES = {"Xt": "X_test", "yt": "y_test", "X_train": "X", "y_train": "y", "x_train": "x"}


def table(content: bytes, name: str) -> pd.DataFrame:
    """Return the arrays of a file as columns: one of its own name for one number a row, else name0, name1, ...

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        Its name. The columns of an .npy file are x0, x1, ..., unless its array has names.

    Returns
    -------
    pandas.DataFrame
        Its index has the numbers of the rows from 1. Where an .npz file has arrays X_test and y_test (or Xt and yt)
        beside X and y, their rows follow, and a column "split" says which are which.

    Raises
    ------
    ValueError
        If it is damaged, holds pickles, or its arrays have different numbers of rows.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> np.savez(file, X=[[1.0, 2.0], [3.0, 4.0]], y=[5.0, 6.0])
    >>> table(file.getvalue(), "a.npz")
        X0   X1    y
    1  1.0  2.0  5.0
    2  3.0  4.0  6.0
    """
    import pandas as pd

    arrays = _read(content)
    if not isinstance(arrays, dict):
        if arrays.dtype.names:
            arrays = {field: arrays[field] for field in arrays.dtype.names}
        elif arrays.ndim != 2:
            raise ValueError(f"got an array of shape {arrays.shape}, expected (rows, columns)")
        else:
            arrays = {"x": arrays}
    train = {NAMES.get(key, key): array for key, array in arrays.items()}
    test = {key.removesuffix(TEST): train.pop(key) for key in list(train) if key.endswith(TEST)}
    parts = [_frame(train)]
    if test:
        parts = [parts[0].assign(split="train"), _frame(test).assign(split="test")]
        if set(parts[0]) != set(parts[1]):
            raise ValueError(
                f"got the test arrays {', '.join(test)} beside {', '.join(train)}, expected the same names and columns"
            )
    whole = pd.concat(parts)
    return whole.set_axis(np.arange(1, len(whole) + 1))


def _read(content: bytes) -> Any:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {key: loaded[key] for key in loaded.files}
    except (*DAMAGE, MemoryError, OverflowError) as error:
        text = str(error)
        if "pickle" in text:
            raise ValueError(
                "holds Python objects (pickles), which are not read; save arrays of numbers or of text"
            ) from None
        raise ValueError(f"is no whole file of NumPy's ({shown(text)}); save it again") from None


def _frame(arrays: dict[str, NDArray]) -> pd.DataFrame:
    """Return arrays of the same number of rows side by side."""
    import pandas as pd

    rows = {key: len(array) if array.ndim else None for key, array in arrays.items()}
    if len(set(rows.values())) != 1 or None in rows.values():
        told = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "no arrays"
        raise ValueError(f"got {told}; expected arrays with as many rows each, such as X (rows, inputs) and y (rows,)")
    parts = []
    for key, array in arrays.items():
        flat = array.reshape(len(array), -1) if len(array) else array.reshape(0, max(1, array[:0].size))
        parts.append(
            pd.DataFrame(flat, columns=[key] if array.ndim == 1 else [f"{key}{i}" for i in range(flat.shape[1])])
        )
    return pd.concat(parts, axis=1)
