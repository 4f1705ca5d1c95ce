"""Runs: a folder that holds a card, its posterior, its theories, their comparison and a report.

A run folder has card.toml, theory.nc, posterior.nc, comparison.nc, run.json and report.html; of a table of one's own
also preparation.json, after the card: how it became inputs, and how outputs have its units; and adaptive.npz before
theory.nc, the adaptive kernel for predictions at new inputs, where it has 16 MB at most. Each file appears whole, in
this order, and what is there already is used again: theories one by one, and the posterior. While sampling goes on, its
blocks are in the folder checkpoint; where the chains have not converged they stay, for more draws to join them.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import xarray as xr

from stpbnn import _validation as check
from stpbnn._version import __version__
from stpbnn.cards import Arrays, Card, changed, code
from stpbnn.datasets import Preparation
from stpbnn.files import (
    is_leftover,
    read_bytes,
    read_netcdf,
    refuse_long_names,
    remove_leftovers,
    write_netcdf,
    write_text,
)
from stpbnn.runs import stages
from stpbnn.runs.marks import fingerprint, settings_of
from stpbnn.runs.stored import AGAIN, PREPARATION, Run, load_run, stored_card

__all__ = ["rerender", "run_card"]

logger = logging.getLogger(__name__)


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
    with stages.timed(times, "data"):
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
    chains = stages.posed(card, data, folder, progress) if posterior is None else None
    with stages.compiled_meanwhile(chains), stages.timed(times, "theory"):
        predictions, models = stages.theories(folder, card, data)
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
    stages.keep(models, folder)
    del models  # which hold kernels
    write_netcdf(folder / "theory.nc", predictions)
    if chains is not None:
        try:
            posterior = stages.sample(card, data, chains, mark, folder)
        except Exception:  # what the sampler refuses
            _leave_nothing(folder, new)
            raise
    assert posterior is not None
    if not posterior.attrs.get("remedy"):  # which more draws may be
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    times["sampling"] = posterior.attrs["wall_time_s"]
    logger.debug("sampling: %.1f s", times["sampling"])
    with stages.timed(times, "comparison"):
        comparison = stages.compared(posterior, predictions)
    write_netcdf(folder / "comparison.nc", comparison)
    run = Run(folder, card, predictions, posterior, comparison, stages.record(card, posterior, times, preparation))
    with stages.timed(times, "report"):
        stages.write_report(run)
    run = replace(run, record=stages.record(card, posterior, times, preparation))
    write_text(folder / "run.json", json.dumps(run.record, indent=2) + "\n")  # the last file: the run is finished
    return run


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
    run = replace(run, comparison=stages.compared(run.posterior, run.theory))
    write_netcdf(run.folder / "comparison.nc", run.comparison)
    stages.write_report(run)
    return run


def _refuse_other(folder: Path, card: Card) -> None:
    """Refuse a folder that holds anything but an earlier run of the same card, with as many draws or fewer."""
    refuse_long_names("folder", folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose another folder with -o")
    if (earlier := stored_card(folder)) is not None:
        there, here = settings_of(earlier), settings_of(card)
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
    if posterior.attrs.get("fingerprint") != fingerprint(changed(card, {"sampler.draws": int(draws)}), data):
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
    if others := [name for name in now if now[name] != then.get(name)]:
        raise ValueError(
            f"{folder}: the run began with another content of {' and '.join(others)}; "
            "choose another folder with -o, or remove this one"
        )


def _leave_nothing(folder: Path, new: list[Path]) -> None:
    """Remove folders that this run made, unless there are draws in them."""
    if new and not any(folder.glob("checkpoint/draws-*.nc")):
        shutil.rmtree(folder, ignore_errors=True)
        for path in new[1:]:
            with suppress(OSError):  # others are at work in it
                path.rmdir()
