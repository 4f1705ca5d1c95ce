"""What a draw is measured against: the kernel of infinite width with its eigenmodes, and that of the targets."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import eigh

from stpbnn import kernels
from stpbnn._precision import in_float64
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.samplers.draws.observables import tells_positions

__all__ = ["MODES", "REFERENCES", "References", "kernel_overlap", "position_overlap", "references"]

REFERENCES = ("nngp", "targets")
LARGEST = 1000  # training points; beyond, the overlap would cost more than it tells
LARGEST_LOCAL = 2**24  # entries of the kernels at all positions
MODES = 50  # eigenmodes whose coefficients are kept of every draw, at most


class References(NamedTuple):
    """Kernels of norm one (2, P, P), and the leading eigenmodes of the first: values (k,) and vectors (k, P).

    With them the kernels at each of few positions of a convolutional network, of norm one (d, P, P).
    """

    kernels: jax.Array
    eigenvalues: jax.Array
    eigenvectors: jax.Array
    local: jax.Array | None = None


def references(net: Network, X: jax.Array, y: jax.Array) -> References | None:
    """Return the kernel of the last hidden layer at infinite width and y yᵀ, with the eigenmodes of the former.

    Eigenvalues are those of κ/λ_L, in the units of the covariance of f.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network.
    X : jax.Array of shape (P, N_0)
        Training inputs; above 1000 of them there are no references.
    y : jax.Array of shape (P,) or (P, D)
        Training targets.
    """
    if len(X) > LARGEST:
        return None
    if isinstance(net, Convolutional):
        features = _of_images(net, np.asarray(X, dtype=np.float64))
        both = _normed(jnp.asarray(np.stack([features, _of_targets(np.asarray(y))]), X.dtype))
    else:
        features, both = _references(net, X, y)
    last = (max(0, len(X) - MODES), len(X) - 1)
    values, vectors = eigh(np.asarray(features, dtype=np.float64), subset_by_index=last)
    leading = values[::-1] / net.precisions[-1], vectors.T[::-1]
    values, vectors = jax.device_put([part.astype(X.dtype) for part in leading])
    return References(both, values, vectors, _local(net, X))


@partial(jax.jit, static_argnums=0)
def _references(net: FullyConnected, X: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the kernel of the last hidden layer at infinite width, and both kernels of norm one."""
    below = net.prior._replace(precisions=net.precisions[:-1])
    gram = kernels.input_gram(net.prior, X)
    hidden = kernels.nngp(net.sigma, below, gram) if net.depth > 1 else gram
    features = kernels.features(net.sigma, hidden, 1.0).entries
    return features, _normed(jnp.stack([features, _of_targets(y)]))


def _of_targets(y: Any) -> Any:
    return y.reshape(len(y), -1) @ y.reshape(len(y), -1).T


def _normed(K: jax.Array) -> jax.Array:
    norms = jnp.linalg.norm(K, axis=(1, 2), keepdims=True)
    return K / jnp.where(norms > 0, norms, 1)


@in_float64
def _of_images(net: Convolutional, X: np.ndarray) -> np.ndarray:
    """Return the kernel of the last hidden layer of a convolutional network at infinite width, over positions."""
    return kernels.cross_kernel(kernels.feature_map(net), net.prior, X).entries * net.precisions[-1]


def _local(net: Network, X: jax.Array) -> jax.Array | None:
    """Return the kernels at each position, of norm one, where they are few and take little memory."""
    if not tells_positions(net) or net.positions * len(X) ** 2 > LARGEST_LOCAL:
        return None
    return _normed(jnp.asarray(kernels.position_kernels(net, np.asarray(X, dtype=np.float64)), X.dtype))


def kernel_overlap(features: jax.Array, references: jax.Array) -> jax.Array:
    r"""Return the overlap of the sampled kernel of the last hidden layer with each reference, (2,).

    .. math:: \frac{\mathrm{tr}(\hat K K)}{|\hat K|\,|K|}, \qquad \hat K = \Phi\Phi^T

    One for the same kernel up to scale; at infinite width that with the NNGP kernel is one, and a network that learns
    features turns its kernel towards the targets.

    Parameters
    ----------
    features : jax.Array of shape (P, N_L)
        Φ, the features of the last hidden layer at the training inputs.
    references : jax.Array of shape (2, P, P)
        K, of norm one.

    Examples
    --------
    >>> known = jnp.stack([jnp.eye(2) / 2**0.5, jnp.ones((2, 2)) / 2])
    >>> kernel_overlap(jnp.eye(2), known).round(3).tolist()
    [1.0, 0.707]
    """
    K = features @ features.T
    norm = jnp.linalg.norm(K)
    return jnp.tensordot(references, K, axes=2) / jnp.where(norm > 0, norm, 1)


def position_overlap(last: jax.Array, references: References) -> jax.Array:
    """Return the overlap of the sampled kernel at each position with that of infinite width there, and with y yᵀ.

    Parameters
    ----------
    last : jax.Array of shape (P, d N_L)
        Features of the last hidden layer of a convolutional network at the training inputs.
    references : References
        With the kernels at each position.

    Returns
    -------
    jax.Array of shape (2, d)
    """
    assert references.local is not None
    P, d = len(last), len(references.local)
    features = last.reshape(P, d, -1)

    def at(known: jax.Array, of_position: jax.Array) -> jax.Array:
        return kernel_overlap(of_position, jnp.stack([known, references.kernels[1]]))

    return jax.lax.map(lambda one: at(*one), (references.local, jnp.moveaxis(features, 1, 0))).T
