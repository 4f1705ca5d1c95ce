"""The table [data] of a card: a data set by name, a file of one's own, or a set of OpenML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt, Strict

from stpbnn import _validation as check
from stpbnn.cards.section import NonEmpty, Section, Seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Arrays", "Data"]

type Arrays = tuple[NDArray, NDArray, NDArray, NDArray]  # X, y, Xt, yt
Names = Annotated[tuple[str, ...], Strict(False), NonEmpty]
Fraction = Annotated[float, Field(gt=0, lt=1)]

SOURCES = ("name", "file", "openml")
OF_NAMES = ("classes", "size", "labels", "noise", "hidden_width")  # keys of data sets by name alone
OF_FILES = ("test_file", "separator", "decimal", "encoding")
OF_TABLES = ("target", "features", "drop", "split", "missing", "normalize_target")


class Data(Section):
    """[data]: the arguments of stpbnn.datasets.load, or of stpbnn.datasets.load_table."""

    name: str | None = Field(default=None, description='the name of a data set, such as "digits"')
    file: str | None = Field(
        default=None, description='the path of a table, from the folder of the card, such as "house.csv"'
    )
    openml: PositiveInt | str | None = Field(
        default=None, description="the number of a data set of OpenML, or its name"
    )
    target: str | Names | None = Field(default=None, description="the column to predict, or a list of them")
    features: Names | None = Field(default=None, description="a list of columns; leave it out for all others")
    drop: Annotated[tuple[str, ...], Strict(False)] | None = Field(
        default=None, description="a list of columns that are left out"
    )
    classes: Annotated[tuple[int, ...], Strict(False), NonEmpty] | None = Field(
        default=None, description="a list of classes, such as [0, 1]"
    )
    train: PositiveInt | None = Field(default=None, description="a whole number from 1")
    test: PositiveInt | Fraction | None = Field(
        default=None, description="a whole number from 1; of a table also a fraction between 0 and 1"
    )
    test_file: str | None = Field(default=None, description="the path of a table with the test set")
    split: str | None = Field(default=None, description='the column that says "train" or "test"')
    separator: str | None = Field(default=None, description='one character, such as ";"')
    decimal: Literal[".", ","] | None = Field(default=None, description='"." or ","')
    encoding: str | None = Field(default=None, description='the encoding of a text file, such as "cp1252"')
    missing: Literal["refuse", "drop", "mean"] | None = Field(
        default=None, description='one of "refuse", "drop", "mean"'
    )
    size: PositiveInt | None = Field(default=None, description="the number of inputs, from 1")
    labels: Annotated[tuple[float, float], Strict(False)] | Literal["one-hot"] | None = Field(
        default=None, description='two numbers, such as [-1, 1], or "one-hot"'
    )
    standardize: Literal["auto", "paper", "pixels", "features", "none"] = Field(
        default="auto", description='one of "auto", "paper", "pixels", "features", "none"'
    )
    normalize_target: bool | None = Field(default=None, description="true or false")
    seed: Seed | None = Field(default=None, description="a whole number from 0; leave it out for the order of the file")
    data_home: str | None = Field(default=None, description="the path of the folder of the data")
    noise: Annotated[float, Field(ge=0)] | None = Field(default=None, description="a number from 0")
    hidden_width: PositiveInt | None = Field(default=None, description="a whole number from 1")

    @property
    def label(self) -> str:
        """What messages and reports call the data."""
        if self.file is not None:
            return Path(self.file).name
        return str(self.name) if self.name is not None else f"OpenML {self.openml}"

    @property
    def is_table(self) -> bool:
        """Whether the data are a table of one's own or of OpenML."""
        return self.name is None

    def check(self) -> None:
        """Refuse keys that do not go together, by ValueError."""
        given = [key for key in SOURCES if getattr(self, key) is not None]
        if not given:
            raise ValueError('data.name: missing, expected the name of a data set; or file = "house.csv" for your own')
        if len(given) > 1:
            raise ValueError(f"data.{given[1]}: got it beside data.{given[0]}, expected one of them; leave one out")
        if self.name is not None and looks_like_a_file(self.name):
            raise ValueError(f"data.name: got {self.name!r}, which is a file; did you mean data.file?")
        foreign: tuple[str, ...] = (*OF_FILES, *OF_TABLES) if not self.is_table else OF_NAMES
        if self.openml is not None:
            foreign += OF_FILES
        for key in foreign:
            if getattr(self, key) is not None:
                owner = "is for a table (data.file)" if not self.is_table else "is not for it"
                raise ValueError(
                    f"data.{key}: got it with data.{given[0]} = {self.label!r}, and it {owner}; leave it out"
                )
        if not self.is_table:
            if isinstance(self.test, float):
                raise ValueError(f"data.test: got {self.test}, expected a whole number; fractions are for tables")
        elif self.file is not None and self.target is None:
            raise ValueError("data.target: missing, expected the column to predict, or a list of them")

    def load(self, *, classes: bool = False) -> Arrays:
        """Return X, y and the test set Xt, yt; ValueError, naming the key, if the data cannot be had so.

        Those of a table are a `stpbnn.datasets.Task`, whose `preparation` gives predictions back their units.

        Parameters
        ----------
        classes : bool
            Whether the targets are class labels, as a likelihood of classes takes them.
        """
        from stpbnn import datasets

        classes = check.boolean("classes", classes)
        self.check()
        options = self.model_dump()
        try:
            if self.is_table:
                return datasets.load_table(**_of_table(options), classes=classes)
            return datasets.load(**_of_name(options) | ({"labels": "classes"} if classes else {}))
        except ValueError as error:  # begins with the argument, or tells of a file
            said = str(error) if self.openml is None else re.sub("^file:", "openml:", str(error))
            named = re.match(r"(\w+)[:=]", said)
            raise ValueError(f"data{'.' if named and named[1] in options else ': '}{said}") from None


def looks_like_a_file(name: str) -> bool:
    """Return whether a name looks like the path of a table."""
    return "/" in name or "\\" in name or re.search(r"\.[a-z]{2,7}(\.gz)?$", name.lower()) is not None


def _of_name(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `load`."""
    kept = {key: value for key, value in options.items() if key not in ("file", "openml", *OF_FILES, *OF_TABLES)}
    return kept | {"standardize": None if options["standardize"] == "none" else options["standardize"]}


def _of_table(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `load_table`: those that are given."""
    kept = {key: value for key, value in options.items() if key not in ("name", "data_home", "openml", *OF_NAMES)}
    if options["openml"] is not None:
        from stpbnn.datasets import fetch_table

        kept["file"], targets = fetch_table(options["openml"], options["data_home"])
        kept["target"] = options["target"] or targets
    how = {"auto": "features", "none": None}.get(options["standardize"], options["standardize"])
    return {key: value for key, value in kept.items() if value is not None} | {"standardize": how}
