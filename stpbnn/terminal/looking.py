"""The commands that list what there is: models and data sets."""

from __future__ import annotations

import typer
from rich.console import Console

from stpbnn.terminal import records, tables
from stpbnn.terminal.options import JsonOption

__all__ = ["console", "datasets", "models"]

console = Console()


def models(as_json: JsonOption = False) -> None:
    """List the model cards that come with stpbnn, each with its title and the minutes that it takes on two cores."""
    from stpbnn.cards import shipped_cards

    cards = shipped_cards()
    if as_json:
        typer.echo(records.as_json([card.model_dump(mode="json") for card in cards.values()]))
    else:
        console.print(tables.cards_table(cards))


def datasets(as_json: JsonOption = False) -> None:
    """List the data sets, and whether their files are found.

    Files are looked for in the folder that the variable STPBNN_DATA names, else in ~/.cache/stpbnn.
    A card can name another one as data.data_home.
    """
    from stpbnn.datasets import describe

    described = describe()
    if as_json:
        typer.echo(records.as_json([one._asdict() for one in described]))
    else:
        console.print(tables.datasets_table(described))
