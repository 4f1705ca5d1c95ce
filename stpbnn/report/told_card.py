"""What the text of a card tells a report: its tables, its data, and the files that it needs beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["beside", "data_set", "tables"]


def tables(text: str) -> dict[str, Any]:
    """Return the tables of a card; none if its text is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def data_set(card: Mapping[str, Any]) -> str | None:
    """Return which data a card takes: the name of the data set, and the classes; or the table."""
    table = card.get("data")
    if not isinstance(table, dict):
        return None
    if isinstance(table.get("file"), str):
        return Path(table["file"]).name
    if "openml" in table:
        return f"OpenML {table['openml']}"
    if not isinstance(table.get("name"), str):
        return None
    classes = table.get("classes")
    chosen = f", classes {', '.join(map(str, classes))}" if isinstance(classes, list) and classes else ""
    return table["name"] + chosen


def beside(card: Mapping[str, Any]) -> str:
    """Return where to save a card, in words: beside the files that it names; nothing where it names none.

    Examples
    --------
    >>> beside({"data": {"file": "house.csv", "test_file": "new.csv"}})
    ' beside house.csv and new.csv'
    """
    table = card.get("data")
    table = table if isinstance(table, dict) else {}
    files = [path for key in ("file", "test_file") if isinstance(path := table.get(key), str)]
    return f" beside {' and '.join(files)}" if files else ""
