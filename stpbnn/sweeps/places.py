"""The points of a sweep on disk: a run folder for each, what it costs, and whether it is finished."""

from __future__ import annotations

import logging
import shutil
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from stpbnn.cards import Card, count, dimension, labels, points
from stpbnn.datasets import Task
from stpbnn.files import DamagedError, refuse_long_names
from stpbnn.runs import fingerprint, load_run
from stpbnn.sweeps.results import summary

__all__ = ["LENGTH", "MANY", "finished", "put_aside", "run_places"]

logger = logging.getLogger(__name__)

MANY = 1000
LENGTH = 16  # characters of a point's name


class Place(NamedTuple):
    """A point of a sweep: its run folder, its card, and its price, in arithmetic operations up to a factor."""

    folder: Path
    card: Card
    price: float


def run_places(card: Card, folder: Path, many: bool, given: Task | None) -> dict[tuple[int, ...], Place]:
    """Return every point; nothing is run before each is known to make sense."""
    if not card.sweep:
        raise ValueError(
            f"{card.name}: got no [sweep], expected a list of values for some key; `stpbnn run` runs one point"
        )
    if (size := count(card)) > MANY and not many:
        raise ValueError(
            f"{card.name}: the sweep has {size} points, expected {MANY} at most; shorten its lists, or confirm with "
            "--many (many=True)"
        )
    refuse_long_names("folder", folder)
    if folder.is_file():
        raise ValueError(f"{folder}: is a file; choose another folder with -o")
    from stpbnn.theories import chosen

    load = lru_cache(4)(lambda data, classes: data.load(classes=classes))
    found = {}
    for place, point in points(card).items():
        told = _told(card, place)
        try:
            chosen(point)
            whole = load(point.data, point.network.of_classes) if given is None else given.first(point.data.train)
            data = point.load(whole, sampled=True)
            mark = fingerprint(point, data)
        except ValueError as error:
            raise ValueError(f"{card.name}, point {told}: {error}") from None
        titled = point.model_copy(update={"title": f"{card.title}: {told}"})
        found[place] = Place(folder / "points" / mark[:LENGTH], titled, _price(point, *data[0].shape))
    return found


def _price(card: Card, examples: int, inputs: int) -> float:
    """Return the price of a point, which orders a sweep: chains times steps times operations of a gradient."""
    weights = card.network.products(min(examples, inputs), inputs)  # inputs are rotated into the span of the examples
    return card.sampler.chains * (card.sampler.warmup + card.sampler.draws) * examples * weights


def _told(card: Card, place: tuple[int, ...]) -> str:
    """Return a point's values in words."""
    axes = zip(card.sweep.items(), place, strict=True)
    return ", ".join(f"{dimension(key)} {labels(key, values)[i]}" for (key, values), i in axes)


def finished(folder: Path, card: Card) -> xr.Dataset | None:
    """Return the results of a point, if it is finished with these theories and its files can be read.

    Other theories are solved without sampling anew.
    """
    if not (folder / "run.json").is_file():
        return None
    from stpbnn.theories import chosen

    try:
        run = load_run(folder)
        same = run.card.theories == card.theories and set(run.theory["theory"].to_numpy()) == set(chosen(card))
        return summary(run) if same else None
    except DamagedError as error:
        logger.warning("%s: cannot be read and is computed anew", error.path)
    except OSError as error:
        logger.warning("%s", error)  # the point says it again, if it lasts
    except (KeyError, TypeError) as error:  # what can be read, but lacks something
        logger.warning("%s: has no %s and is computed anew", folder, error)
    except ValueError:  # not finished
        pass
    return None


def put_aside(path: Path) -> None:
    """Give a damaged file or folder another name."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    path.replace(aside)
