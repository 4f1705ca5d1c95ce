"""What the programs are given: numbers and priors, arrays at their doors, and class labels as observed sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist
from numpyro.handlers import scale

from stpbnn import _validation as check
from stpbnn.network import Network

__all__ = [
    "above",
    "degrees_of_freedom",
    "label_sites",
    "lengths",
    "parameter",
    "points",
    "recalled",
    "refuse_labels",
    "targets",
    "temperature_site",
    "value_above",
]


def value_above(name: str, value: Any, minimum: float) -> Any:
    """Return a number that is above a minimum; a traced one is returned unchecked."""
    if isinstance(value, jax.core.Tracer):
        return value
    return check.number(
        name, value.item() if isinstance(value, jax.Array) and value.ndim == 0 else value, minimum=minimum
    )


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


def points(what: str, X: Any, features: int | None = None) -> jax.Array:
    """Return inputs (P, N_0) in JAX's current precision; under a JAX transformation only their shape is checked."""
    if not isinstance(X, jax.core.Tracer):
        return jnp.asarray(check.inputs(what, X, features=features))
    if X.ndim != 2 or features not in (None, X.shape[1]):
        raise ValueError(f"{what}: got shape {X.shape}, expected (examples, {features or 'features'})")
    return X


def lengths(what: str, value: Any, features: int) -> Any:
    """Return positive numbers, one or one for each feature; traced ones are returned unchecked."""
    if isinstance(value, jax.core.Tracer):
        return value
    if not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
        return value_above(what, value, 0)
    found = check.array(what, value)
    if found.shape != (features,) or not (found > 0).all():
        raise ValueError(f"{what}: got {check.shown(value)}, expected a positive number, or {features} of them")
    return jnp.asarray(found)


def targets(y: Any, examples: int, outputs: int = 1) -> jax.Array:
    """Return targets (P,) or (P, D) in JAX's current precision; only the shape of traced ones is checked."""
    shape = (examples,) if outputs == 1 else (examples, outputs)
    if np.shape(y) != shape:
        each = "one number" if outputs == 1 else f"{outputs} numbers, one for each output,"
        raise ValueError(f"y: got shape {np.shape(y)}, expected {shape}: {each} for each of the inputs")
    if isinstance(y, jax.core.Tracer):
        return y
    return jnp.asarray(check.targets("y", y, examples=examples, outputs=outputs))
