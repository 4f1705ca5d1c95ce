"""A point of a sweep that asks for more draws goes on from what a shorter run of it left."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from pathlib import Path

from stpbnn.cards import Arrays, Card, changed
from stpbnn.runs import fingerprint, stored_card
from stpbnn.sweeps.places import LENGTH

__all__ = ["begin_from_shorter"]

logger = logging.getLogger(__name__)

OF_THE_SHORTER = ("run.json", "posterior.nc", "comparison.nc", "report*")


def begin_from_shorter(folder: Path, card: Card, data: Arrays) -> None:
    """Copy theories and draws of the longest of the shorter runs of a point into the folder of a new one, if any.

    A run whose chains have converged keeps no draws on disk that could be added to.
    """
    if folder.exists() or (other := _shorter(folder.parent, card, data)) is None:
        return
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(other, part, ignore=shutil.ignore_patterns(*OF_THE_SHORTER))
    part.rename(folder)
    logger.info("%s goes on from the draws of %s", folder, other)


def _shorter(points: Path, card: Card, data: Arrays) -> Path | None:
    """Return the folder of the longest run of the same point with fewer draws that can be added to."""
    lengths = set()
    for checkpoint in points.glob("*/checkpoint"):
        with suppress(ValueError, OSError):  # what cannot be read is no help
            lengths.add(there.sampler.draws if (there := stored_card(checkpoint.parent)) else 0)
    for draws in sorted(lengths & set(range(1, card.sampler.draws)), reverse=True):
        found = points / fingerprint(changed(card, {"sampler.draws": draws}), data)[:LENGTH]
        if (found / "checkpoint").is_dir():
            return found
    return None
