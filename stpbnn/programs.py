"""The NumPyro models: the Bayesian network as a probabilistic program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from stpbnn._validation import number
from stpbnn.network import FullyConnected

__all__ = ["network"]


def _temperature(value: Any) -> jax.Array | float:
    """Return a fixed temperature, or a draw from its prior under the site name "temperature"."""
    if isinstance(value, dist.Distribution):
        return numpyro.sample("temperature", value)
    return value if isinstance(value, jax.core.Tracer) else number("temperature", value)


def network(net: FullyConnected) -> Callable[..., jax.Array]:
    r"""Return the NumPyro model of a Bayesian network, over whitened weights.

    .. math:: y^\mu \sim N(f(x^\mu), T), \qquad \text{weights} \sim N(0, 1)

    The sites are the whitened weights "W1".."WL" and "v" (and "b1".."b(L+1)" with biases), "temperature" where it has
    a prior, and the observed "y" under the plate "data": leave-one-out statistics count P points whatever the number
    of outputs.

    Parameters
    ----------
    net : FullyConnected
        The network.

    Returns
    -------
    callable
        ``model(X, y=None, *, temperature)`` with X of shape (P, N_0), y of shape (P,) or (P, D), and as temperature
        T a number (the variance of the likelihood) or a NumPyro distribution. It returns f(X).

    Raises
    ------
    ValueError
        When the model runs: if the temperature is not a positive number.

    References
    ----------
    Theory notes, section 1. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> model = network(FullyConnected((16,), "erf"))
    >>> draws = Predictive(model, num_samples=5)(jax.random.key(0), jnp.ones((3, 8)), temperature=0.01)
    >>> draws["W1"].shape, draws["y"].shape
    ((5, 8, 16), (5, 3))
    """

    def model(X: jax.Array, y: jax.Array | None = None, *, temperature: Any) -> jax.Array:
        variance = _temperature(temperature)
        X = jnp.asarray(X)
        weights = {
            name: numpyro.sample(name, dist.Normal(0.0, 1.0).expand(shape).to_event(len(shape)))
            for name, shape in net.shapes(X.shape[1]).items()
        }
        f = net.forward(weights, X)
        with numpyro.plate("data", X.shape[0]):
            numpyro.sample("y", dist.Normal(f, jnp.sqrt(variance)).to_event(f.ndim - 1), obs=y)
        return f

    return model
