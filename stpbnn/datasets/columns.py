"""Columns of a table: which hold numbers and which categories, and what is refused, by column and row.

The rows of a table have labels, which messages show: of a text file the numbers of its lines, the header being 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from stpbnn._validation import shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ABSENT",
    "MANY",
    "as_text",
    "column_kind",
    "is_number",
    "numbers",
    "refuse_missing",
    "texts",
    "whole_numbers",
]

MANY = 30  # categories
ABSENT = frozenset({"", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "<NA>", "?"})
ABSENT_NUMBER = ABSENT | {"None", "none", "-", "."}  # these may be categories
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|(19|20)\d\d[-/](0?[1-9]|1[0-2])"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([T ].*)?|\d{1,2}:\d{2}(:\d{2})?.*"
)
GROUPED = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u2009\u202f]\d{3})+([.,]\d+)?")
UNIT = re.compile(r"[^\d.,+-]{0,4}[+-]?\d[\d.,' ]*\s?[^\d\s]{1,6}|[^\d\s.,+-]{1,4}\s?\d[\d.,' ]*")


def is_number(text: str) -> bool:
    """Return whether a cell is a number, with a decimal point.

    Examples
    --------
    >>> [is_number(text) for text in ("-1.5e3", "1,5", "12 kg", "1_000")]
    [True, False, False, False]
    """
    return NUMBER.fullmatch(text) is not None


def column_kind(name: str, column: pd.Series) -> Literal["number", "category"]:
    """Return what a column holds: numbers, or a few different texts.

    Parameters
    ----------
    name : str
        The column's name, for messages.
    column : pandas.Series
        Its cells, with missing ones.

    Raises
    ------
    ValueError
        For dates, free text, numbers with units, a column without a value, and a single cell that is no number; it
        names the column, the row and what to do.

    Examples
    --------
    >>> import pandas as pd
    >>> column_kind("sex", pd.Series(["f", "m", "f", None])), column_kind("age", pd.Series([31.0, None]))
    ('category', 'number')
    """
    from pandas.api import types

    leave_out = f"leave it out with drop = [{as_text(name)}]"
    if len(column) and not column.notna().any():
        raise ValueError(f"column {name!r}: got no value at all in {len(column)} rows; {leave_out}")
    if column.dtype.name == "category" or types.is_bool_dtype(column.dtype):
        return _few(name, column, leave_out)
    if types.is_datetime64_any_dtype(column.dtype) or types.is_timedelta64_dtype(column.dtype):
        raise _date(name, *_first(column, column.notna().to_numpy()), leave_out)
    if types.is_numeric_dtype(column.dtype):
        if types.is_complex_dtype(column.dtype):
            raise ValueError(f"column {name!r}: got complex numbers, expected real ones; {leave_out}")
        return "number"
    nested = np.array([isinstance(cell, (list, tuple, dict, set, np.ndarray)) for cell in column], dtype=bool)
    if nested.any():
        row, cell = _first(column, nested)
        raise ValueError(f"column {name!r}, row {row}: got {shown(cell)}, expected a number or a text; {leave_out}")
    cells = texts(column)
    known = np.array([cell is not None for cell in cells])
    fits = np.array([cell is not None and is_number(cell) for cell in cells])
    filled = np.array([cell is not None and cell not in ABSENT_NUMBER for cell in cells])
    if not filled.any() or fits[filled].all():
        return "number" if fits.any() or not len(cells) else _few(name, column, leave_out)
    row, cell = _first(column, known & filled & ~fits)
    if _most(DATE, cells, known):
        raise _date(name, row, cell, leave_out)
    if 2 * fits.sum() >= filled.sum() or _most(GROUPED, cells, known):
        why = ", not a unit; remove the row, or" if filled[0] and fits[filled][1:].all() and _begins(str(cell)) else ";"
        raise ValueError(
            f"column {name!r}, row {row}: got {shown(cell)}, expected a number{_why(str(cell))}{why} {leave_out}"
        )
    if len(set(cells) - {None}) > MANY and _most(UNIT, cells, known):
        raise ValueError(
            f"column {name!r}, row {row}: got {shown(cell)}, expected a number alone; remove the unit, or {leave_out}"
        )
    return _few(name, column, leave_out)


def numbers(name: str, column: pd.Series) -> NDArray[np.float64]:
    """Return the numbers of a column, NaN where one is missing.

    Parameters
    ----------
    name : str
        The column's name, for messages.
    column : pandas.Series
        Numbers, or their texts.

    Raises
    ------
    ValueError
        For a cell that is no finite number, with its column and row.
    """
    from pandas.api import types

    if types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        cells = [None if cell in ABSENT_NUMBER else cell for cell in texts(column)]
        wrong = np.array([cell is not None and not is_number(cell) for cell in cells])
        if wrong.any():
            row, cell = _first(column, wrong)
            raise ValueError(
                f"column {name!r}, row {row}: got {shown(cell)}, expected a number{_why(str(cell))}; write one, or "
                "remove the row"
            )
        values = np.array([np.nan if cell is None else float(cell) for cell in cells])
    if np.isinf(values).any():
        row, _ = _first(column, np.isinf(values))
        raise ValueError(f"column {name!r}, row {row}: got an infinite number, expected a finite one; remove the row")
    return values


def whole_numbers(name: str, column: pd.Series) -> NDArray[np.int64]:
    """Return the whole numbers of a column that names classes; ValueError, by column and row, for a fraction.

    Examples
    --------
    >>> import pandas as pd
    >>> whole_numbers("kind", pd.Series([2.0, 1.0]))
    array([2, 1])
    """
    values = numbers(name, column)
    fractions = values % 1 != 0
    if fractions.any():
        place = int(fractions.argmax())
        raise ValueError(
            f"column {name!r}, row {column.index[place]}: got {values[place]:g} as a class, expected text or whole "
            "numbers; for numbers as targets leave the likelihood of classes out"
        )
    return values.astype(np.int64)


def texts(column: pd.Series) -> list[str | None]:
    """Return the cells of a column as text, without spaces around it; None where one is missing."""
    found = [None if absent else str(cell).strip() for cell, absent in zip(column, column.isna(), strict=True)]
    return [None if cell in ABSENT else cell for cell in found]


def refuse_missing(name: str, column: pd.Series, missing: NDArray[np.bool_], remedy: str) -> None:
    """Refuse a column with missing values, by its first one."""
    if missing.any():
        row = column.index[missing.argmax()]
        raise ValueError(f"column {name!r}, row {row}: the value is missing, one of {missing.sum()}; {remedy}")


def as_text(name: str) -> str:
    """Return a name between double quotes, as TOML writes it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _few(name: str, column: pd.Series, leave_out: str) -> Literal["category"]:
    """Return "category" if the different texts of a column are few."""
    cells = [cell for cell in texts(column) if cell is not None]
    different = len(set(cells))
    most = min(MANY, max(2, len(cells) // 2))
    if different > most:
        raise ValueError(
            f"column {name!r}, row {column.index[0]}: got free text, {different} different ones in {len(cells)} rows "
            f"such as {shown(cells[0])}, expected numbers or at most {most} categories; {leave_out}"
        )
    return "category"


def _date(name: str, row: object, cell: object, leave_out: str) -> ValueError:
    return ValueError(
        f"column {name!r}, row {row}: got the date or time {shown(str(cell))}, expected numbers or categories; count "
        f"it in days since the first or the like, or {leave_out}"
    )


def _most(form: re.Pattern[str], cells: Sequence[str | None], known: NDArray[np.bool_]) -> bool:
    return 2 * sum(cell is not None and form.fullmatch(cell) is not None for cell in cells) > int(known.sum())


def _begins(cell: str) -> bool:
    """Return whether a cell that is no number may be a unit, or a part of the header."""
    return cell[0].isalpha() or cell[0] in "[(°%µ"


def _why(cell: str) -> str:
    """Return what keeps a cell from being a number, where that is plain."""
    if GROUPED.fullmatch(cell):
        return " without marks between thousands"
    return " with a decimal point; see decimal" if re.fullmatch(r"[+-]?\d*,\d+", cell) else ""


def _first(column: pd.Series, where: NDArray[np.bool_]) -> tuple[object, object]:
    """Return the row and the cell of the first place."""
    place = int(where.argmax())
    return column.index[place], column.iloc[place]
