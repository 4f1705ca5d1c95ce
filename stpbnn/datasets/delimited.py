"""Text tables, a line a row: encoding, separator, decimal mark, header, and lines that do not fit."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from stpbnn._validation import shown
from stpbnn.datasets.columns import ABSENT, is_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SEPARATORS", "parse"]

SEPARATORS = (",", ";", "\t", "|")  # those that are looked for
SAMPLE = 50  # lines that are looked at
MARKS = {  # byte order marks, the longer ones first
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
BINARY = "is no text: it holds zero bytes or control characters, as pictures and programs do"
COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


class _Line(NamedTuple):
    """The number of a line in the file, from 1, and its fields."""

    number: int
    fields: list[str]


def parse(
    content: bytes, separator: str | None = None, decimal: str | None = None, encoding: str | None = None
) -> pd.DataFrame:
    r"""Return the table in the bytes of a text file: columns of numbers where all cells are, else of text.

    Parameters
    ----------
    content : bytes
        The file. A byte order mark, Windows line ends, quotes, blank lines, a separator at the end of each line, lines
        of comments that begin with # and Excel's line "sep=;" are all understood.
    separator : str, optional
        One character. Default: the one of comma, semicolon, tab and bar that makes columns of the first lines.
    decimal : {".", ","}, optional
        Default: the comma in columns where every number has one, or none at all.
    encoding : str, optional
        Default: UTF-8, or what the byte order mark says.

    Returns
    -------
    pandas.DataFrame
        Its index has the numbers of the lines; NaN and None stand for missing values.

    Raises
    ------
    ValueError
        With the line, and what to do.

    Examples
    --------
    >>> parse(b"a;b\r\n1,5;x\r\n2;\r\n")
         a     b
    2  1.5     x
    3  2.0  None
    """
    text = _decode(content, encoding)
    text, separator = _of_excel(text, separator)
    comments, text, skipped = _comments(text)
    if not text.strip():
        raise ValueError("is empty, expected a line of column names and lines of values")
    separator = separator or _separator(text)
    lines = _lines(text, separator, skipped)
    names, rows = _header(next(lines), list(lines), comments, separator)
    return _typed(names, rows, separator, decimal)


def _decode(content: bytes, encoding: str | None) -> str:
    """Return the text, with simple line ends."""
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    try:
        text = content.decode(marked or encoding or "utf-8")
    except LookupError:
        raise ValueError(f'encoding: got {shown(encoding)}, expected one that Python knows, such as "cp1252"') from None
    except UnicodeDecodeError as error:
        if not encoding and any(byte < 9 for byte in content[:2000]):
            raise ValueError(f"{BINARY}; expected a text file such as CSV") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"is not text in {marked or encoding or 'UTF-8'} (line {line}, byte {error.start}); name its encoding, "
            'such as encoding = "cp1252" for Western European Windows'
        ) from None
    if "\0" in text:
        raise ValueError(f"{BINARY}; expected a text file such as CSV, or name its encoding")
    return text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff").rstrip("\x1a")  # the end mark of DOS


def _of_excel(text: str, separator: str | None) -> tuple[str, str | None]:
    """Take off Excel's first line "sep=;"; the line stays as a blank one, so that numbers of lines are right."""
    if found := re.match(r'"?sep=(.)"?\n', text):
        return text[found.end() - 1 :], separator or found[1]
    return text, separator


def _comments(text: str) -> tuple[list[str], str, int]:
    """Split off blank lines and lines of comments at the top; return these, the rest, and how many lines they were."""
    lines = text.split("\n")
    top = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return [line.lstrip("# ") for line in lines[:top] if line.strip()], "\n".join(lines[top:]), top


def _separator(text: str) -> str:
    """Return the separator that cuts the first lines into the same number of fields, the largest one.

    One that quotes do not contradict comes first: in "1,5";"2,5" the comma does not follow a quote.
    """
    best, most = ",", 1
    for whole in (True, False):
        for separator in SEPARATORS if most == 1 else ():
            try:
                sample = [len(line.fields) for line in islice(_lines(text, separator, 0, whole=whole), SAMPLE)]
            except ValueError:
                continue
            fields = max(set(sample), key=sample.count)
            if sample.count(fields) > len(sample) / 2 and fields > most:
                best, most = separator, fields
    words = [len(line.split()) for line in islice(filter(str.strip, text.split("\n")), SAMPLE)]
    if most == 1 and '"' not in text and len(set(words)) == 1 and words[0] > 1:
        return " "
    return best


def _lines(text: str, separator: str, skipped: int, *, whole: bool = True) -> Iterator[_Line]:
    """Yield the lines that are not blank, with their numbers."""
    table = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=whole)
    start = 1
    while True:
        try:
            fields = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"line {skipped + start}: {error}; check the quotes from there on, or name the separator"
            ) from None
        line, start = skipped + start, table.line_num + 1
        fields = [" ".join(field.split()) for field in fields]
        if separator == " ":
            fields = [field for field in fields if field]
        if any(fields):
            yield _Line(line, fields)


def _header(first: _Line, rows: list[_Line], comments: Sequence[str], separator: str) -> tuple[list[str], list[_Line]]:
    """Return the names of the columns, and the rows with as many fields each."""
    names = first.fields
    if all(is_number(name.replace(",", ".")) or name in ABSENT for name in names):
        above = next(_lines(comments[-1], separator, 0), None) if comments else None  # as numpy.savetxt writes it
        if above is None or len(above.fields) != len(names):
            raise ValueError(
                f"line {first.number}: got numbers ({', '.join(names[:3])}, ...), expected the names of the columns; "
                "put a line of names before it"
            )
        names, rows = above.fields, [first, *rows]
    filled = max((_filled(line) for line in rows), default=0)
    while len(names) > filled and not names[-1]:  # a separator at the end of the line
        names = names[:-1]
    if filled == len(names) + 1 and all(len(line.fields) == filled for line in rows) and _numbers_the_rows(rows):
        names = ["", *names]  # R numbers the rows, with no name above
    for line in rows:
        if _filled(line) > len(names) or len(line.fields) < len(names):
            raise ValueError(
                f"line {line.number}: got {len(line.fields)} fields separated by {separator!r}, expected "
                f"{len(names)} as in the header of line {first.number}; correct the line, remove what is above the "
                "header, or name the separator"
            )
    if len(names) < 2:
        raise ValueError(
            f"line {first.number}: got the one column {shown(names[0])}, expected several; name the separator, such as "
            'separator = ";"'
        )
    return _named(names, rows)


def _named(names: list[str], rows: list[_Line]) -> tuple[list[str], list[_Line]]:
    """Return names and rows without a first column of row numbers; refuse missing or repeated names."""
    if names[0] in ("", "Unnamed: 0") and _numbers_the_rows(rows):
        names, rows = names[1:], [_Line(line.number, line.fields[1:]) for line in rows]
    elif not names[0]:
        names = ["row", *names[1:]]
    if "" in names:
        raise ValueError(
            f"column {names.index('') + 1}: has no name, expected one for each of the {len(names)} columns; name it"
        )
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        places = [str(i + 1) for i, name in enumerate(names) if name == twice]
        raise ValueError(
            f"column {twice!r}: got this name {len(places)} times, columns {' and '.join(places)}; rename all but one"
        )
    return names, rows


def _filled(line: _Line) -> int:
    """Return the number of fields up to the last one that is not empty."""
    return max(i + 1 for i, field in enumerate(line.fields) if field)


def _numbers_the_rows(rows: Sequence[_Line]) -> bool:
    """Return whether the first fields number the rows, from 0 or 1."""
    first = [line.fields[0] for line in rows]
    return any(first == [str(i + start) for i in range(len(rows))] for start in (0, 1))


def _typed(names: list[str], rows: list[_Line], separator: str, decimal: str | None) -> pd.DataFrame:
    """Return the frame, with columns of numbers where every cell is one."""
    import pandas as pd

    index = pd.Index([line.number for line in rows])
    cells = {name: [line.fields[i].replace("\u2212", "-") for line in rows] for i, name in enumerate(names)}
    comma = decimal == "," or (decimal is None and any(_is_comma(column, separator) for column in cells.values()))
    table = {}
    for name, column in cells.items():
        if comma:
            _refuse_points(name, column, index, decimal)
            column = [cell.replace(",", ".") if COMMA.fullmatch(cell) else cell for cell in column]
        known = [cell for cell in column if cell not in ABSENT]
        if known and all(map(is_number, known)):
            table[name] = pd.Series(
                [float("nan") if cell in ABSENT else float(cell) for cell in column], index, dtype="float64"
            )
        else:
            table[name] = pd.Series([None if cell in ABSENT else cell for cell in column], index, dtype=object)
    return pd.DataFrame(table, index=index)


def _is_comma(column: Sequence[str], separator: str) -> bool:
    """Return whether a column has numbers with a decimal comma, and none that must be something else."""
    known = [cell for cell in column if cell not in ABSENT]
    fits = [cell for cell in known if COMMA.fullmatch(cell)]
    if not fits or not all(is_number(cell) or COMMA.fullmatch(cell) for cell in known):
        return False
    if any(POINT.fullmatch(cell) for cell in known):
        return False
    return separator != "," or not all(THOUSANDS.fullmatch(cell) for cell in fits)


def _refuse_points(name: str, column: Sequence[str], index: pd.Index, decimal: str | None) -> None:
    """Refuse a column of numbers with points where others have decimal commas: the point may separate thousands."""
    known = [cell for cell in column if cell not in ABSENT]
    place = next((i for i, cell in enumerate(column) if POINT.fullmatch(cell)), None)
    if place is None or not all(is_number(cell) or COMMA.fullmatch(cell) for cell in known):
        return
    where = 'with decimal = ","' if decimal else "where other columns have numbers such as 1,5"
    raise ValueError(
        f"column {name!r}, row {index[place]}: got {column[place]!r} {where}, expected one decimal mark in the whole "
        "file; remove marks between thousands, or correct it"
    )
