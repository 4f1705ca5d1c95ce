"""Runs: a folder that holds a card, its posterior, its theories, their comparison and a report.

A run folder has card.toml, theory.nc, posterior.nc, comparison.nc, run.json and report.html; of a table of one's own
also preparation.json, after the card: how it became inputs, and how outputs have its units; and adaptive.npz before
theory.nc, the adaptive kernel for predictions at new inputs, where it has 16 MB at most. Each file appears whole, in
this order, and what is there already is used again: theories one by one, and the posterior. While sampling goes on, its
blocks are in the folder checkpoint; where the chains have not converged they stay, for more draws to join them.

What solves, samples, compares and draws pictures takes seconds to import; it is imported where it is needed, so that a
finished run is read at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stpbnn import _validation as check
from stpbnn._interrupt import look
from stpbnn._version import __version__
from stpbnn.cards import OF_FILES, OF_TABLES, Arrays, Card, code, four, load_card
from stpbnn.datasets import Preparation
from stpbnn.files import (
    DamagedError,
    is_leftover,
    read_bytes,
    read_netcdf,
    refuse_long_names,
    remove_leftovers,
    write_netcdf,
    write_text,
)

__all__ = ["Run", "fingerprint", "load_run", "rerender", "run_card"]

logger = logging.getLogger(__name__)

AGAIN = "remove it and run the card again"
PREPARATION = "preparation.json"
NEW = {f"data.{key}" for key in ("openml", *OF_FILES, *OF_TABLES)}  # that have no part in the hash of other data


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

    def predict(self, X: Any, *, noise: bool = False, theories: Sequence[str] | None = None) -> xr.Dataset:
        """Return what the posterior and the theories of this run predict at new inputs, in the units of the data.

        Parameters
        ----------
        X : array of shape (n, N_0), or frame
            Inputs: a frame with the columns of the training table, or an array as the card loads it.
        noise : bool
            Whether the laws are those of new targets, with their noise, in the place of the function.
        theories : sequence of str, optional
            Names of some of them, an empty list for the posterior alone; by default all. Those whose solution is not in
            the folder are solved again, which takes as long as in the run.

        Returns
        -------
        xarray.Dataset
            As `stpbnn.forecasts.predict` gives it.
        """
        from stpbnn import forecasts

        return forecasts.predict(self, X, noise=noise, theories=theories)


def run_card(card: Card, folder: str | os.PathLike[str], data: Arrays | None = None, *, progress: bool = True) -> Run:
    """Run a card: closed forms, posterior, comparison and report, in a folder.

    Nothing is written before the data are loaded and the theories solved. A run that was interrupted is taken up by
    the same call: sampling goes on from its last finished block, theories and a posterior that are there already are
    used again, and everything else is quickly made anew; a finished run is read. More draws join those of an earlier
    run of the same card.

    Parameters
    ----------
    card : Card
        What to run; a sweep is left aside, so that this is the point that the other tables describe.
    folder : path
        The run folder: a new or an empty one, or that of an earlier run of the same card, with as many draws or fewer.
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
    OSError
        If a file cannot be read or written now; what is there stays as it is.
    KeyboardInterrupt
        If it was interrupted; finished blocks are in the folder.
    """
    card, folder = check.instance("card", card, Card), Path(check.path("folder", folder))
    progress = check.boolean("progress", progress)
    _refuse_other(folder, card)
    times: dict[str, float] = {}
    with _timed(times, "data"):
        data = card.load(data)
    preparation = getattr(data, "preparation", None)
    _refuse_changed(folder, preparation)
    mark = fingerprint(card, data)
    if (finished := _finished(folder, card, mark)) is not None:
        logger.info("%s is finished already", folder)
        remove_leftovers(folder)
        return finished
    data = card.load(data, sampled=True)  # what is finished need not fit
    posterior = _earlier(folder, card, data)
    with _timed(times, "theory"):
        predictions, models = _theories(folder, card, data)
    predictions.attrs["fingerprint"] = mark

    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    (folder / "run.json").unlink(missing_ok=True)  # not finished any more
    write_text(folder / "card.toml", card.to_toml())
    if preparation is not None:
        write_text(folder / PREPARATION, preparation.to_json())
    for name, text in code.beside(card).items():
        write_text(folder / name, text)
    _keep(models, folder)
    del models  # which hold kernels
    write_netcdf(folder / "theory.nc", predictions)
    if posterior is None:
        try:
            posterior = _sample(card, data, mark, folder, progress)
        except Exception:  # what the sampler refuses
            _leave_nothing(folder, new)
            raise
    if not posterior.attrs.get("remedy"):  # which more draws may be
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    times["sampling"] = posterior.attrs["wall_time_s"]
    logger.debug("sampling: %.1f s", times["sampling"])
    with _timed(times, "comparison"):
        comparison = _compared(posterior, predictions)
    write_netcdf(folder / "comparison.nc", comparison)
    run = Run(folder, card, predictions, posterior, comparison, _record(card, posterior, times, preparation))
    with _timed(times, "report"):
        _write_report(run)
    run = replace(run, record=_record(card, posterior, times, preparation))
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
    return _digest(_settings(check.instance("card", card, Card)), four(data))


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
    card = _card(folder, allow_code)
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


def rerender(folder: str | os.PathLike[str], *, allow_code: bool = False) -> Run:
    """Make the comparison and the report of a finished run anew, from its folder alone.

    Parameters
    ----------
    folder : path
        A run folder.
    allow_code : bool
        As for `load_run`.

    Raises
    ------
    ValueError
        If the folder holds no run, or one that is not finished.
    """
    run = load_run(folder, allow_code=allow_code)
    remove_leftovers(folder)
    run = replace(run, comparison=_compared(run.posterior, run.theory))
    write_netcdf(run.folder / "comparison.nc", run.comparison)
    _write_report(run)
    return run


def _settings(card: Card) -> dict[str, Any]:
    """Return all that decides on the draws, by dotted key; where the data lie does not."""
    decisive = {"network", "data", "posterior", "sampler"} | ({"process"} if card.process else set())
    tables = card.model_dump(include=decisive, mode="json")
    flat = {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
    places = ("data.data_home", "data.file", "data.test_file", "sampler.keep_draws")
    flat |= {f"code of {name}": digest for name, digest in code.digests([card.network.activation]).items()}
    return {key: value for key, value in flat.items() if key not in places and not (key in NEW and value is None)}


def _digest(settings: Mapping[str, Any], data: Arrays) -> str:
    """Return a hash of settings and of the data themselves."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in data:
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array, dtype="<f8").tobytes())
    if (preparation := getattr(data, "preparation", None)) is not None:
        told = [asdict(target) for target in preparation.targets], dict(preparation.sources or {})
        digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.hexdigest()


def _with_draws(card: Card, draws: int) -> Card:
    """Return the card with another number of draws."""
    return card.model_copy(update={"sampler": card.sampler.model_copy(update={"draws": draws})})


def _card(folder: Path, allow_code: bool = False) -> Card | None:
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


def _refuse_other(folder: Path, card: Card) -> None:
    """Refuse a folder that holds anything but an earlier run of the same card, with as many draws or fewer."""
    refuse_long_names("folder", folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose another folder with -o")
    if (earlier := _card(folder)) is not None:
        there, here = _settings(earlier), _settings(card)
        differ = [
            f"{key} is {there.get(key)} there and {here.get(key)} here"
            for key in {**here, **there}
            if there.get(key) != here.get(key) and not (key == "sampler.draws" and there[key] < here[key])
        ]
        if differ:
            raise ValueError(
                f"{folder}: holds the run of another card ({'; '.join(differ)}); "
                "choose another folder with -o, or remove this one"
            )
    elif not all(is_leftover(path) for path in folder.iterdir()):  # of a run that was killed at its first file
        raise ValueError(f"{folder}: is not empty and holds no run; choose another folder with -o")


def _finished(folder: Path, card: Card, mark: str) -> Run | None:
    """Return the run of a folder if it is that of this card to the letter, whole, and made by this version."""
    try:
        run = load_run(folder)
    except ValueError:  # not finished, or damaged: what can be is made anew, and the rest is refused later
        return None
    marks = {run.record.get("fingerprint"), run.posterior.attrs.get("fingerprint")}
    makers = {run.theory.attrs.get("stpbnn_version"), run.comparison.attrs.get("stpbnn_version")}
    same = run.card == card and marks == {mark} and makers == {__version__}
    return run if same and run.report.exists() else None


def _earlier(folder: Path, card: Card, data: Arrays) -> xr.DataTree | None:
    """Return the posterior of an earlier run of the same card on the same data, if there is one with all its draws."""
    path = folder / "posterior.nc"
    try:
        posterior = read_netcdf(path, xr.open_datatree, AGAIN)
    except FileNotFoundError:
        return None
    draws = posterior.attrs.get("draws", card.sampler.draws)
    if posterior.attrs.get("fingerprint") != fingerprint(_with_draws(card, int(draws)), data):
        raise ValueError(
            f"{path}: was sampled with other data than the card loads now; "
            "choose another folder with -o, or remove this one"
        )
    if draws < card.sampler.draws:
        logger.info("%s has %d draws of each chain; more join them", path, draws)
        return None
    logger.info("%s is there already and is used again", path)
    return posterior


def _refuse_changed(folder: Path, preparation: Preparation | None) -> None:
    """Refuse a folder whose run began with another content of the files."""
    try:
        then = Preparation.from_json(read_bytes(folder / PREPARATION).decode()).sources or {}
    except (OSError, ValueError):  # of no file, or made anew
        return
    now = {} if preparation is None else preparation.sources or {}
    if changed := [name for name in now if now[name] != then.get(name)]:
        raise ValueError(
            f"{folder}: the run began with another content of {' and '.join(changed)}; "
            "choose another folder with -o, or remove this one"
        )


def _leave_nothing(folder: Path, new: list[Path]) -> None:
    """Remove folders that this run made, unless there are draws in them."""
    if new and not any(folder.glob("checkpoint/draws-*.nc")):
        shutil.rmtree(folder, ignore_errors=True)
        for path in new[1:]:
            with suppress(OSError):  # others are at work in it
                path.rmdir()


def _theories(folder: Path, card: Card, data: Arrays) -> tuple[xr.Dataset, dict[str, Any]]:
    """Return what the theories predict, and what was fitted; those that are in the folder are not solved again."""
    from stpbnn.theories import chosen, solve

    alone = {key: value for key, value in _settings(card).items() if not key.startswith("sampler.")}
    settings = alone | {"sampler.seed": card.sampler.seed, "theories.particles": card.theories.particles}
    mark = _digest(settings, data)
    try:
        known = read_netcdf(folder / "theory.nc", xr.open_dataset, AGAIN)
    except (FileNotFoundError, DamagedError):
        known = xr.Dataset()
    if known.attrs.get("solved_for") != mark or known.attrs.get("stpbnn_version") != __version__:
        known = xr.Dataset({"theory": []})
    if new := [name for name in chosen(card) if name not in known["theory"]]:
        logger.info("solving the theories: %s", ", ".join(new))
    predictions, models = solve(card, data, known)
    return predictions.assign_attrs(solved_for=mark), models


def _keep(models: Mapping[str, Any], folder: Path) -> None:
    if models:
        from stpbnn.theories import keep

        keep(models, folder)


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
            del settings["sampler"], settings["readout"], settings["keep_draws"]  # of which a process leaves no choice
            posterior = samplers.sample_process(
                network, X, y, process=card.process.name, df=card.process.df, **settings
            )
    if posterior.attrs["stopped"] == "interrupted":
        raise KeyboardInterrupt
    posterior.attrs["fingerprint"] = mark
    exact = {"constant_data": {"X": X}, "observed_data": {"y": y}}  # to the last digit, for predictions
    for group, arrays in exact.items():
        stored = posterior[group].to_dataset()
        posterior[group].dataset = stored.assign({name: (stored[name].dims, a) for name, a in arrays.items()})
    write_netcdf(folder / "posterior.nc", posterior)
    return read_netcdf(folder / "posterior.nc", xr.open_datatree, AGAIN)


def _compared(posterior: xr.DataTree, predictions: xr.Dataset) -> xr.Dataset:
    from stpbnn import comparison

    return comparison.compare_predictions(posterior, predictions)


def _record(
    card: Card, posterior: xr.DataTree, times: Mapping[str, float], preparation: Preparation | None
) -> dict[str, Any]:
    """Return what run.json says: how the numbers came about, and how long each stage took, in seconds."""
    attributes = {str(key): value for key, value in posterior.attrs.items()}
    columns = {} if preparation is None else {"columns": preparation.summary()}
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
        **columns,
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
