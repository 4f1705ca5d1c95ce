"""Learning the preparation of a table from its training rows: means, scales and categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stpbnn._validation import plural
from stpbnn.datasets.column_kinds import Category, Label, Number
from stpbnn.datasets.columns import MANY, as_text, whole_numbers
from stpbnn.datasets.preparation import Preparation
from stpbnn.datasets.selection import Kind
from stpbnn.datasets.task_arrays import PAPER_MEAN, PAPER_STD

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["learn"]

SHOWN = 20  # columns that a message names


def learn(
    train: pd.DataFrame,
    whole: pd.DataFrame,
    known: Mapping[str, Kind],
    targets: tuple[str, ...],
    *,
    how: str | None,
    normalize_target: bool,
    fill: bool,
    classes: bool = False,
) -> Preparation:
    """Return the preparation of a table.

    Parameters
    ----------
    train, whole : pandas.DataFrame
        The training rows and all rows, as `converted` returns them. All rows tell which categories there are; every
        number is of the training rows.
    known : mapping
        What `kinds` returned.
    targets : tuple of str
        The columns of targets; the others are inputs.
    how : {"features", "pixels", "paper"} or None
        As in `stpbnn.datasets.load`; indicators of categories stay 0 and 1.
    normalize_target : bool
        Whether targets are centred and scaled.
    fill : bool
        Whether missing inputs are filled with means.
    classes : bool
        Whether the target names classes.

    Raises
    ------
    ValueError
        For a column that cannot be scaled.
    """
    inputs = [name for name in known if name not in targets]
    means = {name: float(train[name].mean()) for name in inputs if known[name] == "number"}
    affine = _affine(train, means, how)
    learned: list[Number | Category] = []
    for name in inputs:
        if known[name] == "number":
            learned.append(Number(name, *affine[name], fill=means[name] if fill else None))
        else:
            values = sorted(set(whole[name].dropna()))
            shares = tuple(float((train[name].dropna() == value).mean()) for value in values) if fill else None
            learned.append(Category(name, tuple(values), shares))
    _refuse_constant(train, learned, how)
    if classes:
        return Preparation(tuple(learned), (_label(train[targets[0]], known[targets[0]]),))
    return Preparation(tuple(learned), tuple(_target(train[name], normalize_target) for name in targets))


def _affine(train: pd.DataFrame, means: Mapping[str, float], how: str | None) -> dict[str, tuple[float, float]]:
    """Return shift and scale of each column of numbers."""
    if how == "features":
        return {name: (mean, _spread(train[name].fillna(mean).to_numpy())) for name, mean in means.items()}
    shift, scale = 0.0, 1.0
    if how == "paper":
        shift, scale = 255 * PAPER_MEAN, 255 * PAPER_STD
    elif how == "pixels" and means:
        cells = np.column_stack([train[name].fillna(mean) for name, mean in means.items()])
        shift, scale = float(cells.mean()), _spread(cells)
    return dict.fromkeys(means, (shift, scale))


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation, 0 exactly where all are the same."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinite, which is refused
        return float(values.std()) if np.ptp(values) > 0 else 0.0


def _refuse_constant(train: pd.DataFrame, learned: list[Number | Category], how: str | None) -> None:
    """Refuse columns that cannot be scaled, all at once, so that one line of the card drops them."""
    numbers = [column for column in learned if isinstance(column, Number)]
    constant = [column.name for column in numbers if column.scale == 0]
    constant += [column.name for column in learned if isinstance(column, Category) and len(column.values) == 1]
    if constant and how == "pixels" and len(constant) == len(learned):
        raise ValueError(f"got the same number in all columns and all {len(train)} training rows, expected inputs")
    if constant:
        names = ", ".join(map(as_text, constant[:SHOWN])) + (", ..." if len(constant) > SHOWN else "")
        more = ', or standardize = "pixels" where all columns are of one kind' if len(constant) > SHOWN else ""
        raise ValueError(
            f"column {constant[0]!r}, row {train.index[0]}: got the same value in all {len(train)} training rows, "
            f"expected one that varies; leave it out with drop = [{names}]{more}"
        )
    for column in numbers:
        if not np.finfo(float).tiny < column.scale < np.inf or not np.isfinite(column.shift):
            raise ValueError(
                f"column {column.name!r}: got numbers of a spread beyond double precision; give them in another unit"
            )


def _target(column: pd.Series, normalize: bool) -> Number:
    values = column.to_numpy()
    if not (spread := _spread(values)):
        raise ValueError(
            f"column {column.name!r}, row {column.index[0]}: got the same target in all {len(column)} training rows, "
            "expected one that varies; choose another target"
        )
    if not np.isfinite(spread):
        raise ValueError(
            f"column {column.name!r}: got numbers of a spread beyond double precision; give them in another unit"
        )
    return Number(str(column.name), float(values.mean()), spread) if normalize else Number(str(column.name))


def _label(column: pd.Series, kind: Kind) -> Label:
    """Return the classes of the training rows."""
    labels = whole_numbers(str(column.name), column) if kind == "number" else column.to_numpy()
    values = sorted(set(labels.tolist()))
    if not 1 < len(values) <= MANY:
        raise ValueError(
            f"column {column.name!r}, row {column.index[0]}: got {plural(len(values), 'class')} in {len(column)} "
            f"training rows, expected 2 to {MANY}; choose another target, or more training rows"
        )
    return Label(str(column.name), tuple(values))
