"""Training and test rows of a table: by number, by fraction, by a column, or from two files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stpbnn._validation import shown
from stpbnn.datasets import columns
from stpbnn.datasets.tables import Table, share_out

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["is_test", "parts"]

logger = logging.getLogger(__name__)


def is_test(name: str, column: pd.Series) -> NDArray[np.bool_]:
    """Return which rows a column calls "test", the others being "train"; ValueError, by row, for anything else."""
    cells = [None if cell is None else cell.casefold() for cell in columns.texts(column)]
    for row, cell in zip(column.index, cells, strict=True):
        if cell not in ("train", "test"):
            raise ValueError(f'column {name!r}, row {row}: got {shown(cell)}, expected "train" or "test"; correct it')
    return np.array([cell == "test" for cell in cells], dtype=bool)


def parts(
    name: str, tables: Sequence[pd.DataFrame], target: str, train: int | None, test: float | None, seed: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training and the test rows of one table, or of one each.

    Parameters
    ----------
    name : str
        The file, for messages.
    tables : sequence of pandas.DataFrame
        One or two.
    target : str
        The column of the first target: where rows are sorted by it and not shuffled, a warning is logged.
    train, test, seed : optional
        As in `load_table`.
    """
    if test is not None and test < 1:
        test = max(1, round(test * len(tables[-1])))
    if seed is None and len(tables) == 1 and _sorted(tables[0][target]):
        logger.warning(
            "the rows of %s are sorted by %s, and the last ones are the test set; set seed to take them at random",
            *(name, target),
        )
    places = [Table(np.arange(len(table)), np.arange(len(table))) for table in tables]
    if train == 1:
        raise ValueError("train: got 1 training row, expected two at least, for means and scales")
    chosen = share_out(name, places, train, None if test is None else int(test), seed, "rows")
    return tables[0].iloc[chosen[0].inputs], tables[-1].iloc[chosen[1].inputs]


def _sorted(column: pd.Series) -> bool:
    return column.nunique() > 2 and (column.is_monotonic_increasing or column.is_monotonic_decreasing)
