"""What a draw is measured against: the kernel of infinite width with its eigenmodes, and that of the targets."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import eigh

from stpbnn import kernels
from stpbnn.network import FullyConnected

__all__ = ["MODES", "REFERENCES", "References", "kernel_overlap", "references"]

REFERENCES = ("nngp", "targets")
LARGEST = 1000  # training points; beyond, the overlap would cost more than it tells
MODES = 50  # eigenmodes whose coefficients are kept of every draw, at most


class References(NamedTuple):
    """Kernels of norm one (2, P, P), and the leading eigenmodes of the first: values (k,) and vectors (k, P)."""

    kernels: jax.Array
    eigenvalues: jax.Array
    eigenvectors: jax.Array


def references(net: FullyConnected, X: jax.Array, y: jax.Array) -> References | None:
    """Return the kernel of the last hidden layer at infinite width and y yᵀ, with the eigenmodes of the former.

    Eigenvalues are those of κ/λ_L, in the units of the covariance of f.

    Parameters
    ----------
    net : FullyConnected
        The network.
    X : jax.Array of shape (P, N_0)
        Training inputs; above 1000 of them there are no references.
    y : jax.Array of shape (P,) or (P, D)
        Training targets.
    """
    if len(X) > LARGEST:
        return None
    features, both = _references(net, X, y)
    last = (max(0, len(X) - MODES), len(X) - 1)
    values, vectors = eigh(np.asarray(features, dtype=np.float64), subset_by_index=last)
    modes = (jnp.asarray(part, X.dtype) for part in (values[::-1] / net.precisions[-1], vectors.T[::-1]))
    return References(both, *modes)


@partial(jax.jit, static_argnums=0)
def _references(net: FullyConnected, X: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the kernel of the last hidden layer at infinite width, and both kernels of norm one."""
    below = net.prior._replace(precisions=net.precisions[:-1])
    gram = kernels.input_gram(net.prior, X)
    hidden = kernels.nngp(net.sigma, below, gram) if net.depth > 1 else gram
    targets = y.reshape(len(y), -1)
    features = kernels.features(net.sigma, hidden, 1.0).entries
    both = jnp.stack([features, targets @ targets.T])
    norms = jnp.linalg.norm(both, axis=(1, 2), keepdims=True)
    return features, both / jnp.where(norms > 0, norms, 1)


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
