"""Draws of a network whose targets are classes: labels as targets, class probabilities, and scores of one draw."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stpbnn import _validation as check
from stpbnn._labels import class_labels, fitting_classes
from stpbnn.network import Convolutional, FullyConnected, Network, Weights
from stpbnn.samplers.draws.observables import of_hidden
from stpbnn.samplers.draws.training_data import Data

BINS = 10

__all__ = ["encoded", "log_probabilities", "new_labels", "observe_classes"]


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
    check.refuse_unknown_labels("y_test", of_test, classes)
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
