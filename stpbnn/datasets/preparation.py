"""What turns a table into inputs of a network, and its outputs into the units of the table: learned once, then kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stpbnn._validation import numeric, shown
from stpbnn._validation import text as check_text
from stpbnn.datasets.column_kinds import Category, Label, Number, plain_target, read_column

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Preparation"]

FORMAT = 1
MANY = 30  # columns that a report names


@dataclass(frozen=True)
class Preparation:
    """How a table becomes inputs X of a network, and outputs f of the network numbers in the units of the table.

    A column of numbers is shifted and scaled, x = (v - m)/s, and a column of categories becomes an indicator for
    each; m, s and what stands for missing values are those of the training rows. Targets are y = (t - m)/s, so that
    predictions are t = s f + m.

    Parameters
    ----------
    inputs : tuple of Number and Category
        The columns that the network sees, in its order.
    targets : tuple of Number, or one Label
        The columns of targets, one for each output; or the one that names the classes.
    sources : mapping of str to str
        The SHA-256 of the files, by name; empty where the table was not read from files.
    notes : tuple of str
        What was done besides, a sentence each: rows that were dropped and the like.

    Examples
    --------
    >>> house = Preparation((Number("area", 90.0, 30.0), Category("kind", ("flat", "house"))),
    ...                     (Number("price", 400.0, 100.0),))
    >>> house.feature_names
    ('area', 'kind=flat', 'kind=house')
    >>> house.transform({"kind": ["house", "flat"], "area": [120, 75]})
    array([[ 1. ,  0. ,  1. ],
           [-0.5,  1. ,  0. ]])
    >>> house.in_units([0.5, -1.0]), house.spread_in_units([0.1, 0.2])
    (array([450., 300.]), array([10., 20.]))
    >>> Preparation.from_json(house.to_json()) == house
    True
    """

    inputs: tuple[Number | Category, ...]
    targets: tuple[Number | Label, ...]
    sources: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the columns of X."""
        return tuple(feature for column in self.inputs for feature in column.features)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the targets."""
        return tuple(target.name for target in self.targets)

    def transform(self, table: Any) -> NDArray[np.float64]:
        """Return the inputs X (n, N0) of a table; columns that the network does not see are left aside.

        Parameters
        ----------
        table : frame, mapping of names to columns, or (n, number of input columns) array
            A frame of pandas or polars has its columns by name; an array has those of `inputs`, in their order.

        Raises
        ------
        ValueError
            For a column that is not there, a missing value, a text that is no number, a category that training has
            not seen: by column and row.
        """
        table = frame(table, [column.name for column in self.inputs])
        return np.hstack([column.transform(_column(table, column.name)) for column in self.inputs])

    def transform_targets(self, table: Any) -> NDArray:
        """Return the targets y (n,), or (n, D) for several, of a table that has them; of classes their labels."""
        table = frame(table, self.target_names)
        y = np.hstack([target.transform(_column(table, target.name)) for target in self.targets])
        return y[:, 0] if len(self.targets) == 1 else y

    def in_units(self, f: ArrayLike) -> NDArray[np.float64]:
        """Return outputs, means or quantiles in the units of the targets: (...), or (..., D) for several of them."""
        shift, scale = self._affine
        return numeric("f", f) * scale + shift

    def spread_in_units(self, spread: ArrayLike) -> NDArray[np.float64]:
        """Return standard deviations in the units of the targets; log densities become lower by log scale."""
        return numeric("spread", spread) * self._affine[1]

    def describe(self) -> list[str]:
        """Return a line for each column, inputs first, and the notes."""
        targets = [f"target {target}" for target in self.targets]
        return [*map(str, self.inputs), *targets, *self.notes]

    def summary(self) -> list[str]:
        """Return what a report says of the columns: numbers by their names, categories one by one, and the notes.

        Examples
        --------
        >>> Preparation((Number("area", 90.0, 30.0), Category("kind", ("flat", "house"))), (Number("price"),)).summary()
        ['target price, as it is', '1 number: area', 'kind: 2 categories, one-hot encoded: flat, house']
        """
        names = [column.name for column in self.inputs if isinstance(column, Number)]
        shown = ", ".join(names[:MANY]) + (", …" if len(names) > MANY else "")
        scaled = any((target.shift, target.scale) != (0.0, 1.0) for target in self.targets)
        how = "centred and scaled" if scaled else "as it is"
        lines = [f"target {', '.join(self.target_names[:MANY])}, {how}"]
        if isinstance(self.targets[0], Label):
            lines = [f"target {self.targets[0]}"]
        lines += [f"{len(names)} number{'s' * (len(names) > 1)}: {shown}"] if names else []
        return [*lines, *(str(column) for column in self.inputs if isinstance(column, Category)), *self.notes]

    def to_json(self) -> str:
        """Return the preparation as JSON text."""
        inputs = [{"kind": type(column).__name__.lower()} | asdict(column) for column in self.inputs]
        targets = [plain_target(target) for target in self.targets]
        content = {"format": FORMAT, "inputs": inputs, "targets": targets, "sources": self.sources, "notes": self.notes}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """Return the preparation that `to_json` wrote.

        Raises
        ------
        ValueError
            If the text is not one.
        """
        given = check_text("text", text)
        try:
            content = json.loads(given)
            inputs = tuple(read_column(column) for column in content["inputs"])
            targets = tuple(read_column({"kind": "number"} | target) for target in content["targets"])
            return cls(inputs, targets, content["sources"], tuple(content["notes"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the preparation of a table: {type(error).__name__}: {error}") from None

    @property
    def _affine(self) -> tuple[Any, Any]:
        shift = np.array([target.shift for target in self.targets])
        scale = np.array([target.scale for target in self.targets])
        return (shift[0], scale[0]) if len(self.targets) == 1 else (shift, scale)


def frame(table: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return a table as a frame of pandas.

    Parameters
    ----------
    table : frame, mapping or array
        Of an array the columns get the names.
    names : sequence of str
        The names of the columns of an array.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return table.set_axis([str(name) for name in table.columns], axis=1)
    if isinstance(table, Mapping):
        return pd.DataFrame({str(name): column for name, column in table.items()})
    if hasattr(table, "columns") and hasattr(table, "to_dict"):  # of polars: its to_pandas needs another package
        return pd.DataFrame({name: table[name].to_list() for name in table.columns})
    values = np.asarray(table)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(
            f"table: got an array of shape {values.shape}, expected (rows, {len(names)}), one column for each of "
            f"{shown(list(names))}; or give a frame with these columns"
        )
    return pd.DataFrame(values, columns=list(names))


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    """Return the column of this name, the only one."""
    if name not in table.columns:
        there = tuple(map(str, table.columns))
        near = get_close_matches(name, there, n=1, cutoff=0.5)
        told = f"the table lacks it, with the columns {', '.join(map(repr, there))}"
        raise ValueError(f"column {name!r}: {told}{f'; did you mean {near[0]!r}?' if near else ''}")
    found = table[name]
    if found.ndim > 1:
        raise ValueError(f"column {name!r}: got {found.shape[1]} columns of this name, expected one; rename the others")
    return found
