"""Mistakes in a card, each phrased once: the key, what was given, what was expected, the nearest key."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from stpbnn.cards.schema import KEYS, SWEEPABLE, TABLES, Card, toml_value

LARGEST = 2**63 - 1  # the largest whole number of TOML
SHOWN = 60  # letters of a value
SYNONYMS = {  # names for keys that people know from elsewhere
    "data.path": "data.file",
    "data.csv": "data.file",
    "data.table": "data.file",
    "data.url": "data.file",
    "data.dataset": "data.name",
    "data.label": "data.target",
    "data.y": "data.target",
    "data.columns": "data.features",
    "data.inputs": "data.features",
    "data.exclude": "data.drop",
    "data.ignore": "data.drop",
    "data.sep": "data.separator",
    "data.delimiter": "data.separator",
    "data.test_fraction": "data.test",
    "data.test_size": "data.test",
    "data.na": "data.missing",
    "data.impute": "data.missing",
    "data.scale": "data.standardize",
}


def mistakes(raw: Mapping[str, Any]) -> dict[str, str]:
    """Check a card against the schema; return the messages by dotted key, one for each mistaken key.

    Parameters
    ----------
    raw : mapping
        The card as TOML gives it, with the keys of its sweep dotted.

    Examples
    --------
    >>> mistakes({"name": "a", "title": "b", "minutes": 0, "network": {"width": [5]}, "data": {"name": "digits"},
    ...           "posterior": {"temperature": 1}})
    {'minutes': 'minutes: got 0, expected a positive number, the expected time on two cores',
     'network.width': 'unknown key network.width; did you mean network.widths?'}
    """
    found = _found(raw)
    unknown = {key: _near(key, (*KEYS, *TABLES)) for key, kind in found.items() if kind == "extra_forbidden"}
    messages = {}
    for key, kind in found.items():
        if key in unknown:
            messages[key] = f"unknown key {_named(key)}{hint(unknown[key]) or f'; expected one of {_fellows(key)}'}"
        elif kind != "missing":
            messages[key] = f"{key}: got {_got(raw, key)}, expected {_expected(key)}"
        elif key not in unknown.values():  # a misspelt key is one mistake, not two
            messages[key] = f"{key}: missing, expected {_expected(key)}"
    return messages


def sweep_mistakes(raw: Mapping[str, Any]) -> dict[str, str]:
    """Check every value of a sweep in its place on the card; return the messages by dotted key.

    Parameters
    ----------
    raw : mapping
        A card that is valid but for its sweep.
    """
    messages = {}
    for key, values in raw.get("sweep", {}).items():
        if key not in SWEEPABLE:
            near = nearest(key, SWEEPABLE) or f"; expected one of {', '.join(SWEEPABLE)}"
            messages[f"sweep.{key}"] = f"unknown key {_named(f'sweep.{key}')}{near}"
            continue
        table, _, leaf = key.partition(".")
        for i, value in enumerate(values):
            changed = {**raw, table: {**raw.get(table, {}), leaf: value}}
            found = _found(changed)
            if key in found:
                at = f"sweep.{key}[{i}]"
                messages[at] = f"{at}: got {_got(changed, key)}, expected {_expected(key)}"
            elif lacking := next(iter(found), None):  # a key of a table that the card lacks
                messages[f"sweep.{key}"] = f"sweep.{key}: {lacking} is missing, expected {_expected(lacking)}"
    return messages


def nearest(key: str, known: Iterable[str]) -> str:
    """Return the hint '; did you mean …?' with the nearest known key, or nothing."""
    return hint(_near(key, known))


def hint(near: str | None) -> str:
    """Phrase a nearest key."""
    return f"; did you mean {near}?" if near else ""


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the most similar of the known names, whatever the case of letters, if there is one."""
    folded = {other.casefold(): other for other in known}
    return next((folded[near] for near in get_close_matches(name.casefold()[:SHOWN], folded, n=1, cutoff=cutoff)), None)


def _near(key: str, known: Iterable[str]) -> str | None:
    """Return the nearest key: the same in its own table or another, a similar one in its own, or else in any."""
    (table, _, leaf), known = key.rpartition("."), tuple(known)
    if SYNONYMS.get(key.casefold()) in known:
        return SYNONYMS[key.casefold()]
    everywhere = {other.rpartition(".")[2]: other for other in reversed(known)}
    own = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == table}
    for leaves in (own, everywhere):
        if leaf.casefold() in leaves:
            return leaves[leaf.casefold()]
    if near := closest(leaf, own):
        return own[near]
    near = None if table in TABLES else closest(leaf, everywhere, cutoff=0.7)
    return everywhere[near] if near else None


def _found(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return the kinds of pydantic's errors by dotted key: of 'network.widths', whatever lies within its value.

    "missing" is a key alone, not an entry that a list should have.
    """
    try:
        Card.model_validate(_bounded(raw))
    except ValidationError as error:
        found = {_dotted(raw, each["loc"]): each["type"] for each in error.errors()}
        return {key: "short" if kind == "missing" and _given(raw, key) else kind for key, kind in found.items()}
    return {}


def _given(raw: Mapping[str, Any], key: str) -> bool:
    """Return whether a card has a key."""
    table, _, leaf = key.partition(".")
    return table in raw and (not leaf or leaf in raw[table])


def _bounded(value: Any, tables: int = 2) -> Any:
    """Replace whole numbers that TOML does not have by infinity, which no key takes, in two levels of tables."""
    if isinstance(value, Mapping):
        return {key: _bounded(entry, tables - 1) for key, entry in value.items()} if tables else value
    if isinstance(value, (list, tuple)):
        return [_bounded(entry, 0) for entry in value]
    return math.inf if _too_long(value) else value


def _too_long(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_too_long, value))
    return isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST


def _dotted(raw: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    nested = loc[0] in (*TABLES, "sweep") and len(loc) > 1 and isinstance(raw.get(str(loc[0])), dict)
    return f"{loc[0]}.{loc[1]}" if nested else str(loc[0])


def _fellows(key: str) -> str:
    table, dot, _ = key.partition(".")
    return ", ".join(TABLES[table].model_fields if dot else Card.model_fields)


def _named(key: str) -> str:
    """Show a key, shortened, and quoted where it is no bare one."""
    key = shortened(key)
    return key if re.fullmatch(r"[\w.…-]+", key) else toml_value(key)


def shortened(text: str) -> str:
    """Return the text, cut where it is long."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _expected(key: str) -> str:
    table, _, leaf = key.partition(".")
    if leaf and table in TABLES:
        return str(TABLES[table].model_fields[leaf].description)
    return str(Card.model_fields[table].description)


def _got(raw: Mapping[str, Any], key: str) -> str:
    """Show the value as TOML would write it, shortened."""
    table, _, leaf = key.partition(".")
    value = raw[table][leaf] if leaf else raw[table]
    text = shortened("a table" if isinstance(value, dict) else toml_value(value))
    return f"{text}, a number beyond 64 bits" if _too_long(value) else text
