"""The points of a grid: theories, training sizes, hidden layers and temperatures; a table of what is found there."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from stpbnn import _validation as check
from stpbnn.catalogue import short_name
from stpbnn.network import Network

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["GridPoints", "shown", "warn_of_unsolved"]

DIMS = ("theory", "train", "width", "temperature")


@dataclass(frozen=True)
class GridPoints:
    """The axes of a grid, checked.

    Parameters
    ----------
    theories, keys : list of str
        Names of the theories as given, and their keys in the catalogue.
    train : list of int
        Training sizes.
    nets : list of Network
        The networks, one for each width.
    temperatures : list of float
        T.
    """

    theories: list[str]
    keys: list[str]
    train: list[int]
    nets: list[Any]
    temperatures: list[float]

    @classmethod
    def of(
        cls,
        net: Network,
        examples: int,
        *,
        widths: Sequence[Any],
        temperatures: Sequence[float],
        train: Sequence[int] | None,
        theories: Sequence[str],
        known: Collection[str],
        zero: bool,
    ) -> GridPoints:
        """Return the checked points: `known` are keys of theories, `zero` is whether T = 0 is a temperature.

        Raises
        ------
        ValueError
            For an axis that is no list or is empty, and for entries out of range.
        """
        axes = {"widths": widths, "temperatures": temperatures, "theories": theories}
        listed = {name: check.listed(name, values) for name, values in axes.items()}
        sizes = [examples] if train is None else check.listed("train", train)
        return cls(
            listed["theories"],
            [check.one_of("theories", short_name(t) if isinstance(t, str) else t, known) for t in listed["theories"]],
            [_size(i, P, examples) for i, P in enumerate(sizes)],
            [net.with_hidden(width) for width in listed["widths"]],
            [
                check.number(f"temperatures[{i}]", T, minimum=0, inclusive=zero)
                for i, T in enumerate(listed["temperatures"])
            ],
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """How many there are along each axis."""
        return len(self.theories), len(self.train), len(self.nets), len(self.temperatures)

    def named(self, theory: int, train: int, width: int, temperature: int) -> str:
        """Return a point in words."""
        hidden = ", ".join(map(str, self.nets[width].hidden))
        T = self.temperatures[temperature]
        return f"{self.keys[theory]}, P = {self.train[train]}, width {hidden}, T = {T:g}"

    def dataset(
        self, found: Mapping[str, np.ndarray], extra: Mapping[str, str], coords: Mapping[str, Any]
    ) -> xr.Dataset:
        """Return arrays over the grid as a dataset; those in `extra` have one more dimension, by this name."""
        import xarray as xr

        sizes = [net.hidden for net in self.nets]
        labels = [same.pop() if len(same := set(size)) == 1 else "-".join(map(str, size)) for size in sizes]
        labels = labels if all(isinstance(label, int) for label in labels) else [str(label) for label in labels]
        own: dict[str, Any] = dict(zip(DIMS, (self.theories, self.train, labels, self.temperatures), strict=True))
        own["layer"] = np.arange(1, self.nets[0].depth + 1)
        data = {name: (DIMS + ((extra[name],) if name in extra else ()), values) for name, values in found.items()}
        return xr.Dataset(data, own | dict(coords))


def warn_of_unsolved(failures: Mapping[str, str], stacklevel: int) -> None:
    """Warn of points that could not be solved, with the reasons."""
    if failures:
        told = "\n".join(f"{point}: {reason}" for point, reason in failures.items())
        warnings.warn(
            f"{check.plural(len(failures), 'point')} of the grid could not be solved and are NaN:\n{told}",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )


def shown(rows: Iterable[Any], progress: bool, title: str | None, total: int | None = None) -> Iterator[Any]:
    """Return an iterator, with a progress bar if `progress`."""
    if not progress:
        return iter(rows)
    from tqdm.auto import tqdm

    return iter(tqdm(rows, desc=title, total=total))


def _size(i: int, P: Any, available: int) -> int:
    P = check.integer(f"train[{i}]", P)
    if available < P:
        raise ValueError(f"train[{i}]: got {P}, expected at most the {available} examples of the training set")
    return int(P)
