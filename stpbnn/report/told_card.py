"""What the text of a card tells a report: its tables, its data, and how others repeat what it has made."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Steps", "data_set", "steps", "tables"]


class Steps(NamedTuple):
    """How to repeat a run: beside which files its card is saved, in words, the call, and whether it needs arrays."""

    beside: str
    call: str
    arrays: bool


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


def steps(card: Mapping[str, Any], command: str = "run") -> Steps:
    """Return how others repeat what a card has made: beside which files they save it, and what they call then.

    Parameters
    ----------
    card : mapping
        The tables of the card.
    command : {"run", "sweep"}
        What made it.

    Examples
    --------
    >>> steps({"data": {"file": "house.csv"}, "network": {"activation": "mine:soft"}})
    Steps(beside=' beside house.csv and mine.py', call='stpbnn run card.toml -o run --allow-code', arrays=False)
    """
    modules = [name.partition(":")[0] for name in _texts(card, "network", "activation") if ":" in name]
    files = [*_texts(card, "data", "file"), *_texts(card, "data", "test_file")]
    files += [f"{module}.py" for module in modules if "." not in module]  # a package is installed
    *others, last = dict.fromkeys(files) or ("",)
    beside = f" beside {' and '.join(filter(None, (', '.join(others), last)))}" if last else ""
    folder = command == "run"
    if arrays := "arrays" in _texts(card, "data", "name"):
        words = ', folder="run"' * folder + ", allow_code=True" * bool(modules)
        return Steps(beside, f'stpbnn.{command}("card.toml", data=(X, y, Xt, yt){words})', arrays)
    return Steps(beside, f"stpbnn {command} card.toml{' -o run' * folder}{' --allow-code' * bool(modules)}", arrays)


def _texts(card: Mapping[str, Any], table: str, key: str) -> list[str]:
    """Return the texts that a key has, in its table and in the sweep."""
    own, sweep = (found if isinstance(found := card.get(name), dict) else {} for name in (table, "sweep"))
    swept = sweep.get(f"{table}.{key}")
    return [each for each in (own.get(key), *(swept if isinstance(swept, list) else ())) if isinstance(each, str)]
