"""The points of a card's sweep: a card for each, and the names that tables and data sets give to its keys."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

from stpbnn.cards.schema import Card

__all__ = ["DIMENSIONS", "TEMPERATURE", "WIDTHS", "changed", "count", "dimension", "labels", "points"]

WIDTHS, TEMPERATURE = "network.widths", "posterior.temperature"
DIMENSIONS = {WIDTHS: "width", TEMPERATURE: "temperature", "data.train": "train"}


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
    base = card.model_copy(update={"sweep": {}})
    places = itertools.product(*(range(len(values)) for values in card.sweep.values()))
    return {
        place: changed(base, {key: values[i] for (key, values), i in zip(card.sweep.items(), place, strict=True)})
        for place in places
    }


def count(card: Card) -> int:
    """Return the number of points of a card's sweep."""
    return math.prod(len(values) for values in card.sweep.values())


def changed(card: Card, values: Mapping[str, Any]) -> Card:
    """Return the card with other values of some dotted keys, checked."""
    for key, value in values.items():
        table, _, leaf = key.partition(".")
        old = getattr(card, table)
        card = card.model_copy(update={table: type(old).model_validate({**old.model_dump(), leaf: value})})
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
    if key == WIDTHS and len({len(width) for width in values}) == 1 and all(len(set(width)) == 1 for width in values):
        return [width[0] for width in values]
    if any(isinstance(value, (list, tuple)) for value in values):
        return ["-".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value) for value in values]
    return values if len({isinstance(value, str) for value in values}) == 1 else [str(value) for value in values]
