"""A point of a sweep that asks for more draws goes on from what a shorter run of it left."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from pathlib import Path

from stpbnn.cards import Arrays, Card, changed
from stpbnn.files import read_bytes, remove_leftovers, temporary_of
from stpbnn.runs import fingerprint, stored_card
from stpbnn.sweeps.places import LENGTH

__all__ = ["begin_from_shorter"]

logger = logging.getLogger(__name__)

STATE, SETTINGS = "checkpoint/state.npz", "checkpoint/settings.json"
LEFT = ("run.json", "posterior.nc", "comparison.nc", "report*", "state.npz", "lock", "*.part", "*.damaged")


def begin_from_shorter(folder: Path, card: Card, data: Arrays) -> None:
    """Copy theories and draws of the longest of the shorter runs of a point into the folder of a new one, if any.

    A run whose chains have converged keeps no draws on disk that could be added to, and those of other versions or of
    another device cannot be.
    """
    if folder.exists() or (other := _shorter(folder.parent, card, data)) is None:
        return
    remove_leftovers(folder.parent, folder.name)
    part = temporary_of(folder)
    try:
        (part / STATE).parent.mkdir(parents=True)
        shutil.copy2(other / STATE, part / STATE)  # first: blocks that a run in progress adds meanwhile do not count
        shutil.copytree(other, part, ignore=shutil.ignore_patterns(*LEFT), dirs_exist_ok=True)
        part.rename(folder)
        logger.info("%s goes on from the draws of %s", folder, other)
    except OSError as error:
        logger.warning("%s does not go on from the draws of %s, which cannot be copied: %s", folder, other, error)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _shorter(points: Path, card: Card, data: Arrays) -> Path | None:
    """Return the folder of the longest run of the same point with fewer draws that can be added to."""
    lengths = set()
    for state in points.glob(f"*/{STATE}"):
        with suppress(ValueError, OSError):  # what cannot be read is no help
            lengths.add(there.sampler.draws if (there := stored_card(state.parents[1])) else card.sampler.draws)
    for draws in sorted((length for length in lengths if length < card.sampler.draws), reverse=True):
        found = points / fingerprint(changed(card, {"sampler.draws": draws}), data)[:LENGTH]
        if (found / STATE).is_file() and _was_begun_here(found):
            return found
    return None


def _was_begun_here(folder: Path) -> bool:
    """Return whether a run had the versions, the device and the flags of JAX that this process has."""
    from stpbnn import samplers

    try:
        there = dict(json.loads(read_bytes(folder / SETTINGS)))
    except (ValueError, TypeError, OSError):
        return False
    return samplers.surroundings().items() <= there.items()
