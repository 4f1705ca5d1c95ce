r"""Inputs in the directions that they span: the same law of functions, with fewer first-layer weights to sample.

Functions depend on the first layer only through :math:`W^T x` at the inputs at hand. With an orthonormal basis E
(N_0, r + s) whose first r columns span the training inputs and whose next s the rest of the test inputs,
:math:`E^T W` is standard normal again, the likelihood depends on its first r rows alone, and the other rows keep their
prior: chains run over r rows, and every draw is completed by exact prior draws of the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from stpbnn._random import standard_normal
from stpbnn.network import Weights

__all__ = ["Rotation", "rotate"]


class Rotation(NamedTuple):
    """Rotated inputs, scaled so that a network with one input a column is the original network."""

    X_train: np.ndarray
    """(P, r): the training inputs as the chains see them."""
    X: np.ndarray
    """(P, r + s): the training inputs beside `X_test`; the last s columns are zero."""
    X_test: np.ndarray | None
    """(n, r + s): the test inputs."""
    basis: np.ndarray
    """(N_0, r + s): orthonormal columns E."""

    def complete(self, key: jax.Array, weights: Weights) -> dict[str, jax.Array]:
        """Return weights for r + s inputs from those of a chain over r: the missing rows of W1 are prior draws.

        Parameters
        ----------
        key : jax.Array
            A JAX random key.
        weights : mapping of str to jax.Array
            Whitened weights, "W1" of shape (r, N_1).
        """
        W = weights["W1"]
        rest = standard_normal(key, (self.basis.shape[1] - W.shape[0], W.shape[1]), W.dtype)
        return dict(weights) | {"W1": jnp.concatenate([W, rest])}

    def restore(self, key: jax.Array, weights: Weights) -> dict[str, jax.Array]:
        """Return weights for the original N_0 inputs; directions that no input has are prior draws.

        Parameters
        ----------
        key : jax.Array
            A JAX random key.
        weights : mapping of str to jax.Array
            Completed whitened weights, "W1" of shape (r + s, N_1).
        """
        E, W = jnp.asarray(self.basis, weights["W1"].dtype), weights["W1"]
        anything = standard_normal(key, (E.shape[0], W.shape[1]), W.dtype)
        return dict(weights) | {"W1": anything + E @ (W - E.T @ anything)}


def _row_space(X: np.ndarray, largest: float, minimum: int = 0) -> np.ndarray:
    """Return an orthonormal basis (N_0, r) of the rows of X, the directions of largest spread first."""
    _, spread, directions = linalg.svd(X, full_matrices=False)
    rank = np.sum(spread > max(X.shape) * np.finfo(float).eps * largest)
    return directions[: max(rank, minimum)].T


def rotate(X: ArrayLike, X_test: ArrayLike | None = None) -> Rotation:
    r"""Rotate inputs to the directions that they span, in float64.

    .. math:: X \mapsto \sqrt{(r + s) / N_0}\; X E, \qquad E^T E = 1

    so that X Xᵀ/N_0, and with it the law of the functions, is unchanged. It pays where r < N_0: with fewer examples
    than inputs, and with pixels that never change.

    Parameters
    ----------
    X : array of shape (P, N_0)
        Training inputs.
    X_test : array of shape (n, N_0) or None
        Test inputs.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rotation = rotate(rng.normal(size=(3, 10)), rng.normal(size=(2, 10)))
    >>> rotation.X_train.shape, rotation.X.shape, rotation.X_test.shape
    ((3, 3), (3, 5), (2, 5))
    """
    X = np.asarray(X, dtype=np.float64)
    n_inputs = X.shape[1]
    basis = _row_space(X, linalg.norm(X), minimum=1)
    r = basis.shape[1]
    if X_test is not None:
        X_test = np.asarray(X_test, dtype=np.float64)
        rest = X_test - (X_test @ basis) @ basis.T
        basis = np.concatenate([basis, _row_space(rest - (rest @ basis) @ basis.T, linalg.norm(X_test))], axis=1)
    coordinates = X @ basis[:, :r]
    scale = np.sqrt(basis.shape[1] / n_inputs)
    return Rotation(
        coordinates * np.sqrt(r / n_inputs),
        np.pad(coordinates, ((0, 0), (0, basis.shape[1] - r))) * scale,
        None if X_test is None else X_test @ basis * scale,
        basis,
    )
