"""Reading model cards: from files, by name, with overrides."""

from __future__ import annotations

import codecs
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from stpbnn import _validation as check
from stpbnn._memory import in_words
from stpbnn.cards import code
from stpbnn.cards.checks import closest, hint, mistakes, nearest, shortened, sweep_mistakes
from stpbnn.cards.schema import KEYS, TABLES, Card

LARGEST = 2**16  # bytes of a file
TABLE_FILES = (".csv", ".tsv", ".tab", ".dat", ".data", ".parquet", ".npz", ".npy")
MOST = 10  # mistakes that are listed
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def load_card(card: str | os.PathLike[str], overrides: Iterable[str] = (), *, allow_code: bool = False) -> Card:
    """Read a model card, from a file or by the name of one that is shipped with stpbnn.

    Parameters
    ----------
    card : str or path
        A TOML file, or a name that `shipped_cards` lists.
    overrides : iterable of str
        Changes, "key=value" with dotted keys: ``"network.widths=[50]"``. Values are TOML; text needs no quotes.
    allow_code : bool
        Whether to run the module that an activation "module:function" names, a Python file beside the card or one that
        is installed. Allow it for cards whose code you trust.

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
    allow_code = check.boolean("allow_code", allow_code)
    card, overrides = _given(card, overrides)
    path = _file(card)
    checked = _read(path, [_override(text) for text in overrides])
    with attributed(card, overrides):
        for name in code.named(checked):
            _run_code(name, path.parent, allow_code)
        checked.check()
    return checked


def _run_code(name: str, folder: Path, allowed: bool) -> None:
    """Run the code that an activation names, if it may, unless it has run already."""
    from stpbnn.activations import available

    if allowed or name in available():
        code.allow(name, folder)
        return
    raise code.CodeError(
        f"network.activation: got {shortened(name)!r}, which is code that the card would run; read it, and if you "
        "trust it allow it: --allow-code, or allow_code=True in Python"
    )


@contextmanager
def attributed(card: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Iterator[None]:
    """Put the file, or the override, before the message of a ValueError that begins with a key of a card.

    Parameters
    ----------
    card, overrides
        As in `load_card`.

    Examples
    --------
    >>> with attributed("digits-1hl-erf", ["data.train=5000"]):
    ...     raise ValueError("data.train: got 5000, expected 1797 at most")
    Traceback (most recent call last):
    ValueError: override 'data.train=5000': data.train: got 5000, expected 1797 at most
    """
    card, overrides = _given(card, overrides)
    try:
        yield
    except ValueError as error:
        key = re.split(r"[^a-z_.]", str(error), maxsplit=1)[0]
        if key not in KEYS and key not in TABLES:
            raise
        source = _sources(map(_override, overrides)).get(key, _file(card))
        kind = code.CodeError if isinstance(error, code.CodeError) else ValueError
        raise kind(f"{source}: {error}") from error


def shipped_cards() -> dict[str, Card]:
    """Return the cards that come with stpbnn, by name.

    Examples
    --------
    >>> "digits-1hl-erf" in shipped_cards()
    True
    """
    return {name: _read(path) for name, path in _shipped_files().items()}


def _given(card: Any, overrides: Any) -> tuple[str, list[str]]:
    """Return the name or path of a card and its overrides as text."""
    listed = isinstance(overrides, Iterable) and not isinstance(overrides, str)
    texts: list[Any] = list(overrides) if listed else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"overrides: got {check.shown(overrides)}, expected a list of text key=value")
    return check.path("card", card, "a TOML file or the name of a shipped card"), texts


def _shipped_files() -> dict[str, Path]:
    """Return the files of the shipped cards: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    folder = next((f for f in (package / "models", package.parent / "models") if f.is_dir()), package)
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)}


def _file(card: str | os.PathLike[str]) -> Path:
    """Return the file of a card, given its path or the name of a shipped one."""
    path, shipped = Path(card), _shipped_files()
    if path.suffix == ".toml" or (
        os.path.isfile(path) and not is_table(path)
    ):  # which a name that is too long does not stop
        return path
    if is_table(path):
        raise ValueError(
            f"{card}: is a table, expected a card; `stpbnn new {card} --target COLUMN` writes one for it, and "
            f"`stpbnn run {card} --target COLUMN` runs it as well"
        )
    if path.suffix == ".toml" or os.path.isfile(path):  # which a name that is too long does not stop
        return path
    if str(card) not in shipped:
        near = hint(closest(str(card), shipped))
        raise ValueError(f"{card}: expected a TOML file or one of {', '.join(shipped)}{near}")
    return shipped[str(card)]


def is_table(path: str | os.PathLike[str]) -> bool:
    """Return whether the name of a file is that of a table and not of a card.

    Examples
    --------
    >>> is_table("house.csv.gz"), is_table("house.toml")
    (True, False)
    """
    name = check.path("path", path, "the name of a file")
    return Path(name.lower().removesuffix(".gz")).suffix in TABLE_FILES


class _Change(NamedTuple):
    """An override: its text, the dotted key and the value."""

    text: str
    key: str
    value: Any


def _override(text: str) -> _Change:
    """Split "key=value" and read the value: TOML, or else plain text."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ValueError(f"{_overriding(text)}: expected key=value, such as network.widths=[50]")
    if key not in KEYS:
        near = nearest(key, KEYS) or f"; expected one of {', '.join(KEYS)}"
        raise ValueError(f"{_overriding(text)}: unknown key {shortened(key)}{near}")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # text, or nested too deeply for any key
        return _Change(text, key, value)
    typed = set(parsed) == {"value"} and isinstance(parsed["value"], (str, bool, int, float, list, dict))
    return _Change(text, key, parsed["value"] if typed else value)


def _sources(changes: Iterable[_Change]) -> dict[str, str]:
    """Return for each overridden key where its value comes from."""
    return {change.key: _overriding(change.text) for change in changes}


def _overriding(text: str) -> str:
    return f"override {shortened(text)!r}"


def _read(path: Path, changes: Sequence[_Change] = ()) -> Card:
    """Read and check a card; the network is not built, so that this is quick."""
    raw = _parse(path)
    if not raw:
        raise ValueError(f"{path}: is empty, expected a model card with name, title, network, data and posterior")
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
        lines = [f"{sources.get(key, path)}: {message}" for key, message in wrong.items()]
        more = [f"{path}: {len(lines) - MOST} more mistakes"] if len(lines) > MOST else []
        raise ValueError("\n".join(lines[:MOST] + more))
    given = {change.key for change in changes}
    for key in ("file", "test_file"):
        if key in raw["data"] and f"data.{key}" not in given:
            raw["data"][key] = _beside(path, raw["data"][key])
        if f"data.{key}" in raw.get("sweep", {}):
            raw["sweep"][f"data.{key}"] = [_beside(path, each) for each in raw["sweep"][f"data.{key}"]]
    return Card.model_validate(raw)


def _beside(card: Path, file: str) -> str:
    """Return the absolute path of a file that a card names from its own folder."""
    return os.path.abspath(card.parent / Path(file).expanduser())


def _parse(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: not valid TOML: nested too deeply; expected tables of keys") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid TOML: {str(error).partition(';')[0]}") from None


def _text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without the mark that Windows puts before it."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected a model card, a TOML file") from None
    if content.startswith(MARKS) or 0 in content[:4]:
        raise ValueError(f"{path}: is text in UTF-16, expected UTF-8; save it in that encoding")
    if len(content) > LARGEST:
        raise ValueError(f"{path}: has more than {in_words(LARGEST)}, expected a model card, a TOML file")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not text in UTF-8 (byte {error.start}); expected a model card, a TOML file"
        ) from None


def _dotted(table: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Flatten tables to dotted keys: TOML reads `network.widths = …` as a table in a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{leaf}", entry) for leaf, entry in value.items())
        else:
            yield key, value
