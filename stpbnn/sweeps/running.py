"""Running a sweep: its points as tasks of Dask, each a run folder.

A sweep's folder has points/ID for each point, a run folder of its own, and sweep.nc and sweep.html of all of them. The
ID is a hash of the settings and the data of a point, so that a point is computed once, whatever the sweep around it.
Importing this is quick: each process of a cluster reads the script that starts it.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from stpbnn import _validation as check
from stpbnn.cards import Card, code, selected
from stpbnn.datasets import Task
from stpbnn.files import DamagedError, remove_leftovers, write_netcdf, write_text
from stpbnn.runs import fingerprint, run_card
from stpbnn.sweeps import cluster
from stpbnn.sweeps.growing import begin_from_shorter
from stpbnn.sweeps.places import LENGTH, MANY, finished, put_aside, run_places
from stpbnn.sweeps.results import joined

if TYPE_CHECKING:
    from distributed import Client
    from tqdm import tqdm

__all__ = ["MANY", "sweep"]

logger = logging.getLogger(__name__)

RETRIES = 2


def sweep(
    card: Card,
    folder: str | os.PathLike[str],
    *,
    data: Task | None = None,
    scheduler: str | None = None,
    workers: int = 2,
    where: Mapping[str, Sequence[Any]] | None = None,
    many: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Run a card at every point of its sweep and return the results as one data set.

    Each point is a run folder, made by `stpbnn.runs.run_card` as a task of Dask, and named after a hash of its settings
    and data. Finished points are used again, also when the lists of the sweep grow or change their order; a
    point that was interrupted goes on from its last block, and one that asks for more draws from those of a shorter run
    whose chains had not converged. A task whose worker dies is given to another. The cheapest
    points come first.

    A cluster on this machine is made of new processes, so that a script which calls this needs the usual
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    card : Card
        A card with a sweep.
    folder : path
        The folder of the sweep. Where a scheduler is given, all its workers must see this folder, under the same path,
        and the data must be where the card or the variable STPBNN_DATA says, here and there.
    data : stpbnn.datasets.Task, optional
        X, y, Xt, yt in the place of those of the card; a sweep over data.train takes the first rows.
    scheduler : str, optional
        The address of a Dask scheduler, such as "tcp://10.0.0.1:8786"; by default a cluster on this machine.
    workers : int
        Processes of the cluster on this machine, of one thread each.
    where : mapping of str to sequence, optional
        Run only some points: coordinates for some of the dimensions, such as {"train": [50, 100]}. The data set is that
        of the whole sweep, with all that is finished.
    many : bool
        Whether more than 1000 points are meant.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.Dataset
        With a dimension for each key of the sweep, named as by `stpbnn.curves.theory_curves`: `error` (theory, part),
        `error_posterior` and its Monte Carlo standard error `error_mcse` (part), `largest_z` and `verdict` (theory),
        `order_parameters` (theory, layer), `log_marginal_likelihood` and `theory_converged` (theory), `rhat_worst`,
        `ess_smallest` and `converged` of the posterior, the posterior means of `readout_norm`, `kernel_scale` (layer)
        and `kernel_overlap`, or of the scales `Q` (layer) or `r` of a process, each with its Monte Carlo standard error
        `NAME_mcse`, `device`, `versions`, `seconds` of sampling, `finished`, and `point`, the folder's name. Points
        that failed or were not asked for have NaN. It is also in sweep.nc, and for readers in sweep.html.

    Raises
    ------
    ValueError
        If the card has no sweep, or one of more than 1000 points without `many`, or `where` names none of its points;
        for the mistakes of a point, before any is run; if no point could be finished; and for what
        `stpbnn.sweeps.cluster.client` refuses.
    KeyboardInterrupt
        If it was interrupted; the same call goes on from what is finished.

    References
    ----------
    Learning curves, figures 1 and 2 of Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> from stpbnn.cards import load_card
    >>> sweep(load_card("smoke-1hl-linear"), "sweeps/smoke")
    Traceback (most recent call last):
    ValueError: smoke-1hl-linear: got no [sweep], expected a list of values for some key; `stpbnn run` runs one point
    """
    cluster.refuse_in_its_own_worker()
    card, folder = check.instance("card", card, Card), Path(check.path("folder", folder)).absolute()
    workers, progress = check.integer("workers", workers), check.boolean("progress", progress)
    many = check.boolean("many", many)
    if data is not None:
        check.instance("data", data, Task)
    if scheduler is not None:
        check.text("scheduler", scheduler)
    if not isinstance(where, Mapping | None):
        raise ValueError(f"where: got {check.shown(where)}, expected a mapping of dimensions to coordinates, or None")
    at = run_places(card, folder, many, data)
    wanted = selected(card, where or {})
    cards_of = {point.folder: point.card for point in at.values()}
    results = {path: found for path, point in cards_of.items() if (found := finished(path, point)) is not None}
    by_price = sorted((at[place] for place in wanted), key=lambda point: point.price)
    cards = {point.folder: point.card for point in by_price}  # equal points are one
    missing = {path: point for path, point in cards.items() if path not in results}
    failed: dict[Path, str] = {}
    if missing:
        with cluster.client(scheduler, workers) as client, _bar(card, cards, missing, progress) as bar:
            for path, reason in _run(client, missing, data):
                if not reason and (found := finished(path, cards[path])) is not None:
                    results[path] = found
                else:
                    failed[path] = reason or "its files are not there; do all workers see the folder?"
                    bar.set_postfix_str(f"{len(failed)} failed")
                bar.update()
    if not results:
        raise ValueError(f"{card.name}: no point could be finished; {_first(failed)}")
    if failed:
        places = ", ".join(path.name for path in failed)
        warnings.warn(f"{len(failed)} of {len(cards)} points failed ({places}): {_first(failed)}", stacklevel=2)
    remove_leftovers(folder)
    whole = joined(card, {place: results.get(point.folder) for place, point in at.items()})
    from stpbnn import report

    write_netcdf(folder / "sweep.nc", whole)
    write_text(folder / "sweep.html", report.render_sweep(whole))
    return whole


def _run(client: Client, missing: Mapping[Path, Card], data: Task | None) -> Iterator[tuple[Path, str]]:
    """Run the points and yield each as it ends: its folder, and why it failed, or nothing."""
    from distributed import as_completed

    versions = cluster.versions()
    given = None if data is None else client.scatter(data, hash=False, broadcast=True)
    futures = {
        client.submit(_point, point, path, versions, given, code.folders(point), pure=False, retries=RETRIES): path
        for path, point in missing.items()
    }
    for future in as_completed(futures, loop=client.loop):
        if future.status == "finished":
            yield futures[future], future.result()
        else:
            error = None if future.cancelled() else future.exception()
            yield futures[future], f"{type(error).__name__}: {error}" if error else "its scheduler was lost"


def _point(
    card: Card,
    folder: Path,
    versions: Mapping[str, str],
    given: Task | None = None,
    allowed: Mapping[str, Path] | None = None,
) -> str:
    """Run one point, in a worker; return why it cannot be run, or nothing. Other errors raise, for another try."""
    try:
        cluster.refuse_other_versions(versions, cluster.versions(), socket.gethostname())
        for name, place in (allowed or {}).items():
            code.allow(name, place)
        data = card.load() if given is None else given.first(card.data.train)
        if fingerprint(card, data)[:LENGTH] != folder.name:
            return f"the data that {socket.gethostname()} finds are not those of the client; see the paths in [data]"
        begin_from_shorter(folder, card, data)
        with warnings.catch_warnings(action="ignore"):  # chains and solvers that have not converged: in the results
            try:
                run_card(card, folder, data, progress=False)
            except DamagedError as error:
                put_aside(error.path)
                write_text(folder / "card.toml", card.to_toml())  # the folder's name says that it is this one
                run_card(card, folder, data, progress=False)
    except ValueError as error:
        return str(error)
    return ""


@contextmanager
def _bar(card: Card, cards: Mapping[Path, Card], missing: Mapping[Path, Card], progress: bool) -> Iterator[tqdm]:
    from tqdm.auto import tqdm

    done = len(cards) - len(missing)
    with tqdm(total=len(cards), initial=done, desc=card.name, unit="point", disable=not progress) as bar:
        yield bar


def _first(failed: Mapping[Path, str]) -> str:
    """Return why the first of some points failed."""
    return next((f"points/{path.name}: {reason}" for path, reason in failed.items()), "nothing was run")
