"""Runs and sweeps from Python, of a network or of a card, on arrays or frames of one's own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stpbnn import _validation as check
from stpbnn import activations
from stpbnn.cards import (
    ARRAYS,
    CHANNELS,
    SWEEPABLE,
    TEMPERATURE,
    WIDTHS,
    Card,
    Sampler,
    load_card,
    mistakes,
    sweep_mistakes,
)
from stpbnn.datasets import Task, given_task
from stpbnn.network import Convolutional, Network
from stpbnn.runs import Run, run_card

__all__ = ["run", "sweep"]

KEYS = {
    **{key: f"sampler.{key}" for key in Sampler.model_fields},
    "temperature": TEMPERATURE,
    "theories": "theories.names",
    "particles": "theories.particles",
    "cluster": "theories.cluster",
    "name": "name",
    "title": "title",
}
TRAIN = "data.train"


def run(
    card_or_network: Card | Network | str | os.PathLike[str],
    data: Sequence[Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    *,
    progress: bool = True,
    allow_code: bool = False,
    **settings: Any,
) -> Run:
    """Run a network or a card: closed forms, posterior, comparison and report, in a folder; what `stpbnn run` does.

    The same call again goes on from what is in the folder, and a finished run is read.

    Parameters
    ----------
    card_or_network : FullyConnected, Card, str or path
        A network; or a card, its file, or the name of one that `stpbnn models` lists.
    data : sequence of four arrays or frames, optional
        X, y, Xt, yt: training and test set as they are given to the network, standardised already, as
        `stpbnn.datasets.load_table` does it; with a likelihood of classes y and yt are labels of any kind. They take
        the place of the data of a card; a network needs them. Frames of pandas or polars keep the names of their
        columns.
    folder : path, optional
        The run folder. By default runs/NAME with the name of the card.
    progress : bool
        Whether to show the sampler's progress bar.
    allow_code : bool
        Whether a card may run the code that its activation names.
    **settings
        Keys of the tables [posterior], [sampler] and [theories]: temperature, warmup, draws, chains, seed, sampler,
        readout, keep_draws, ladder, theories, particles, cluster; and name and title.

    Returns
    -------
    Run
        What the folder holds: `theory`, `posterior`, `comparison`, `record` and the path of the `report`;
        `predict(X)` predicts at new inputs.

    Raises
    ------
    ValueError
        If data, network and settings do not suit one another, or the folder holds something else.

    See Also
    --------
    stpbnn.load_run : Reads a finished run.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from stpbnn import FullyConnected
    >>> X = np.random.default_rng(0).normal(size=(12, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     finished = run(FullyConnected((5,), "linear"), data=(X[:8], X[:8, 0], X[8:], X[8:, 0]), folder=folder,
    ...                    temperature=0.1, draws=20, warmup=20, theories=["infinite"], progress=False)
    ...     finished.predict(X[8:])["mean"].sizes["test_point"]
    4
    """
    progress, allow_code = check.boolean("progress", progress), check.boolean("allow_code", allow_code)
    given = None if data is None else given_task(data, classes=_of_classes(card_or_network, allow_code))
    folder = None if folder is None else check.path("folder", folder)
    card = _card(card_or_network, given, settings, {}, folder, allow_code)
    place = Path("runs") / card.name if folder is None else Path(folder)
    return run_card(card, place, given, progress=progress)


def sweep(
    card_or_network: Card | Network | str | os.PathLike[str],
    data: Sequence[Any] | None = None,
    *,
    widths: Sequence[int | Sequence[int]] | None = None,
    temperatures: Sequence[float] | None = None,
    train: Sequence[int] | None = None,
    over: Mapping[str, Sequence[Any]] | None = None,
    folder: str | os.PathLike[str] | None = None,
    sample: bool = True,
    workers: int = 2,
    scheduler: str | None = None,
    many: bool = False,
    progress: bool = True,
    allow_code: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """Run a network or a card at every point of a sweep: theories and posterior over widths, temperatures, P.

    Parameters
    ----------
    card_or_network, data, progress, allow_code, **settings
        As for `run`.
    widths : sequence of int, or of sequences of int, optional
        Widths (of convolutional networks channels) of all hidden layers, or N_1..N_L for each point.
    temperatures : sequence of float, optional
        Temperatures T.
    train : sequence of int, optional
        Training sizes P, for a learning curve: the first rows are taken.
    over : mapping of str to sequence, optional
        Values of any other keys of a card: {"network.activation": ["erf", "relu"]}.
    folder : path, optional
        The folder of the sweep. By default runs/NAME-sweep.
    sample : bool
        Whether to sample the posterior as well; without, the theories alone are solved, in this process, in seconds.
    workers, scheduler, many
        As for `stpbnn.sweeps.sweep`.

    Returns
    -------
    xarray.Dataset
        What `stpbnn.sweeps.sweep` gives, or without sampling `stpbnn.curves.theory_curves`: a dimension for each key,
        `error` (theory, part) and `order_parameters` (theory, layer) at every point, and `error_posterior`.
        `stpbnn.figures.plot_learning_curve` draws both.

    Raises
    ------
    ValueError
        If there is nothing to sweep over; and as for `run`, for any point, before one is run.

    Examples
    --------
    >>> import numpy as np
    >>> from stpbnn import FullyConnected
    >>> X = np.random.default_rng(0).normal(size=(12, 3))
    >>> curve = sweep(FullyConnected((5,), "linear"), data=(X[:8], X[:8, 0], X[8:], X[8:, 0]), widths=[5, 50],
    ...               train=[4, 8], temperature=0.1, theories=["infinite", "proportional"], sample=False)
    >>> dict(curve["error"].sizes)
    {'train': 2, 'theory': 2, 'width': 2, 'temperature': 1, 'part': 3}
    """
    progress, allow_code = check.boolean("progress", progress), check.boolean("allow_code", allow_code)
    given = None if data is None else given_task(data, classes=_of_classes(card_or_network, allow_code))
    sample, many, workers = (
        check.boolean("sample", sample),
        check.boolean("many", many),
        check.integer("workers", workers),
    )
    folder = None if folder is None else check.path("folder", folder)
    swept = _swept(widths, temperatures, train, over)
    if temperatures is not None and "temperature" not in settings:
        settings |= {"temperature": swept[TEMPERATURE][0]}
    card = _card(card_or_network, given, settings, swept, folder, allow_code)
    if not sample:
        from stpbnn import curves

        return curves.theory_curves(card, data=given, progress=progress)
    from stpbnn import sweeps

    place = Path("runs") / f"{card.name}-sweep" if folder is None else folder
    options: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "many": many, "progress": progress}
    return sweeps.sweep(card, place, data=given, **options)


def _swept(widths: Any, temperatures: Any, train: Any, over: Any) -> dict[str, list[Any]]:
    """Return the values of the keys of a sweep, as plain numbers, checked by the names of the arguments."""
    if not isinstance(over, Mapping | None):
        raise ValueError(f"over: got {check.shown(over)}, expected a mapping of keys of a card to lists of values")
    swept: dict[str, list[Any]] = {}
    if widths is not None:
        swept[WIDTHS] = [_width(width) for width in check.listed("widths", widths)]
    if temperatures is not None:
        swept[TEMPERATURE] = [
            check.number("temperatures", value) for value in check.listed("temperatures", temperatures)
        ]
    if train is not None:
        swept[TRAIN] = [check.integer("train", value) for value in check.listed("train", train)]
    for key, values in (over or {}).items():
        swept[check.one_of("over", key, SWEEPABLE)] = check.listed(f"over, {key}", values)
    return swept


def _width(width: Any) -> int | list[int]:
    """Return a width of all hidden layers, or those of each."""
    if np.ndim(width) == 0:
        return check.integer("widths", width)
    return [check.integer("widths", layer) for layer in check.listed("widths", width)]


def _card(
    source: Any, given: Task | None, settings: Mapping[str, Any], swept: dict[str, list[Any]], folder: Any, code: bool
) -> Card:
    """Return the checked card of a network, or a card with these settings."""
    for setting in settings:
        check.one_of("settings", setting, KEYS)
    if isinstance(source, Network):
        if given is None:
            raise ValueError("data: missing, expected the four arrays X, y, Xt, yt: a network has no data of its own")
        raw = _of_network(source, settings, folder)
    elif isinstance(source, Card):
        raw = source.model_dump(exclude_none=True)
    elif isinstance(source, (str, os.PathLike)):
        raw = load_card(source, allow_code=code).model_dump(exclude_none=True)
    else:
        raise ValueError(
            f"card_or_network: got {check.shown(source)}, expected a FullyConnected, a Card or its file, or a "
            "Convolutional"
        )
    for setting, value in settings.items():
        if value is not None:
            table, _, leaf = KEYS[setting].rpartition(".")
            (raw.setdefault(table, {}) if table else raw)[leaf] = list(value) if isinstance(value, tuple) else value
    if given is not None:
        X, _, X_test, _ = given
        raw["data"] = {"name": ARRAYS, "train": len(X), "test": len(X_test), "standardize": "none"}
    if WIDTHS in swept:
        key = WIDTHS if "widths" in raw["network"] else CHANNELS
        depth = len(raw["network"][key.rpartition(".")[2]])
        swept[key] = [[width] * depth if isinstance(width, int) else width for width in swept.pop(WIDTHS)]
    raw["sweep"] = dict(raw.get("sweep", {})) | swept
    if wrong := mistakes(raw) or sweep_mistakes(raw):
        raise ValueError("\n".join(wrong.values()))
    card = Card.model_validate(raw)
    card.check()
    return card


def _of_network(network: Network, settings: Mapping[str, Any], folder: Any) -> dict[str, Any]:
    """Return a card for a network on data that are given, as plain values."""
    name = network.sigma.name
    if name not in activations.available() or activations.get(name) != network.sigma:
        raise ValueError(
            f"network: got the activation {name!r}, which is not registered, and a run tells it by its name; call "
            "stpbnn.activations.register(activation) first"
        )
    if "temperature" not in settings and network.likelihood == "gaussian":
        raise ValueError("temperature: missing, expected a positive number, the variance of the Gaussian likelihood")
    called = "own-data" if folder is None else re.sub(r"[^A-Za-z0-9._-]+", "-", Path(folder).name).lstrip("._-")[:100]
    plain = {key: value for key, value in network.to_dict().items() if value is not None}
    sizes, kind = network.hidden, ""
    if isinstance(network, Convolutional):
        plain["kind"], kind = "convolutional", "convolutional "
    shape = f"{check.plural(len(sizes), f'{kind}hidden layer')} of {', '.join(map(str, sizes))}, {name}"
    posterior = {} if network.likelihood == "gaussian" else {"temperature": 1.0}
    title = f"Data of one's own: {shape}"
    return {"name": called or "own-data", "title": title, "network": plain, "posterior": posterior}


def _of_classes(source: Any, code: bool) -> bool:
    """Return whether the targets of a network or a card are classes."""
    if isinstance(source, (str, os.PathLike)):
        source = load_card(source, allow_code=code)
    if isinstance(source, Card):
        return source.network.of_classes
    return isinstance(source, Network) and source.likelihood != "gaussian"
