"""The command `new`: a card for a table, which is written once and found again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from stpbnn import _validation as check
from stpbnn.terminal.options import (
    MISSING,
    ClassesOption,
    DropOption,
    MissingOption,
    QuietOption,
    TargetOption,
    VerboseOption,
)

__all__ = ["drafted", "new"]


def new(
    file: Annotated[Path, typer.Argument(help="A table: CSV, TSV, .gz, Parquet, .npz, .npy.", show_default=False)],
    target: TargetOption = None,
    drop: DropOption = None,
    missing: MissingOption = None,
    classes: ClassesOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The card to write.", show_default="NAME.toml, in this folder")
    ] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a card for a table of your own, with settings that suit it and comments that say why."""
    _draft(file, target, drop, missing, classes, out, err=False)


def _draft(
    file: Path,
    target: Sequence[str] | None,
    drop: Sequence[str] | None,
    missing: str | None,
    classes: bool,
    out: Path | None,
    err: bool,
) -> Path:
    """Write a card for a table, say where it is and what comes next."""
    from stpbnn.cards import is_table

    if not target:
        raise ValueError(_no_target(file))
    if not is_table(file) and file.suffix == ".toml":
        raise ValueError(f"{file}: is a card already; run it with `stpbnn run {file}`")
    from stpbnn.cards import drafting

    columns = target[0] if len(target) == 1 else target
    written = drafting.draft(file, columns, classes=classes, drop=drop or (), missing=missing, out=out)
    minutes = written.card.minutes
    typer.echo(f"Card: {written.path} (about {minutes:g} minute{'s' * (minutes != 1)} on two cores)", err=err)
    typer.echo(f"Next: stpbnn run {written.path}", err=err)
    return written.path


def drafted(
    card: str, target: Sequence[str] | None, drop: Sequence[str] | None, missing: str | None, classes: bool
) -> str:
    """Return the given card, or for a table the card that an earlier call wrote, or a new one."""
    from stpbnn.cards import is_table, load_card

    words = {"target": target, "drop": drop, "missing": missing, "classes": classes}
    if not is_table(card):
        if given := next((word for word, value in words.items() if value), None):
            raise ValueError(f"{given}: is for a table, and {card} is a card; see its tables [data] and [network]")
        return card
    file = Path(card)
    path = Path(f"{file.name.split('.')[0]}.toml")
    if not path.exists():
        return str(_draft(file, target, drop, missing, classes, None, err=True))
    if missing is not None:
        check.one_of("missing", missing, MISSING)
    there = load_card(path)
    data, of_classes = there.data, there.network.of_classes
    targets = [data.target] if isinstance(data.target, str) else list(data.target or ())
    has: dict[str, Any] = {"file": Path(data.file or "").resolve(), "target": targets, "drop": list(data.drop or ())}
    has |= {"missing": data.missing or "refuse", "classes": of_classes}
    asked = {word: value for word, value in words.items() if value} | {"file": file.resolve()}
    if other := next((word for word in has if asked.get(word, has[word]) != has[word]), None):
        raise ValueError(
            f"{path}: is there already, with {other} {_told(has[other])}, and {_told(asked[other])} is asked for; "
            f"change or remove it, or run it as it is: stpbnn run {path}"
        )
    typer.echo(f"Card: {path}, which is there already", err=True)
    return str(path)


def _told(value: Any) -> str:
    """Return what a card has, or a call asks for, in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _no_target(file: Path) -> str:
    """Return the message for a table without a target, with its columns."""
    from stpbnn.datasets import read_table

    names = ", ".join(map(str, read_table(file).columns[:20]))
    return f"target: missing, expected the column to predict, with --target COLUMN: one of {names}"
