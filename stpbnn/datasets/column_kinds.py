"""Columns of a table, each turned into inputs or targets of a network: numbers, categories, labels of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stpbnn._validation import shown
from stpbnn.datasets import columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Category", "Label", "Number", "plain_target", "read_column"]

REMEDY = 'fill it or remove the row; a card with missing = "mean" fills it with the mean of the training rows'


@dataclass(frozen=True)
class Number:
    """A column of numbers v, of which the network sees (v - shift)/scale; `fill` stands for missing ones."""

    name: str
    shift: float = 0.0
    scale: float = 1.0
    fill: float | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the inputs that it becomes: its own."""
        return (self.name,)

    def transform(self, column: pd.Series) -> NDArray[np.float64]:
        """Return (n, 1) inputs."""
        values = columns.numbers(self.name, column)
        missing = np.isnan(values)
        if self.fill is None:
            columns.refuse_missing(self.name, column, missing, REMEDY)
        else:
            values = np.where(missing, self.fill, values)
        return ((values - self.shift) / self.scale)[:, None]

    def __str__(self) -> str:
        return f"{self.name}: a number, of which (value - {self.shift:.6g})/{self.scale:.6g} is taken"


@dataclass(frozen=True)
class Category:
    """A column of categories, of which the network sees an indicator, 0 or 1, for each; `fill` has their means."""

    name: str
    values: tuple[str, ...]
    fill: tuple[float, ...] | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the inputs that it becomes, one for each category."""
        return tuple(f"{self.name}={value}" for value in self.values)

    def transform(self, column: pd.Series) -> NDArray[np.float64]:
        """Return (n, K) inputs."""
        cells = np.array(columns.texts(column), dtype=object)
        missing = np.array([cell is None for cell in cells], dtype=bool)
        if self.fill is None:
            columns.refuse_missing(self.name, column, missing, REMEDY)
        member = cells[:, None] == np.array(self.values, dtype=object)
        unknown = ~missing & ~member.any(axis=1)
        if unknown.any():
            place = unknown.argmax()
            raise ValueError(
                f"column {self.name!r}, row {column.index[place]}: got the category {shown(cells[place])}, expected "
                f"one of {shown(list(self.values))}, which training has seen; correct it, or remove the row"
            )
        indicators = member.astype(np.float64)
        if self.fill is not None:
            indicators[missing] = self.fill
        return indicators

    def __str__(self) -> str:
        return f"{self.name}: {len(self.values)} categories, one-hot encoded: {', '.join(self.values)}"


@dataclass(frozen=True)
class Label:
    """A target that names classes, as text or as whole numbers; nothing is shifted or scaled."""

    name: str
    values: tuple[str | int, ...]
    shift: ClassVar[float] = 0.0
    scale: ClassVar[float] = 1.0

    def transform(self, column: pd.Series) -> NDArray:
        """Return (n, 1) labels."""
        if isinstance(self.values[0], str):
            return np.array(columns.texts(column))[:, None]
        return columns.whole_numbers(self.name, column)[:, None]

    def __str__(self) -> str:
        return f"{self.name}: {len(self.values)} classes: {', '.join(map(str, self.values))}"


def plain_target(target: Number | Label) -> dict[str, Any]:
    """Return a target as plain values, with its kind unless it is a number."""
    return ({"kind": "label"} if isinstance(target, Label) else {}) | asdict(target)


def read_column(column: Mapping[str, Any]) -> Any:
    """Return the column with these plain values, its kind among them."""
    settings = dict(column)
    kind = settings.pop("kind")
    if kind == "number":
        return Number(**settings)
    if kind == "label":
        return Label(settings["name"], tuple(settings["values"]))
    fill = settings["fill"]
    return Category(settings["name"], tuple(settings["values"]), None if fill is None else tuple(fill))
