"""What a likelihood of classes asks of the other tables of a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["check_classes", "with_settings_of_classes"]


def with_settings_of_classes(raw: Any) -> Any:
    """Return the tables of a card; those of classes with the explicit readout and T = 1, unless the card gives them."""
    if not isinstance(raw, Mapping) or _entry(raw.get("network"), "likelihood") in (None, "gaussian"):
        return raw
    posterior = raw.get("posterior", {})
    if isinstance(posterior, Mapping):
        raw = {**raw, "posterior": {"temperature": 1.0, **posterior}}
    sampler = raw.get("sampler", {})
    if isinstance(sampler, Mapping):
        return {**raw, "sampler": {"readout": "explicit", **sampler}}
    if "readout" in getattr(sampler, "model_fields_set", ("readout",)):
        return raw
    return {**raw, "sampler": sampler.model_copy(update={"readout": "explicit"})}


def check_classes(card: Any) -> None:
    """Raise ValueError, naming the key, for settings that only numbers as targets have."""
    given = f'with network.likelihood = "{card.network.likelihood}"'
    if card.process is not None:
        raise ValueError(f'process.name: got "{card.process.name}" {given}, expected numbers as targets; leave it out')
    if card.sampler.readout != "explicit":
        raise ValueError(
            f'sampler.readout: got "{card.sampler.readout}" {given}, expected "explicit": the readout can be '
            "integrated with the Gaussian likelihood alone"
        )
    for key in ("noise", "trend", "solver"):
        if getattr(card.theories, key) != type(card.theories).model_fields[key].default:
            raise ValueError(f"theories.{key}: got it {given}, expected numbers as targets; leave it out")
    for key in ("labels", "normalize_target"):
        if getattr(card.data, key) is not None:
            raise ValueError(f"data.{key}: got it {given}, whose targets are the classes themselves; leave it out")


def _entry(table: Any, key: str) -> Any:
    return table.get(key) if isinstance(table, Mapping) else getattr(table, key, None)
