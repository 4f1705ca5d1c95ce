"""The stages of a run: theories, posterior, comparison, report and record.

What solves, samples, compares and draws pictures takes seconds to import; it is imported where it is needed, so that a
finished run is read at once.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from stpbnn._interrupt import look
from stpbnn._version import __version__
from stpbnn.cards import Arrays, Card, shared
from stpbnn.datasets import Preparation
from stpbnn.files import DamagedError, read_netcdf, write_netcdf, write_text
from stpbnn.runs.marks import digest, settings_of
from stpbnn.runs.stored import AGAIN, Run

if TYPE_CHECKING:
    from stpbnn.samplers import Posed

__all__ = ["compared", "compiled_meanwhile", "keep", "posed", "record", "sample", "theories", "timed", "write_report"]

logger = logging.getLogger(__name__)


def theories(folder: Path, card: Card, data: Arrays) -> tuple[xr.Dataset, dict[str, Any]]:
    """Return what the theories predict, and what was fitted; those that are in the folder are not solved again."""
    from stpbnn.theories import chosen, solve

    alone = {key: value for key, value in settings_of(card).items() if not key.startswith("sampler.")}
    own = {f"theories.{key}": value for key, value in card.theories.model_dump(exclude={"names"}).items()}
    settings = alone | own | {"sampler.seed": card.sampler.seed}
    mark = digest(settings, data)
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


def keep(models: Mapping[str, Any], folder: Path) -> None:
    """Write what was long searched for into the folder, for predictions at new inputs."""
    if models:
        from stpbnn import theories

        theories.keep(models, folder)


def posed(card: Card, data: Arrays, folder: Path, progress: bool) -> Posed:
    """Return the posterior of a card, checked and not sampled yet."""
    from stpbnn import samplers

    X, y, X_test, y_test = data
    network, settings = card.build(), card.sampler.model_dump()
    settings |= {"temperature": card.posterior.temperature, "X_test": X_test, "y_test": y_test}
    settings |= {"checkpoint": folder / "checkpoint", "progress": progress}
    if card.process is None:
        return samplers.pose(network, X, y, **settings)
    for key in ("sampler", "readout", "keep_draws", "ladder"):  # of which a process leaves no choice
        del settings[key]
    return samplers.pose_process(network, X, y, process=card.process.name, df=card.process.df, **settings)


@contextmanager
def compiled_meanwhile(chains: Posed | None) -> Iterator[None]:
    """Compile the programs of chains in a thread, while something else is done: XLA needs no lock of Python's."""
    thread = ThreadPoolExecutor(1)
    for program in [] if chains is None else chains.lowered():
        thread.submit(program.compile)  # what fails here fails again, and is told, where the chains run it
    try:
        yield
    except BaseException:
        thread.shutdown(wait=False, cancel_futures=True)  # what is being compiled cannot be stopped
        raise
    thread.shutdown()


def sample(card: Card, data: Arrays, chains: Posed, mark: str, folder: Path) -> xr.DataTree:
    """Sample block after block, write the whole, and return what was written."""
    from stpbnn import samplers

    X, y, _, _ = data
    with chains.precision, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "interrupted")  # said below
        posterior = samplers.collect(chains)
    if posterior.attrs["stopped"] == "interrupted":
        raise KeyboardInterrupt
    posterior.attrs["fingerprint"] = mark
    exact = {"constant_data": {"X": X}}  # to the last digit, for predictions
    if not card.network.of_classes:
        exact["observed_data"] = {"y": y}
    for group, arrays in exact.items():
        stored = posterior[group].to_dataset()
        posterior[group].dataset = stored.assign({name: (stored[name].dims, a) for name, a in arrays.items()})
    write_netcdf(folder / "posterior.nc", posterior)
    return read_netcdf(folder / "posterior.nc", xr.open_datatree, AGAIN)


def compared(posterior: xr.DataTree, predictions: xr.Dataset) -> xr.Dataset:
    """Return the comparison of the theories with the posterior."""
    from stpbnn import comparison

    return comparison.compare_predictions(posterior, predictions)


def write_report(run: Run) -> None:
    """Write the HTML report of a run."""
    from stpbnn import report

    html = report.render(
        run.posterior, run.theory, run.comparison, card=shared(run.card).to_toml(), run=dict(run.record)
    )
    write_text(run.report, html)


def record(
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
def timed(times: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage takes."""
    look()
    start = time.perf_counter()
    yield
    times[stage] = time.perf_counter() - start
    logger.debug("%s: %.1f s", stage, times[stage])
