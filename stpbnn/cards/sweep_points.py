"""The points of a card's sweep: a card for each, and the names that tables and data sets give to its keys."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stpbnn import _validation as check
from stpbnn.cards.schema import TABLES, Card

__all__ = [
    "CHANNELS",
    "DIMENSIONS",
    "TEMPERATURE",
    "WIDTHS",
    "changed",
    "count",
    "dimension",
    "labels",
    "points",
    "selected",
]

WIDTHS, CHANNELS, TEMPERATURE = "network.widths", "network.channels", "posterior.temperature"
DIMENSIONS = {WIDTHS: "width", CHANNELS: "width", TEMPERATURE: "temperature", "data.train": "train"}


def points(card: Card) -> dict[tuple[int, ...], Card]:
    """Return the card at every point of its sweep, by the places in the lists of values.

    Parameters
    ----------
    card : Card
        A card; without a sweep its one point is the card itself.

    Raises
    ------
    ValueError
        If a value cannot stand in its place.

    Examples
    --------
    >>> from stpbnn.cards import load_card
    >>> card = load_card("smoke-1hl-linear").model_copy(update={"sweep": {"network.widths": ([5], [50])}})
    >>> {place: at.network.widths for place, at in points(card).items()}
    {(0,): (5,), (1,): (50,)}
    """
    check.instance("card", card, Card)
    base = card.model_copy(update={"sweep": {}})
    places = itertools.product(*(range(len(values)) for values in card.sweep.values()))
    return {
        place: changed(base, {key: values[i] for (key, values), i in zip(card.sweep.items(), place, strict=True)})
        for place in places
    }


def count(card: Card) -> int:
    """Return the number of points of a card's sweep."""
    return math.prod(len(values) for values in card.sweep.values())


def selected(card: Card, where: Mapping[str, Sequence[Any]]) -> set[tuple[int, ...]]:
    """Return the places of the points of a sweep that have the chosen values.

    Parameters
    ----------
    card : Card
        A card with a sweep.
    where : mapping of str to sequence
        For some keys of the sweep, by their dotted or their short names, coordinates as `labels` writes them.

    Raises
    ------
    ValueError
        For a key or a value that is not in the sweep.

    Examples
    --------
    >>> from stpbnn.cards import load_card
    >>> sorted(selected(load_card("figure1-mnist"), {"train": [50, 100], "network.widths": ["800"]}))
    [(0, 2), (1, 2)]
    """
    asked = {dimension(key): [str(value) for value in values] for key, values in where.items()}
    names = {dimension(key): list(map(str, labels(key, values))) for key, values in card.sweep.items()}
    for name, values in asked.items():
        if name not in names:
            raise ValueError(f"where: got {name!r}, expected a key of the sweep of {card.name}: {', '.join(names)}")
        if unknown := [value for value in values if value not in names[name]]:
            raise ValueError(f"where: got {name}={unknown[0]}, expected some of {', '.join(names[name])}")
    taken = [[i for i, label in enumerate(row) if label in asked.get(name, row)] for name, row in names.items()]
    return set(itertools.product(*taken))


def changed(card: Card, values: Mapping[str, Any]) -> Card:
    """Return the card with other values of some dotted keys, checked."""
    for key, value in values.items():
        table, _, leaf = key.partition(".")
        old = getattr(card, table)
        kept = {} if old is None else old.model_dump()
        card = card.model_copy(update={table: TABLES[table].model_validate({**kept, leaf: value})})
    return card


def dimension(key: str) -> str:
    """Return the name of the dimension that belongs to a dotted key: a short one for those of learning curves."""
    return DIMENSIONS.get(key, key)


def labels(key: str, values: Iterable[Any]) -> list[Any]:
    """Return the coordinates that belong to the values of a key: numbers, or else text.

    Examples
    --------
    >>> labels("network.widths", [[50], [200]]), labels("network.widths", [[50], [50, 20]])
    ([50, 200], ['50', '50-20'])
    """
    values = list(values)
    sizes = key in (WIDTHS, CHANNELS) and len({len(width) for width in values}) == 1
    if sizes and all(len(set(width)) == 1 for width in values):
        return [width[0] for width in values]
    if any(isinstance(value, (list, tuple)) for value in values):
        return ["-".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value) for value in values]
    return values if len({isinstance(value, str) for value in values}) == 1 else [str(value) for value in values]
