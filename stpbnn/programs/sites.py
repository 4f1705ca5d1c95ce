"""Sites that the programs share: numbers that are given, or drawn from a prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import numpyro
from numpyro import distributions as dist

from stpbnn._validation import number

__all__ = ["above", "degrees_of_freedom", "parameter", "recalled", "temperature_site", "value_above"]


def value_above(name: str, value: Any, minimum: float) -> Any:
    """Return a number that is above a minimum; of a traced one nothing is known, and it is returned as it is."""
    if isinstance(value, jax.core.Tracer):
        return value
    return number(name, value.item() if isinstance(value, jax.Array) and value.ndim == 0 else value, minimum=minimum)


def parameter(name: str, prior: Any) -> Any:
    """Return a fixed value as it is, or a draw from its prior under the site `name`."""
    return numpyro.sample(name, prior) if isinstance(prior, dist.Distribution) else prior


def temperature_site(value: Any) -> jax.Array | float:
    """Return a fixed temperature, or a draw from its prior under the site name "temperature"."""
    return parameter(
        "temperature", value if isinstance(value, dist.Distribution) else value_above("temperature", value, 0)
    )


def recalled(name: str, prior: Any, samples: Mapping[str, Any]) -> Any:
    """Return a fixed value as it is, or the draws of the site `name` among posterior samples."""
    if not isinstance(prior, dist.Distribution):
        return prior
    if name not in samples:
        raise ValueError(f"samples: got {sorted(samples)}, expected also {name!r}, which has a prior")
    return samples[name]


def above(name: str, prior: dist.Distribution, minimum: int, why: str) -> dist.Distribution:
    """Refuse a prior that may fall below a minimum."""
    support = prior.support
    while hasattr(support, "base_constraint"):  # of vectors: that of their entries
        support = support.base_constraint
    if not np.all(np.asarray(getattr(support, "lower_bound", -np.inf)) >= minimum):
        raise ValueError(
            f"{name}: got a {type(prior).__name__} that may fall below {minimum}, {why}; expected a prior above "
            f"{minimum}, such as TruncatedNormal({minimum + 3.0}, 3.0, low={minimum}.0) or a shifted Gamma"
        )
    return prior


def degrees_of_freedom(value: Any) -> Any:
    """Return a number, or a prior, that is above two."""
    if isinstance(value, dist.Distribution):
        return above("df", value, 2, "where the covariance does not exist")
    return value_above("df", value, 2)
