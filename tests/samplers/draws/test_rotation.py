"""Rotated inputs: the same Gram matrices, and weights that give the same functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stpbnn import FullyConnected
from stpbnn.samplers.draws.rotation import rotate

RNG = np.random.default_rng(0)
CASES = {
    "fewer examples than inputs": (RNG.normal(size=(4, 12)), RNG.normal(size=(3, 12))),
    "constant pixels": (RNG.normal(size=(9, 6)) * [1, 1, 0, 1, 0, 1], RNG.normal(size=(3, 6)) * [1, 1, 1, 1, 0, 1]),
    "test among training": (RNG.normal(size=(5, 8)), None),
    "full rank": (RNG.normal(size=(9, 4)), RNG.normal(size=(3, 4))),
    "zero": (np.zeros((3, 4)), RNG.normal(size=(2, 4))),
}
RANKS = {
    "fewer examples than inputs": (4, 7),
    "constant pixels": (4, 5),
    "test among training": (5, 5),
    "full rank": (4, 4),
    "zero": (1, 3),
}


@pytest.mark.parametrize("case", CASES)
def test_gram_matrices_and_ranks(case):
    X, X_test = CASES[case]
    X_test = X[:2] if X_test is None else X_test
    rotation = rotate(X, X_test)
    assert (rotation.X_train.shape[1], rotation.X.shape[1]) == RANKS[case]
    both, rotated = np.vstack([X, X_test]), np.vstack([rotation.X, rotation.X_test])
    np.testing.assert_allclose(rotated @ rotated.T / rotated.shape[1], both @ both.T / X.shape[1], atol=1e-13)
    r = rotation.X_train.shape[1]
    np.testing.assert_allclose(rotation.X_train @ rotation.X_train.T / r, X @ X.T / X.shape[1], atol=1e-13)
    np.testing.assert_allclose(rotation.basis.T @ rotation.basis, np.eye(RANKS[case][1]), atol=1e-13)


def test_completed_and_restored_weights_give_the_same_functions():
    X, X_test = CASES["fewer examples than inputs"]
    net, rotation = FullyConnected((5,), "erf"), rotate(X, X_test)
    chain = net.sample_prior(jax.random.key(0), 4)
    completed = rotation.complete(jax.random.key(1), chain)
    restored = rotation.restore(jax.random.key(2), completed)
    f = net.forward(restored, jnp.asarray(X))
    np.testing.assert_allclose(f, net.forward(chain, jnp.asarray(rotation.X_train)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(f, net.forward(completed, jnp.asarray(rotation.X)), rtol=1e-5, atol=1e-6)
    f_test = net.forward(restored, jnp.asarray(X_test))
    np.testing.assert_allclose(f_test, net.forward(completed, jnp.asarray(rotation.X_test)), rtol=1e-5, atol=1e-6)


def test_restored_prior_weights_are_prior_weights():
    """Independent standard normal numbers in all N_0 directions: their covariance over many units is the identity."""
    X, X_test = CASES["fewer examples than inputs"]
    rotation, units = rotate(X, X_test), 40_000
    completed = rotation.complete(jax.random.key(1), {"W1": jax.random.normal(jax.random.key(0), (4, units))})
    W = np.asarray(rotation.restore(jax.random.key(2), completed)["W1"])
    assert np.all(np.abs(W @ W.T / units - np.eye(12)) < 5 * (2 / units) ** 0.5)


def test_without_test_inputs():
    rotation = rotate(CASES["full rank"][0])
    assert rotation.X_test is None
    np.testing.assert_array_equal(rotation.X, rotation.X_train)
