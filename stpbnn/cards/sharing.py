"""A card for other people: without the paths of the machine that it was run on."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

from stpbnn.cards.schema import Card

__all__ = ["shared"]

FILES = ("file", "test_file")


def shared(card: Card) -> Card:
    """Return a card that finds its files beside it: by their names, or by their paths from the folder of them all.

    Examples
    --------
    >>> from stpbnn.cards.schema import Data
    >>> card = Card.model_construct(data=Data(file="/home/me/house.csv", target="price"), sweep={})
    >>> shared(card).data.file
    'house.csv'
    """
    swept = {key: card.sweep[key] for name in FILES if (key := f"data.{name}") in card.sweep}
    given = {name: path for name in FILES if (path := getattr(card.data, name))}
    paths = [*given.values(), *chain.from_iterable(swept.values())]
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]) if paths else ""

    def inside(path: str) -> str:
        return Path(os.path.relpath(path, root)).as_posix()

    files = {name: inside(path) for name, path in given.items()}
    sweep = {key: tuple(map(inside, some)) for key, some in swept.items()}
    data = card.data.model_copy(update=files | {"data_home": None})
    return card.model_copy(update={"data": data, "sweep": {**card.sweep, **sweep}})
