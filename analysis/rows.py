"""Rows of results in CSV files: read with numbers as numbers, written whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stpbnn.files import written_whole


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig") as file:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows, with the columns of the first."""
    with written_whole(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def fill(path: Path, keys: tuple[str, ...], cases: Iterable[tuple[Any, ...]], run: Callable[..., Any]) -> None:
    """Run the cases that have no row, and add their rows one by one; a case has the values of the keys."""
    for case in cases:
        rows = read_rows(path)
        if case not in {tuple(row[key] for key in keys) for row in rows}:
            write_rows(path, [*rows, run(*case)])


def _value(text: str) -> Any:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)
