r"""The readout given the hidden weights: its exact conditional law, draws from it, and the predictions it averages.

Chains that run over hidden weights alone lose nothing: at every draw the readout :math:`u = (v, b)` is Gaussian,

.. math::
    u \mid \Phi, y \sim N(w,\ T B^{-1}), \qquad w = B^{-1}\Psi^T y, \qquad B = \Psi^T\Psi + T,

with :math:`\Psi` the scaled features of the training inputs. Functions are averaged over it in closed form
(Rao-Blackwell), or drawn exactly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from stpbnn.network import Network, Weights
from stpbnn.programs import design, factorised_design
from stpbnn.samplers.draws.observables import observe
from stpbnn.samplers.draws.training_data import Data

__all__ = ["draw_readout", "observe_marginal", "predict"]


def _design(net: Network, features: jax.Array) -> jax.Array:
    return design(features, net.prior.precisions[-1], net.prior.bias_variance)


def _columns(y: jax.Array) -> jax.Array:
    return y[:, None] if y.ndim == 1 else y


def predict(
    net: Network, features: jax.Array, y: jax.Array, temperature: jax.Array | float, features_test: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return mean and variance of the outputs at test points, given the hidden weights and the training set.

    Parameters
    ----------
    net : Network
        The network: λ_L and 1/λ_b are used.
    features, features_test : jax.Array of shapes (P, N_L) and (n, N_L)
        Features of the last hidden layer at training and test inputs, as the readout sees them.
    y : jax.Array of shape (P,) or (P, D)
        Training targets.
    temperature : float
        T, the variance of the likelihood.

    Returns
    -------
    tuple of jax.Array
        Mean (n,) or (n, D), and variance of the same shape; outputs share the variance.

    Examples
    --------
    >>> from stpbnn import FullyConnected
    >>> net = FullyConnected((3,), "linear")
    >>> mean, variance = predict(net, jnp.ones((1, 3)), jnp.ones(1), 1.0, jnp.ones((2, 3)))
    >>> mean.tolist(), variance.tolist()
    ([0.5, 0.5], [0.5, 0.5])
    """
    law, other = factorised_design(_design(net, features), temperature), _design(net, features_test)
    mean = other @ law.coefficients(_columns(y))[1]
    variance = jnp.broadcast_to(law.variance(other)[:, None], mean.shape)
    shape = (len(other), *y.shape[1:])
    return mean.reshape(shape), variance.reshape(shape)


def draw_readout(
    key: jax.Array, net: Network, features: jax.Array, y: jax.Array, temperature: jax.Array | float
) -> dict[str, jax.Array]:
    """Return an exact draw of the whitened readout "v" (and "b(L+1)" with biases), given the hidden weights.

    Parameters
    ----------
    key : jax.Array
        A JAX random key.
    net : Network
        The network.
    features : jax.Array of shape (P, N_L)
        Features of the last hidden layer at the training inputs, as the readout sees them.
    y : jax.Array of shape (P,) or (P, D)
        Training targets.
    temperature : float
        T, the variance of the likelihood.

    Examples
    --------
    >>> from stpbnn import FullyConnected
    >>> net = FullyConnected((3,), "linear", bias_precision=1.0)
    >>> drawn = draw_readout(jax.random.key(0), net, jnp.ones((5, 3)), jnp.ones(5), 0.1)
    >>> {name: array.shape for name, array in drawn.items()}
    {'v': (3,), 'b2': ()}
    """
    u = factorised_design(_design(net, features), temperature).draw(key, _columns(y))
    width, output_shape = features.shape[1], y.shape[1:]
    drawn = {"v": u[:width].reshape(width, *output_shape)}
    if net.bias_precision is not None:
        drawn[f"b{net.depth + 1}"] = u[width].reshape(output_shape)
    return drawn


def observe_marginal(
    key: jax.Array, net: Network, weights: Weights, data: Data, temperature: jax.Array | float
) -> dict[str, jax.Array]:
    """Return the observables of one draw of hidden weights: those of `observe` for an exact draw of the readout.

    With test points, f_mean and f_variance, (n,) or (n, D), are the mean and variance of f given the hidden weights:
    averages over draws of the former have a smaller Monte Carlo error than those of f, for the same law.

    Parameters
    ----------
    key : jax.Array
        A JAX random key, for the readout.
    net : Network
        The network.
    weights : mapping of str to jax.Array
        Whitened hidden weights by name.
    data : Data
        Training set and test points.
    temperature : float
        T, the variance of the likelihood.
    """
    features = net.pooled(net.features(weights, data.X)[-1])
    drawn = dict(weights) | draw_readout(key, net, features, data.y, temperature)
    observed = observe(net, drawn, data, temperature)
    if data.X_test is not None:
        features_test = net.pooled(net.features(weights, data.X_test)[-1])
        observed["f_mean"], observed["f_variance"] = predict(net, features, data.y, temperature, features_test)
    return observed
