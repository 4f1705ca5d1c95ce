"""Reading model cards: from files, by name, with overrides."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stpbnn.cards.mistakes import mistakes, nearest, sweep_mistakes
from stpbnn.cards.schema import KEYS, Card


def load_card(card: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Card:
    """Read a model card, from a file or by the name of one that is shipped with stpbnn.

    Parameters
    ----------
    card : str or path
        A TOML file, or a name that `shipped_cards` lists.
    overrides : iterable of str
        Changes, "key=value" with dotted keys: ``"network.widths=[50]"``. Values are TOML; text needs no quotes.

    Returns
    -------
    Card
        The checked card.

    Raises
    ------
    ValueError
        If there is no such card, or it is not valid: a line for each mistake with file, key, what was given and what
        was expected.

    Examples
    --------
    >>> load_card("digits-1hl-erf", ["network.widths=[50]"]).network.widths
    (50,)
    >>> load_card("digits-1hl-erf", ["network.width=[50]"])
    Traceback (most recent call last):
    ValueError: override 'network.width=[50]': unknown key network.width; did you mean network.widths?
    """
    path, changes = _file(card), [_override(text) for text in overrides]
    checked = _read(path, changes)
    try:
        checked.build()
    except ValueError as error:
        key = str(error).partition(":")[0].partition("[")[0]
        raise ValueError(f"{_sources(changes).get(key, path)}: {error}") from None
    return checked


def shipped_cards() -> dict[str, Card]:
    """Return the cards that come with stpbnn, by name.

    Examples
    --------
    >>> "digits-1hl-erf" in shipped_cards()
    True
    """
    return {name: _read(path) for name, path in _shipped_files().items()}


def _shipped_files() -> dict[str, Path]:
    """Return the files of the shipped cards: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    folder = next((f for f in (package / "models", package.parent / "models") if f.is_dir()), package)
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)}


def _file(card: str | os.PathLike[str]) -> Path:
    """Return the file that is meant: a path, or the name of a shipped card."""
    path, shipped = Path(card), _shipped_files()
    if path.suffix == ".toml" or path.is_file():
        return path
    if str(card) not in shipped:
        near = nearest(str(card), shipped)
        raise ValueError(f"{card}: expected a TOML file or one of {', '.join(shipped)}{near}")
    return shipped[str(card)]


class _Change(NamedTuple):
    """An override: its text, the dotted key and the value."""

    text: str
    key: str
    value: Any


def _override(text: str) -> _Change:
    """Split "key=value" and read the value: TOML, or else plain text."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ValueError(f"override {text!r}: expected key=value, such as network.widths=[50]")
    if key not in KEYS:
        near = nearest(key, KEYS) or f"; expected one of {', '.join(KEYS)}"
        raise ValueError(f"override {text!r}: unknown key {key}{near}")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return _Change(text, key, value)
    typed = set(parsed) == {"value"} and isinstance(parsed["value"], (str, bool, int, float, list, dict))
    return _Change(text, key, parsed["value"] if typed else value)


def _sources(changes: Iterable[_Change]) -> dict[str, str]:
    """Say of each overridden key where its value is from."""
    return {change.key: f"override {change.text!r}" for change in changes}


def _read(path: Path, changes: Sequence[_Change] = ()) -> Card:
    """Read and check a card; the network is not built, so that this is quick."""
    raw = _parse(path)
    for change in changes:
        table, _, leaf = change.key.rpartition(".")
        target = raw.setdefault(table, {}) if table else raw
        if isinstance(target, dict):  # anything else is refused below
            target[leaf] = change.value
    if isinstance(raw.get("sweep"), dict):
        raw["sweep"] = dict(_dotted(raw["sweep"]))
    wrong = mistakes(raw) or sweep_mistakes(raw)
    if wrong:
        sources = _sources(changes)
        raise ValueError("\n".join(f"{sources.get(key, path)}: {message}" for key, message in wrong.items()))
    return Card.model_validate(raw)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected a model card, a TOML file") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not text in UTF-8 (byte {error.start}); expected a model card, a TOML file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Flatten nested tables to dotted keys: TOML reads `network.widths = …` as a table in a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
