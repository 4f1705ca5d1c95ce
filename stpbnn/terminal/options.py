"""The words that several commands share."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Annotated

import typer

__all__ = [
    "MISSING",
    "AllowCodeOption",
    "CardArgument",
    "ClassesOption",
    "DropOption",
    "JsonOption",
    "MissingOption",
    "QuietOption",
    "SetOption",
    "StrictOption",
    "TargetOption",
    "VerboseOption",
    "WhereOption",
    "chosen_values",
]

logger = logging.getLogger("stpbnn")

MISSING = ("refuse", "drop", "mean")  # what is done with missing values


def _card_names(incomplete: str) -> list[str]:
    """Return the shipped cards whose names begin so, for the shell to complete."""
    from stpbnn.cards import shipped_cards

    return [name for name in shipped_cards() if name.startswith(incomplete)]


def _set_quiet(wanted: bool) -> bool:
    if wanted:
        logger.setLevel(logging.WARNING)
    return wanted


def _set_verbose(wanted: bool) -> bool:
    if wanted:
        logger.setLevel(logging.DEBUG)
    return wanted


CardArgument = Annotated[
    str,
    typer.Argument(help="A model card: a TOML file, or a name that `stpbnn models` lists.", autocompletion=_card_names),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the card: --set network.widths=[50]. Repeatable."),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE,...", help="Run only some points: --where train=50,100. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, for scripts.")]
AllowCodeOption = Annotated[
    bool,
    typer.Option("--allow-code", help='Run the code that a card names, as activation = "module:function" does.'),
]
TargetOption = Annotated[
    list[str] | None, typer.Option("--target", "-t", metavar="COLUMN", help="The column to predict. Repeatable.")
]
DropOption = Annotated[
    list[str] | None, typer.Option("--drop", metavar="COLUMN", help="Leave this column out. Repeatable.")
]
MissingOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(MISSING),
        help="Refuse missing values, drop their rows, or fill them with means. By default inputs are filled.",
    ),
]
ClassesOption = Annotated[
    bool, typer.Option("--classes", help="The target's whole numbers name classes. Text always does.")
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", "--no-progress", callback=_set_quiet, help="Show no progress bar and no notes."),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", callback=_set_verbose, help="Note every step, and where a mistake comes from."),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 1 unless the posterior has converged and agrees with one of the theories."
    ),
]


def chosen_values(texts: Iterable[str]) -> dict[str, list[str]]:
    """Read what --where was given.

    Examples
    --------
    >>> chosen_values(["train=50,100", "width=200"])
    {'train': ['50', '100'], 'width': ['200']}
    """
    pairs = [(text, *(part.strip() for part in text.partition("="))) for text in texts]
    if wrong := [text for text, key, equals, value in pairs if not (key and equals and value)]:
        raise ValueError(f"where: got {wrong[0]!r}, expected KEY=VALUE,VALUE, such as train=50,100")
    return {key: [value.strip() for value in values.split(",")] for _, key, _, values in pairs}
