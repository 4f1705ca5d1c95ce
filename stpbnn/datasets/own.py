"""Learning tasks from tables of one's own: `load_table`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stpbnn._validation import boolean, integer, number, one_of, plural, shown, text
from stpbnn.datasets import selection, table_files
from stpbnn.datasets.column_kinds import Category
from stpbnn.datasets.columns import as_text
from stpbnn.datasets.preparation import Preparation, frame
from stpbnn.datasets.preparing import learn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Task", "load_table"]

logger = logging.getLogger(__name__)

SCALES = ("features", "pixels", "paper", None)
MISSING = ("refuse", "drop", "mean")
MARKS = (-99, -999, -9999, -99999)  # numbers that some programs write for a missing value
EMPTY = "leave the cell empty if the value is missing"


class _Arrays(NamedTuple):
    X: NDArray[np.float64]
    y: NDArray[np.float64]
    Xt: NDArray[np.float64]
    yt: NDArray[np.float64]


class Task(_Arrays):
    """Training inputs and targets X, y and test inputs and targets Xt, yt; `preparation` says how they came about.

    Examples
    --------
    >>> X, y, Xt, yt = Task(*np.eye(4))
    """

    preparation: Preparation | None

    def __new__(cls, *arrays: NDArray[np.float64], preparation: Preparation | None = None) -> Task:
        """Return the four arrays."""
        self = super().__new__(cls, *arrays)
        self.preparation = preparation
        return self

    def first(self, train: int | None) -> Task:
        """Return the task with the first training rows alone, for a learning curve; None for all of them."""
        X, y, X_test, y_test = self
        if train is not None and integer("train", train) > len(X):
            raise ValueError(f"data.train: got {train}, expected {len(X)} at most, the rows of the training set")
        return Task(X[:train], y[:train], X_test, y_test, preparation=self.preparation)


def load_table(
    file: Any,
    target: str | Sequence[str],
    *,
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    train: int | None = None,
    test: float | None = None,
    test_file: Any = None,
    split: str | None = None,
    seed: int | None = None,
    missing: Literal["refuse", "drop", "mean"] = "refuse",
    standardize: Literal["features", "pixels", "paper"] | None = "features",
    normalize_target: bool = True,
    separator: str | None = None,
    decimal: Literal[".", ","] | None = None,
    encoding: str | None = None,
    classes: bool = False,
) -> Task:
    """Load a table, ready for a network: training inputs and targets, test inputs and targets.

    Columns of numbers are standardised by the training rows, x = (v - m)/s; columns with a few different texts become
    an indicator, 0 or 1, for each. What is neither, such as dates and free text, is refused by column and row.

    Parameters
    ----------
    file : path or frame
        A file that `read_table` reads, or a frame of pandas or polars.
    target : str or sequence of str
        The column of targets, or D of them.
    features : sequence of str, optional
        The columns of inputs. Default: all others.
    drop : sequence of str
        Columns that are left out.
    train : int, optional
        Training rows P. Default: all that the test set leaves.
    test : int or float, optional
        Test rows, or their fraction between 0 and 1. Default: a fifth, or the whole test file.
    test_file : path or frame, optional
        Another table, with the test set.
    split : str, optional
        A column that says "train" or "test" in every row.
    seed : int, optional
        None: rows in the order of the file, the first for training. An integer: they are permuted first.
    missing : {"refuse", "drop", "mean"}
        What to do about missing values: refuse them, leave their rows out, or fill them with the mean of the training
        rows (of a category: with the shares of the categories). Targets are never filled.
    standardize : {"features", "pixels", "paper"} or None
        As in `load`: by each column, by all of them together, (v/255 - 0.1307)/0.3081, or not at all.
    normalize_target : bool
        Whether targets are centred and scaled by the training rows as well.
    separator, decimal, encoding : str, optional
        Of text files, where `read_table` does not find them by itself.
    classes : bool
        Whether the target names classes, as text or whole numbers: y then has the labels themselves.

    Returns
    -------
    Task
        X, y, Xt, yt, and their `preparation`, which gives predictions back their units.

    Raises
    ------
    ValueError
        In one line that names file, column, row and what to do.

    Examples
    --------
    >>> import pandas as pd
    >>> house = pd.DataFrame({"area": [60.0, 90, 120, 75], "kind": ["flat", "flat", "house", "house"],
    ...                       "price": [200.0, 300, 500, 280]})
    >>> X, y, Xt, yt = task = load_table(house, "price", test=1)
    >>> task.preparation.feature_names, X.shape
    (('area', 'kind=flat', 'kind=house'), (3, 3))
    >>> task.preparation.in_units(yt)
    array([280.])
    """
    import pandas as pd

    _check(train, test, test_file, split, missing, standardize, normalize_target, seed, separator, decimal, encoding)
    options = {"separator": separator, "decimal": decimal, "encoding": encoding}
    given = {"file": file} if test_file is None else {"file": file, "test_file": test_file}
    where = [_where(key, source) for key, source in given.items()]
    name = where[0].removeprefix("file: ") if where[0] != "file" else "the table"
    tables = [_read(place, source, options) for place, source in zip(where, given.values(), strict=True)]
    chosen = selection.roles(tables[0], target, features, drop, split)
    with _told(where[0]):
        known = selection.kinds(tables[0], chosen.inputs, chosen.targets, classes=boolean("classes", classes))
        if chosen.split is not None:
            testing = selection.is_test(chosen.split, tables[0][chosen.split])
            tables, where = [tables[0][~testing], tables[0][testing]], where * 2
    notes: list[str] = []
    clean = []
    for place, table in zip(where, tables, strict=True):
        with _told(place):
            clean.append(selection.without_missing(selection.converted(table, known), chosen.targets, missing, notes))
            _refuse_few(clean)
    training, rest = selection.parts(name, clean, chosen.targets[0], train, test, seed)
    with _told(where[0]):
        preparation = learn(
            training,
            pd.concat(clean),
            known,
            chosen.targets,
            how=standardize,
            normalize_target=normalize_target,
            fill=missing == "mean",
            classes=classes,
        )
    preparation = replace(preparation, sources=_sources(given), notes=tuple(notes))
    counted = [name for name in chosen.inputs if known[name] == "number" and _counts(clean[0][name])]
    _say(name, preparation, len(training), len(rest), counted)
    numbers = chosen.inputs if classes else (*chosen.inputs, *chosen.targets)
    for column in (each for each in numbers if known[each] == "number"):
        if (mark := _mark(clean[0][column])) is not None:
            count = (clean[0][column] == mark).sum()
            logger.warning(
                "%s: %s has %g in %s, far from all others; %s", name, column, mark, plural(count, "row"), EMPTY
            )
    arrays = []
    for place, part in ((where[0], training), (where[-1], rest)):
        with _told(place):
            arrays += [preparation.transform(part), preparation.transform_targets(part)]
    return Task(*arrays, preparation=preparation)


def _refuse_few(clean: Sequence[pd.DataFrame]) -> None:
    rows = len(clean[-1])
    if rows < (2 if len(clean) == 1 else 1):
        raise ValueError(
            f"got {plural(rows, 'row')}, expected two at least for training and one for the test; give more"
        )


def _counts(column: pd.Series) -> bool:
    """Return whether a column numbers the rows."""
    return len(column) > 2 and bool((column.diff()[1:] == 1).all())


def _mark(column: pd.Series) -> float | None:
    """Return the number, such as -999, that seems to stand for missing values, or None."""
    least = column.min()
    return least if least in MARKS and (column[column != least] > least / 2).all() else None


def _where(key: str, source: Any) -> str:
    return f"{key}: {source}" if isinstance(source, (str, os.PathLike)) else key


def _sources(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the hashes of the files."""
    files = {key: Path(source) for key, source in given.items() if isinstance(source, (str, os.PathLike))}
    return {f"{key} {path.name}": table_files.digest(path) for key, path in files.items()}


def _check(
    train: object, test: Any, test_file: object, split: object, missing: object, standardize: object,
    normalize_target: object, seed: object, separator: object, decimal: object, encoding: object,
) -> None:  # fmt: skip
    if train is not None:
        integer("train", train)
    if test is not None and number("test", test) >= 1:
        integer("test", test)
    if split is not None:
        text("split", split)
    if split is not None and test_file is not None:
        raise ValueError("split: got a column that splits the file and a test_file; leave one of them out")
    one_of("missing", missing, MISSING)
    if seed is not None:
        integer("seed", seed, minimum=0)
    if standardize is not None:
        one_of("standardize", standardize, [scale for scale in SCALES if scale])
    boolean("normalize_target", normalize_target)
    table_files.refuse_options(separator, decimal, encoding)


def _read(where: str, source: Any, options: dict[str, str | None]) -> pd.DataFrame:
    with _told(where):
        if isinstance(source, (str, os.PathLike)):
            return table_files.read_table(source, **options)
        if not hasattr(source, "columns"):
            raise ValueError(f"got {shown(source)}, expected the path of a file, or a frame with named columns")
        return frame(source, ())


def _say(name: str, preparation: Preparation, train: int, test: int, counted: Sequence[str]) -> None:
    """Log what was made of the table."""
    logger.info(
        "%s: %d training and %d test rows, %d inputs; target %s",
        name, train, test, len(preparation.feature_names), ", ".join(preparation.target_names),
    )  # fmt: skip
    for column in counted:
        logger.warning("%s: %s numbers the rows; leave it out with drop = [%s]", name, column, as_text(column))
    for line in [*(one for one in preparation.inputs if isinstance(one, Category)), *preparation.notes]:
        logger.info("%s: %s", name, line)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Put the argument and the file before a message, unless it names the file."""
    try:
        yield
    except ValueError as error:
        key, _, path = where.partition(": ")
        begins = path and str(error).startswith(path)
        raise ValueError(f"{key if begins else where}: {error}") from None
