"""Which columns and rows of a table are used: inputs and targets, rows without missing values, training and test."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stpbnn._validation import one_of, shown
from stpbnn.datasets import columns
from stpbnn.datasets.columns import as_text
from stpbnn.datasets.task_arrays import Table, share_out

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Kind", "Roles", "converted", "is_test", "kinds", "parts", "roles", "without_missing"]

type Kind = Literal["number", "category"]
OTHERWISE = "choose another target"
MIXED = f"where it names classes write all of them as text, or all as whole numbers; else {OTHERWISE}"
REMEDY = 'missing = "drop" leaves its row out, missing = "mean" fills it with the mean, drop = [{name}] does without'


def kinds(
    table: pd.DataFrame, inputs: tuple[str, ...], targets: tuple[str, ...], *, classes: bool = False
) -> dict[str, Kind]:
    """Return what each column holds; ValueError, by column and row, for what a network cannot take.

    Parameters
    ----------
    table : pandas.DataFrame
        The table.
    inputs, targets : tuple of str
        Its columns that are used; targets are numbers.
    classes : bool
        Whether the one target names classes, as text or whole numbers.
    """
    found: dict[str, Kind] = {name: columns.column_kind(name, table[name]) for name in inputs}
    if classes and len(targets) > 1:
        raise ValueError(f"target: got {len(targets)} columns, expected one, which names the class of each row")
    for name in targets:
        try:
            found[name] = columns.column_kind(name, table[name])
        except ValueError as error:
            told, mixed = str(error), "expected a number" in str(error) and "alone" not in str(error)
            otherwise = MIXED if mixed else OTHERWISE
            raise ValueError(told.replace(f"leave it out with drop = [{as_text(name)}]", otherwise)) from None
        if found[name] == "category" and not classes:
            first = next(cell for cell in columns.texts(table[name]) if cell is not None)
            raise ValueError(
                f"column {name!r}, row {table.index[table[name].notna().argmax()]}: got the text {first!r}, expected "
                'numbers as targets; for classes give the network a likelihood, "bernoulli" for two of them and '
                '"categorical" for more, or write them as numbers such as -1 and 1'
            )
    return found


def converted(table: pd.DataFrame, known: Mapping[str, Kind]) -> pd.DataFrame:
    """Return the columns that are used: numbers as float, NaN where missing, and categories as text or None."""
    import pandas as pd

    found = {}
    for name, kind in known.items():
        cells = columns.numbers(name, table[name]) if kind == "number" else columns.texts(table[name])
        found[name] = pd.Series(cells, table.index, dtype="float64" if kind == "number" else object)
    return pd.DataFrame(found, index=table.index)


def without_missing(table: pd.DataFrame, targets: tuple[str, ...], missing: str, notes: list[str]) -> pd.DataFrame:
    """Return the rows that are kept, and note what was done; ValueError, by column and row, for what is refused.

    Parameters
    ----------
    table : pandas.DataFrame
        The columns that are used, as `converted` returns them.
    targets : tuple of str
        Those of targets, which are never filled.
    missing : {"refuse", "drop", "mean"}
        What to do about missing values.
    notes : list of str
        Where the notes go.
    """
    absent = table.isna().to_numpy()
    if missing == "drop":
        kept = ~absent.any(axis=1)
        if not kept.all():
            notes.append(f"{(~kept).sum()} of {len(kept)} rows were left out, for missing values")
        return table[kept]
    for name, gone in zip(table.columns, absent.T, strict=True):
        if name in targets:
            columns.refuse_missing(name, table[name], gone, 'remove its row, which missing = "drop" does')
        elif missing == "refuse":
            columns.refuse_missing(name, table[name], gone, REMEDY.format(name=as_text(name)))
        elif gone.any():
            notes.append(f"{gone.sum()} missing values of {name} were filled with the mean of the training rows")
    return table


class Roles(NamedTuple):
    """Which columns are what."""

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    split: str | None


def roles(table: pd.DataFrame, target: object, features: object, drop: object, split: str | None) -> Roles:
    """Return which columns are what; ValueError where one is missing or named twice."""
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
