"""A finished run, read from its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from stpbnn import _validation as check
from stpbnn.cards import Card, code, load_card
from stpbnn.datasets import Preparation
from stpbnn.files import DamagedError, read_bytes, read_netcdf

__all__ = ["AGAIN", "PREPARATION", "Run", "load_run", "stored_card"]

AGAIN = "remove it and run the card again"
PREPARATION = "preparation.json"


@dataclass(frozen=True)
class Run:
    """What a run folder holds."""

    folder: Path
    card: Card
    theory: xr.Dataset
    posterior: xr.DataTree
    comparison: xr.Dataset
    record: Mapping[str, Any]

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    @property
    def preparation(self) -> Preparation | None:
        """What turned the table of the run into inputs, or None where it was given as arrays or by name."""
        path = self.folder / PREPARATION
        try:
            return Preparation.from_json(read_bytes(path).decode())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DamagedError(path, error, AGAIN) from None

    def predict(self, X: Any, *, noise: bool = False, theories: Sequence[str] | None = None) -> xr.Dataset:
        """Return what the posterior and the theories of this run predict at new inputs, in the units of the data.

        Parameters
        ----------
        X : array of shape (n, N_0), or frame
            Inputs: a frame with the columns of the training table, or an array as the card loads it.
        noise : bool
            Whether the laws are those of new targets, with their noise, in the place of the function.
        theories : sequence of str, optional
            Names of some of them, an empty list for the posterior alone; by default all. Those whose solution is
            not in the folder are solved again, which takes as long as in the run.

        Returns
        -------
        xarray.Dataset
            As `stpbnn.forecasts.predict` gives it.
        """
        from stpbnn import forecasts

        return forecasts.predict(self, X, noise=noise, theories=theories)


def load_run(folder: str | os.PathLike[str], *, allow_code: bool = False) -> Run:
    """Read a finished run from its folder.

    Parameters
    ----------
    folder : path
        A run folder.
    allow_code : bool
        Whether to run the module that the activation of its card names, of which the folder has a copy.

    Raises
    ------
    ValueError
        If the folder holds no run, or one that is not finished, or a file of it is damaged.
    OSError
        If a file cannot be read.
    """
    folder, allow_code = Path(check.path("folder", folder)), check.boolean("allow_code", allow_code)
    card = stored_card(folder, allow_code)
    if card is None:
        raise ValueError(f"{folder}: expected a run folder, as `stpbnn run` makes it; there is no card.toml in it")
    for name in ("theory.nc", "posterior.nc", "comparison.nc", "run.json"):
        if not (folder / name).exists():
            again = f"`stpbnn run {folder / 'card.toml'} -o {folder}`"
            raise ValueError(f"{folder}: the run is not finished, there is no {name}; finish it with {again}")
    content = read_bytes(folder / "run.json")
    try:
        record = dict(json.loads(content.decode("utf-8-sig")))
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedError(folder / "run.json", f"not valid JSON: {error}", AGAIN) from None
    return Run(
        folder=folder,
        card=card,
        theory=read_netcdf(folder / "theory.nc", xr.open_dataset, AGAIN),
        posterior=read_netcdf(folder / "posterior.nc", xr.open_datatree, AGAIN),
        comparison=read_netcdf(folder / "comparison.nc", xr.open_dataset, AGAIN),
        record=record,
    )


def stored_card(folder: Path, allow_code: bool = False) -> Card | None:
    """Return the card of a run folder, or None where there is none."""
    try:
        read_bytes(folder / "card.toml")  # what keeps it from being read is no mistake in it
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return load_card(folder / "card.toml", allow_code=allow_code)
    except code.CodeError:
        raise
    except ValueError as error:
        remedy = "choose another folder with -o, or remove this one"
        raise DamagedError(folder / "card.toml", error, remedy) from None
