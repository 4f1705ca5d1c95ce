"""The sites of the programs: numbers with priors, and class labels as observations."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpyro
from numpyro import distributions as dist
from numpyro.handlers import scale

from stpbnn.network import Network
from stpbnn.programs.traced import value_above

__all__ = [
    "above",
    "degrees_of_freedom",
    "label_sites",
    "parameter",
    "refuse_labels",
    "temperature_site",
]


def parameter(name: str, prior: Any) -> Any:
    """Return a fixed value as it is, or a draw from its prior under the site `name`."""
    return numpyro.sample(name, prior) if isinstance(prior, dist.Distribution) else prior


def temperature_site(value: Any) -> jax.Array | float:
    """Return a fixed temperature, or a draw from its prior under the site name "temperature"."""
    return parameter(
        "temperature", value if isinstance(value, dist.Distribution) else value_above("temperature", value, 0)
    )


def above(name: str, prior: dist.Distribution, minimum: int, why: str) -> dist.Distribution:
    """Refuse a prior that may fall below a minimum."""
    support = prior.support
    while hasattr(support, "base_constraint"):  # a law of vectors: take the support of their entries
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


def label_sites(net: Network, f: jax.Array, y: jax.Array | None, temperature: Any) -> None:
    """Sample the site "y" under the plate "data": 0 or 1 of two classes (given also as -1 and 1), else unit vectors.

    Parameters
    ----------
    net : Network
        The network, whose likelihood is that of classes.
    f : jax.Array of shape (P,) or (P, D)
        Its outputs.
    y : jax.Array of the same shape, or None
        Labels.
    temperature : float
        T: every label counts 1/T times.
    """
    if isinstance(temperature, dist.Distribution):
        raise ValueError(
            f"temperature: got a prior with a {net.likelihood} likelihood, expected a number: T = 1 is Bayes, a "
            "smaller one a cold posterior"
        )
    T = value_above("temperature", temperature, 0)
    with numpyro.plate("data", len(f)), scale(scale=1 / T):
        if net.likelihood == "bernoulli":
            numpyro.sample("y", dist.Bernoulli(logits=f), obs=None if y is None else (y > 0).astype(f.dtype))
        else:
            numpyro.sample("y", dist.Multinomial(total_count=1, logits=f), obs=y)


def refuse_labels(net: Network, what: str = "net") -> None:
    """Refuse networks whose targets are classes, where the Gaussian likelihood is needed."""
    if net.likelihood != "gaussian":
        raise ValueError(
            f"{what}: got the likelihood {net.likelihood!r}, expected 'gaussian', which the readout or the function "
            "can be integrated with; for classes take stpbnn.NNGPClassifier, or stpbnn.sample with readout='explicit'"
        )
