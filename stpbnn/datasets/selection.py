"""The columns of a table that are used: what each holds, and rows with missing values refused, left out or kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from stpbnn.datasets import columns
from stpbnn.datasets.columns import as_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Kind", "converted", "kinds", "without_missing"]

type Kind = Literal["number", "category"]
OTHERWISE = "or choose another target"
REMEDY = 'missing = "drop" leaves its row out, missing = "mean" fills it with the mean, drop = [{name}] does without'


def kinds(table: pd.DataFrame, inputs: tuple[str, ...], targets: tuple[str, ...]) -> dict[str, Kind]:
    """Return what each column holds; ValueError, by column and row, for what a network cannot take.

    Parameters
    ----------
    table : pandas.DataFrame
        The table.
    inputs, targets : tuple of str
        Its columns that are used; targets are numbers.
    """
    found: dict[str, Kind] = {name: columns.kind(name, table[name]) for name in inputs}
    for name in targets:
        try:
            found[name] = columns.kind(name, table[name])
        except ValueError as error:
            raise ValueError(str(error).replace(f"leave it out with drop = [{as_text(name)}]", OTHERWISE)) from None
        if found[name] == "category":
            first = next(cell for cell in columns.texts(table[name]) if cell is not None)
            raise ValueError(
                f"column {name!r}, row {table.index[table[name].notna().argmax()]}: got the text {first!r}, expected "
                "numbers as targets; classes are predicted with stpbnn.classification, or write them as numbers such "
                "as -1 and 1"
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
    """Return the rows that are kept, and note what was done; ValueError, by column and row, where that is refused.

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
