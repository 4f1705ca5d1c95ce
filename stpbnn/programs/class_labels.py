"""Class labels as observed sites: two classes by the logistic function, more by the softmax, to the power 1/T."""

from __future__ import annotations

from typing import Any

import jax
import numpyro
from numpyro import distributions as dist
from numpyro.handlers import scale

from stpbnn.network import Network
from stpbnn.programs.sites import value_above

__all__ = ["label_sites", "refuse_labels"]


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
