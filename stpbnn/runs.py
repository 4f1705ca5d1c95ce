"""Runs: a folder that holds a card, its posterior, its theories, their comparison and a report.

A run folder has card.toml, theory.nc, posterior.nc, comparison.nc, run.json and report.html. Each file appears whole,
in this order, and a posterior that is there already is used again. While sampling goes on, its blocks are in the folder
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stpbnn._interrupt import look
from stpbnn.cards import Arrays, Card, load_card
from stpbnn.comparison import compare_predictions
from stpbnn.files import DamagedError, write_netcdf, write_text
from stpbnn.theories import chosen, theory

__all__ = ["Run", "fingerprint", "load_run", "rerender", "run_card"]

logger = logging.getLogger(__name__)

AGAIN = "remove it and run the card again"


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


def run_card(card: Card, folder: str | os.PathLike[str], data: Arrays | None = None, *, progress: bool = True) -> Run:
    """Run a card: closed forms, posterior, comparison and report, in a folder.

    Nothing is written before the data are loaded and the theories solved. A run that was interrupted is taken up by
    the same call: sampling goes on from its last finished block, a posterior that is there already is used again, and
    everything else is quickly made anew.

    Parameters
    ----------
    card : Card
        What to run; a sweep is left aside, so that this is the point that the other tables describe.
    folder : path
        The run folder: a new or an empty one, or that of an earlier run of the same card.
    data : tuple of arrays, optional
        X, y, Xt, yt of the card, where they are loaded already.
    progress : bool
        Whether to show the sampler's progress bar.

    Returns
    -------
    Run
        What the folder now holds.

    Raises
    ------
    ValueError
        If the folder holds something else or is in use, or the data cannot be had or do not suit the network.
    KeyboardInterrupt
        If it was interrupted; finished blocks are in the folder.
    """
    folder = Path(folder)
    _refuse_other(folder, card)
    times: dict[str, float] = {}
    with _timed(times, "data"):
        data = data or card.data.load()
    logger.info("solving the theories: %s", ", ".join(chosen(card)))
    with _timed(times, "theory"):
        predictions = theory(card, data)
    predictions.attrs["fingerprint"] = mark = fingerprint(card, data)
    posterior = _earlier(folder, mark)

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # not finished any more
    write_text(folder / "card.toml", card.to_toml())
    write_netcdf(folder / "theory.nc", predictions)
    if posterior is None:
        posterior = _sample(card, data, mark, folder, progress)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    times["sampling"] = posterior.attrs["wall_time_s"]
    logger.debug("sampling: %.1f s", times["sampling"])
    with _timed(times, "comparison"):
        comparison = compare_predictions(posterior, predictions)
    write_netcdf(folder / "comparison.nc", comparison)
    run = Run(folder, card, predictions, posterior, comparison, _record(card, posterior, times))
    with _timed(times, "report"):
        _write_report(run)
    run = replace(run, record=_record(card, posterior, times))
    write_text(folder / "run.json", json.dumps(run.record, indent=2) + "\n")  # the last file: the run is finished
    return run


def fingerprint(card: Card, data: Arrays) -> str:
    """Return a hash of all that decides on the draws of a run: the settings of its card, and the data themselves.

    Parameters
    ----------
    card : Card
        The card; its name, title, sweep and theories have no part in it, nor where the data lie.
    data : tuple of arrays
        X, y, Xt, yt of the card.

    Examples
    --------
    >>> card = load_card("smoke-1hl-linear")
    >>> len(fingerprint(card, card.data.load()))
    64
    """
    digest = hashlib.sha256(json.dumps(_settings(card), sort_keys=True).encode())
    for array in data:
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a finished run from its folder.

    Parameters
    ----------
    folder : path
        A run folder.

    Raises
    ------
    ValueError
        If the folder holds no run, or one that is not finished.
    """
    folder = Path(folder)
    if not (folder / "card.toml").is_file():
        raise ValueError(f"{folder}: expected a run folder, as `stpbnn run` makes it; there is no card.toml in it")
    card = _card(folder)
    for name in ("theory.nc", "posterior.nc", "comparison.nc", "run.json"):
        if not (folder / name).is_file():
            again = f"`stpbnn run {folder / 'card.toml'} -o {folder}`"
            raise ValueError(f"{folder}: the run is not finished, there is no {name}; finish it with {again}")
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(folder / "run.json", f"not valid JSON: {error}", AGAIN) from None
    return Run(
        folder=folder,
        card=card,
        theory=_read(folder / "theory.nc", xr.open_dataset),
        posterior=_read(folder / "posterior.nc", xr.open_datatree),
        comparison=_read(folder / "comparison.nc", xr.open_dataset),
        record=record,
    )


def rerender(folder: str | os.PathLike[str]) -> Run:
    """Make the comparison and the report of a finished run anew, from its folder alone.

    Parameters
    ----------
    folder : path
        A run folder.

    Raises
    ------
    ValueError
        If the folder holds no run, or one that is not finished.
    """
    run = load_run(folder)
    run = replace(run, comparison=compare_predictions(run.posterior, run.theory))
    write_netcdf(run.folder / "comparison.nc", run.comparison)
    _write_report(run)
    return run


def _settings(card: Card) -> dict[str, Any]:
    """Return all that decides on the draws, by dotted key; where the data lie does not."""
    decisive = {"network", "data", "posterior", "sampler"} | ({"process"} if card.process else set())
    tables = card.model_dump(include=decisive, mode="json")
    flat = {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
    del flat["data.data_home"]
    return flat


def _card(folder: Path) -> Card:
    """Return the card of a run folder."""
    try:
        return load_card(folder / "card.toml")
    except ValueError as error:
        remedy = "choose another folder with -o, or remove this one"
        raise DamagedError(folder / "card.toml", error, remedy) from None


def _refuse_other(folder: Path, card: Card) -> None:
    """Refuse a folder that holds anything but an earlier run of the same card."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose another folder with -o")
    if (folder / "card.toml").is_file():
        there, here = _settings(_card(folder)), _settings(card)
        differ = [
            f"{key} is {there.get(key)} there and {here.get(key)} here"
            for key in {**here, **there}
            if there.get(key) != here.get(key)
        ]
        if differ:
            raise ValueError(
                f"{folder}: holds the run of another card ({'; '.join(differ)}); "
                "choose another folder with -o, or remove this one"
            )
    elif any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty and holds no run; choose another folder with -o")


def _earlier(folder: Path, mark: str) -> xr.DataTree | None:
    """Return the posterior of an earlier run of the same card on the same data, if there is one."""
    path = folder / "posterior.nc"
    if not path.is_file():
        return None
    posterior = _read(path, xr.open_datatree)
    if posterior.attrs.get("fingerprint") != mark:
        raise ValueError(
            f"{path}: was sampled with other data than the card loads now; "
            "choose another folder with -o, or remove this one"
        )
    logger.info("%s is there already and is used again", path)
    return posterior


def _sample(card: Card, data: Arrays, mark: str, folder: Path, progress: bool) -> xr.DataTree:
    """Sample block after block, write the whole, and return what was written."""
    from stpbnn import samplers

    X, y, X_test, y_test = data
    network, settings = card.build(), card.sampler.model_dump()
    settings |= {"temperature": card.posterior.temperature, "X_test": X_test, "y_test": y_test}
    settings |= {"checkpoint": folder / "checkpoint", "progress": progress}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "interrupted")  # said below
        if card.process is None:
            posterior = samplers.sample(network, X, y, **settings)
        else:
            del settings["sampler"], settings["readout"]  # of which a process leaves no choice
            posterior = samplers.sample_process(
                network, X, y, process=card.process.name, df=card.process.df, **settings
            )
    if posterior.attrs["stopped"] == "interrupted":
        raise KeyboardInterrupt
    posterior.attrs["fingerprint"] = mark
    write_netcdf(folder / "posterior.nc", posterior)
    return _read(folder / "posterior.nc", xr.open_datatree)


def _record(card: Card, posterior: xr.DataTree, times: Mapping[str, float]) -> dict[str, Any]:
    """Return what run.json says: how the numbers came about, and how long each stage took, in seconds."""
    attributes = {str(key): value for key, value in posterior.attrs.items()}
    return {
        "card": card.name,
        "seed": card.sampler.seed,
        "fingerprint": attributes["fingerprint"],
        "created_at": attributes["created_at"],
        "device": attributes["device"],
        "cores": os.cpu_count(),
        "versions": {
            key.removesuffix("_version"): value for key, value in attributes.items() if key.endswith("_version")
        },
        "seconds": {stage: round(float(seconds), 3) for stage, seconds in times.items()},
    }


@contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[None]:
    look()
    start = time.perf_counter()
    yield
    times[stage] = time.perf_counter() - start
    logger.debug("%s: %.1f s", stage, times[stage])


def _write_report(run: Run) -> None:
    from stpbnn import report

    html = report.render(run.posterior, run.theory, run.comparison, card=run.card.to_toml(), run=dict(run.record))
    write_text(run.report, html)


def _read(path: Path, opened: Any) -> Any:
    """Read a NetCDF file into memory, as a data set or as a tree of them."""
    try:
        with opened(path, engine="h5netcdf") as data:
            return data.load()
    except (OSError, KeyError, RuntimeError, ValueError) as error:  # what the HDF5 library says of a damaged file
        raise DamagedError(path, error, AGAIN) from None
