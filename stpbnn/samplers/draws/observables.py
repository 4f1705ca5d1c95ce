r"""What is kept of every draw: functions, losses and order parameters, a few numbers in place of all weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpyro.distributions import Normal

from stpbnn._random import standard_normal
from stpbnn.network import FullyConnected, Weights
from stpbnn.samplers.draws.training_data import Data

__all__ = ["kernel_scales", "new_targets", "observe", "squared_loss"]


def squared_loss(y: jax.Array, f: jax.Array) -> jax.Array:
    """Return |y − f|², summed over outputs and averaged over rows."""
    return jnp.sum((y - f) ** 2) / len(y)


def new_targets(key: jax.Array, f: jax.Array, temperature: jax.Array | float) -> jax.Array:
    """Return a draw of new targets y ~ N(f, T) where f is a draw of the function.

    Parameters
    ----------
    key : jax.Array
        The JAX random key of the draw, split in two for the rest of it.
    f : jax.Array
        Values of the function.
    temperature : float
        T, the variance of the likelihood.
    """
    return f + jnp.sqrt(temperature) * standard_normal(jax.random.fold_in(key, 2), f.shape, f.dtype)


def kernel_scales(net: FullyConnected, X: jax.Array, features: list[jax.Array]) -> jax.Array:
    r"""Return tr K̂_l / tr(κ(K̂_{l-1})/λ_l) for every layer: how much larger the sampled kernel is than expected.

    :math:`\hat K_l = \sigma(h^l)\sigma(h^l)^T / (\lambda_l N_l)` is the kernel of the sampled features, and the
    expectation is over the weights of layer l under the prior, given the layer below.
    """
    prior, kappa = net.prior, net.sigma.kernel
    variance = jnp.mean(X**2, axis=1)
    scales = []
    for layer, hidden in enumerate(features):
        below = variance / prior.precisions[layer] + prior.bias_variance
        variance = jnp.mean(hidden**2, axis=1)
        scales.append(jnp.sum(variance) / jnp.sum(kappa(below, below, below)))
    return jnp.stack(scales)


def observe(net: FullyConnected, weights: Weights, data: Data, temperature: jax.Array | float) -> dict[str, jax.Array]:
    """Return the observables of one draw of (whitened) weights, and `train_f`, the function at the training inputs."""
    features = net.features(weights, data.X)
    f = net.readout(weights, features[-1])
    log_likelihood = Normal(f, jnp.sqrt(temperature)).log_prob(data.y)
    observed = {
        "readout_norm": jnp.mean(weights["v"] ** 2, axis=0),
        "kernel_scale": kernel_scales(net, data.X, features),
        "train_f": f,
        "train_loss": squared_loss(data.y, f),
        "log_likelihood": log_likelihood if f.ndim == 1 else jnp.sum(log_likelihood, axis=1),
    }
    if data.X_test is not None:
        observed["f"] = net.forward(weights, data.X_test)
        if data.y_test is not None:
            observed["test_loss"] = squared_loss(data.y_test, observed["f"])
    return observed
