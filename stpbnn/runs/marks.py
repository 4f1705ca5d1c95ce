"""Hashes that tell whether two runs have the same draws: of the settings that decide on them, and of the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from stpbnn import _validation as check
from stpbnn.cards import OF_FILES, OF_IMAGES, OF_TABLES, Arrays, Card, code, four

__all__ = ["digest", "fingerprint", "settings_of"]

NEW = {f"data.{key}" for key in ("openml", *OF_FILES, *OF_TABLES)}  # that have no part in the hash of other data
NEW |= {f"network.{key}" for key in OF_IMAGES}  # nor in that of other networks
NEW |= {"sampler.ladder"}


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
    >>> from stpbnn.cards import load_card
    >>> card = load_card("smoke-1hl-linear")
    >>> len(fingerprint(card, card.data.load()))
    64
    """
    return digest(settings_of(check.instance("card", card, Card)), four(data))


def settings_of(card: Card) -> dict[str, Any]:
    """Return all that decides on the draws, by dotted key; where the data lie does not."""
    decisive = {"network", "data", "posterior", "sampler"} | ({"process"} if card.process else set())
    tables = card.model_dump(include=decisive, mode="json")
    flat = {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
    places: tuple[str, ...] = ("data.data_home", "data.file", "data.test_file", "sampler.keep_draws")
    places += () if card.network.of_classes else ("network.likelihood",)
    places += ("network.kind",) if card.network.kind == "fully-connected" else ()
    flat |= {f"code of {name}": digest for name, digest in code.digests([card.network.activation]).items()}
    return {key: value for key, value in flat.items() if key not in places and not (key in NEW and value is None)}


def digest(settings: Mapping[str, Any], data: Arrays) -> str:
    """Return a hash of settings and of the data themselves."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in data:
        numbers = np.ascontiguousarray(array, dtype="<f8") if array.dtype.kind not in "US" else None
        content = json.dumps(array.tolist()).encode() if numbers is None else numbers.tobytes()  # labels are text
        digest.update(repr(array.shape).encode() + content)
    if (preparation := getattr(data, "preparation", None)) is not None:
        told = [asdict(target) for target in preparation.targets], dict(preparation.sources or {})
        digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.hexdigest()
