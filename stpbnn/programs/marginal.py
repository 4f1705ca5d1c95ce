"""The Bayesian network with its readout integrated out, as a NumPyro model of the hidden weights only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro.distributions import Distribution, Normal, constraints

from stpbnn._random import standard_normal
from stpbnn._validation import instance
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.programs.linear_model import design, log_normal
from stpbnn.programs.sites import refuse_labels, temperature_site
from stpbnn.programs.traced import points, targets

__all__ = ["LinearGaussian", "marginal_network"]


class LinearGaussian(Distribution):
    r"""The law of noisy linear outputs whose coefficients are integrated out.

    .. math:: Y = \Psi u + \sqrt T\, \eta \;\sim\; N(0,\ \Psi\Psi^T + T\,1), \qquad u, \eta \sim N(0, 1)

    Parameters
    ----------
    design : jax.Array of shape (P, M)
        Ψ.
    temperature : float
        T, the variance of the noise.
    outputs : int
        D columns of targets that share Ψ; with one output targets have shape (P,).

    Examples
    --------
    >>> float(LinearGaussian(jnp.zeros((2, 3)), 1.0).log_prob(jnp.zeros(2)))  # -log 2π
    -1.8379
    """

    arg_constraints = {"design": constraints.real_matrix, "temperature": constraints.positive}  # noqa: RUF012
    pytree_data_fields = ("design", "temperature")

    def __init__(
        self,
        design: jax.Array,
        temperature: jax.Array | float,
        outputs: int = 1,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.design, self.temperature = design, temperature
        columns = () if outputs == 1 else (outputs,)
        super().__init__(event_shape=design.shape[:1] + columns, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """All real vectors, or matrices for several outputs."""
        return constraints.real_vector if self.event_dim == 1 else constraints.real_matrix

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Return the log density of targets, (P,) or (P, D)."""
        dtype = self.design.dtype
        targets = jnp.asarray(value, dtype).reshape(len(self.design), -1)
        return log_normal(self.design, targets, jnp.asarray(self.temperature, dtype))

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw targets, from the prior of u."""
        of_u, of_noise = jax.random.split(key)
        columns = 1 if self.event_dim == 1 else self.event_shape[1]
        u = standard_normal(of_u, (*sample_shape, self.design.shape[1], columns))
        clean = (self.design @ u).reshape(sample_shape + self.event_shape)
        return clean + jnp.sqrt(self.temperature) * standard_normal(of_noise, clean.shape)


def marginal_network(net: Network) -> Callable[..., jax.Array]:
    r"""Return the NumPyro model of a Bayesian network whose readout is integrated exactly.

    .. math::
        y \mid \Phi \sim N\Big(0,\ \frac{\Phi\Phi^T}{\lambda_L N_L} + \frac{1 1^T}{\lambda_b} + T\,1\Big), \qquad
        \text{hidden weights} \sim N(0, 1)

    with Φ (P, N_L) the features of the last hidden layer. The sites are the whitened hidden weights "W1".."WL" (and
    "b1".."bL" with biases), "temperature" where it has a prior, and the observed "y": one draw of all targets, which
    depend on each other once the readout is integrated out. The law of the hidden weights is that of `network`;
    several outputs share the factorisation.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network.

    Returns
    -------
    callable
        ``model(X, y=None, *, temperature)`` with X of shape (P, N_0), y of shape (P,) or (P, D), and as temperature T
        a number (the variance of the likelihood) or a NumPyro distribution. It returns Φ.

    Raises
    ------
    ValueError
        When the model runs: if the temperature is not a positive number, or the data are not numbers of fitting shapes.

    Notes
    -----
    On a CPU with several cores, run it under ``threadpoolctl.threadpool_limits(1, user_api="blas")``: the threads of
    the LAPACK library otherwise wait for those of XLA, and a triangular solve takes a hundred times longer.

    References
    ----------
    Theory notes, section 1. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> model = marginal_network(FullyConnected((16,), "erf"))
    >>> draws = Predictive(model, num_samples=5)(jax.random.key(0), jnp.ones((3, 8)), temperature=0.01)
    >>> sorted(draws), draws["y"].shape
    (['W1', 'y'], (5, 3))
    """
    instance("net", net, FullyConnected, Convolutional)
    refuse_labels(net)
    readout = ("v", f"b{net.depth + 1}")
    prior = net.prior

    def model(X: jax.Array, y: jax.Array | None = None, *, temperature: Any) -> jax.Array:
        variance = temperature_site(temperature)
        X = points("X", X)
        y = None if y is None else targets(y, len(X), net.outputs)
        weights = {
            name: numpyro.sample(name, Normal(0.0, 1.0).expand(shape).to_event(len(shape)))
            for name, shape in net.shapes(X.shape[1]).items()
            if name not in readout
        }
        features = net.pooled(net.features(weights, X)[-1])
        Psi = design(features, prior.precisions[-1], prior.bias_variance)
        numpyro.sample("y", LinearGaussian(Psi, variance, net.outputs), obs=y)
        return features

    return model
