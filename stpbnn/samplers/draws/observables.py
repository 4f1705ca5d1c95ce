"""What is kept of every draw: functions, losses and order parameters; for classes labels, probabilities and scores."""

from __future__ import annotations

from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Normal

from stpbnn import _validation as check
from stpbnn._labels import class_labels, fitting_classes, refuse_unknown_labels
from stpbnn._random import standard_normal
from stpbnn.network import Convolutional, FullyConnected, Network, Weights
from stpbnn.samplers.draws.training_data import Data

__all__ = [
    "encoded",
    "kernel_scales",
    "new_labels",
    "new_targets",
    "observe",
    "observe_classes",
    "of_hidden",
    "squared_loss",
    "tells_positions",
]

MOST_POSITIONS = 64  # whose overlaps are kept of every draw
BINS = 10  # bins of confidence in the calibration error of a draw


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


def kernel_scales(net: Network, X: jax.Array, features: list[jax.Array]) -> jax.Array:
    r"""Return tr K̂_l / tr(κ(K̂_{l-1})/λ_l) for every layer: how much larger the sampled kernel is than expected.

    :math:`\hat K_l = \sigma(h^l)\sigma(h^l)^T / (\lambda_l N_l)` is the kernel of the sampled features, and the
    expectation is over the weights of layer l under the prior, given the layer below. For convolutional networks both
    are averaged over positions.
    """
    prior, kappa = net.prior, net.sigma.kernel
    scales = []
    for layer, (below, hidden) in enumerate(zip([X, *features], features, strict=False)):
        variance = net.mean_squares(layer, below) / prior.precisions[layer] + prior.bias_variance
        scales.append(jnp.mean(hidden**2) / jnp.mean(kappa(variance, variance, variance)))
    return jnp.stack(scales)


def of_hidden(net: Network, weights: Weights, X: jax.Array, features: list[jax.Array]) -> dict[str, jax.Array]:
    r"""Return what is observed of the weights of the readout and of the hidden features.

    These are the norm of the readout, the scales of the hidden kernels and, for one output of a convolutional network
    whose readout has weights of its own at each of d <= 64 positions, the overlap of these weights,

    .. math:: Q_{ij} = \frac{\lambda_L}{N_L} \sum_a v_{ai} v_{aj}

    whose mean is the unit matrix under the prior.
    """
    observed = {"readout_norm": jnp.mean(weights["v"] ** 2, axis=0), "kernel_scale": kernel_scales(net, X, features)}
    if tells_positions(net):
        v = weights["v"].reshape(-1, net.channels[-1])
        observed["readout_overlap"] = v @ v.T / net.channels[-1]
    return observed


def tells_positions(net: Network) -> TypeGuard[Convolutional]:
    """Return whether the readout has weights of its own at each of a few positions, and one output."""
    return isinstance(net, Convolutional) and net.local and net.positions <= MOST_POSITIONS and net.outputs == 1


def observe(net: Network, weights: Weights, data: Data, temperature: jax.Array | float) -> dict[str, jax.Array]:
    """Return the observables of one draw of (whitened) weights, and `train_f`, the function at the training inputs."""
    features = net.features(weights, data.X)
    f = net.read_out(weights, features[-1])
    log_likelihood = Normal(f, jnp.sqrt(temperature)).log_prob(data.y)
    observed = {
        **of_hidden(net, weights, data.X, features),
        "train_f": f,
        "train_loss": squared_loss(data.y, f),
        "log_likelihood": log_likelihood if f.ndim == 1 else jnp.sum(log_likelihood, axis=1),
    }
    if data.X_test is not None:
        observed["f"] = net.forward(weights, data.X_test)
        if data.y_test is not None:
            observed["test_loss"] = squared_loss(data.y_test, observed["f"])
    return observed


def encoded(net: Network, y: Any, y_test: Any) -> tuple[np.ndarray, Any, np.ndarray]:
    """Return labels as targets, -1 and +1 or unit vectors, those of the test set, and the classes."""
    check.instance("net", net, FullyConnected, Convolutional)
    labels = class_labels("y", y)
    classes = fitting_classes("y", labels, net)

    def targets(labels: np.ndarray) -> np.ndarray:
        place = np.searchsorted(classes, labels)
        return 2.0 * place - 1 if net.likelihood == "bernoulli" else np.eye(len(classes))[place]

    if y_test is None:
        return targets(labels), None, classes
    of_test = class_labels("y_test", y_test)
    refuse_unknown_labels("y_test", of_test, classes)
    return targets(labels), targets(of_test), classes


def log_probabilities(net: Network, f: jax.Array) -> jax.Array:
    """Return the logarithms of the class probabilities, (n, C), from outputs (n,) or (n, C).

    Examples
    --------
    >>> net = FullyConnected((3,), likelihood="bernoulli")
    >>> jnp.exp(log_probabilities(net, jnp.zeros(1))).tolist()
    [[0.5, 0.5]]
    """
    if net.likelihood == "bernoulli":
        return jnp.stack([jax.nn.log_sigmoid(-f), jax.nn.log_sigmoid(f)], axis=1)
    return jax.nn.log_softmax(f, axis=1)


def _chosen(y: jax.Array) -> jax.Array:
    """Return unit vectors (n, C)."""
    return jnp.stack([y < 0, y > 0], axis=1).astype(y.dtype) if y.ndim == 1 else y


def new_labels(key: jax.Array, net: Network, f: jax.Array) -> jax.Array:
    """Return a draw of new labels, as targets, where f is a draw of the function."""
    logs = log_probabilities(net, f)
    drawn = jax.random.categorical(jax.random.fold_in(key, 2), logs, axis=1)
    return (2.0 * drawn - 1).astype(f.dtype) if f.ndim == 1 else jax.nn.one_hot(drawn, f.shape[1], dtype=f.dtype)


def observe_classes(net: Network, weights: Weights, data: Data) -> dict[str, jax.Array]:
    """Return the observables of one draw of (whitened) weights, and `train_f`, the function at the training inputs.

    Losses are negative log likelihoods, averaged over rows; log likelihoods are those of T = 1.
    """
    features = net.features(weights, data.X)
    f = net.read_out(weights, features[-1])
    log_likelihood = jnp.sum(_chosen(data.y) * log_probabilities(net, f), axis=1)
    observed = {
        **of_hidden(net, weights, data.X, features),
        "train_f": f,
        "train_loss": -jnp.mean(log_likelihood),
        "log_likelihood": log_likelihood,
    }
    if data.X_test is not None:
        observed["f"] = net.forward(weights, data.X_test)
        logs = log_probabilities(net, observed["f"])
        observed["class_probability"] = jnp.exp(logs)
        if data.y_test is not None:
            truth = _chosen(data.y_test)
            observed["test_loss"] = -jnp.mean(jnp.sum(truth * logs, axis=1))
            observed["test_brier"] = jnp.mean(jnp.sum((jnp.exp(logs) - truth) ** 2, axis=1))
            right = (jnp.argmax(logs, axis=1) == jnp.argmax(truth, axis=1)).astype(f.dtype)
            observed["test_accuracy"] = jnp.mean(right)
            observed["test_calibration_error"] = _calibration_error(jnp.exp(jnp.max(logs, axis=1)), right)
    return observed


def _calibration_error(confidence: jax.Array, right: jax.Array) -> jax.Array:
    """Return the expected calibration error over ten bins of confidence."""
    bins = jnp.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = jnp.zeros(BINS, confidence.dtype).at[bins].add(right - confidence)
    return jnp.sum(jnp.abs(gaps)) / len(confidence)
