"""Gradients of kernels without the array of all derivatives, against scikit-learn's."""

from itertools import product

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern
from student_t_data import KERNELS

from stpbnn.kernels import contraction
from stpbnn.kernels.contraction import Inputs, value_and_pullback

LARGE = ["fixed", "rbf", "matern 5/2", "network"]  # more blocks and tiles than one


@pytest.mark.parametrize(("name", "examples"), [*((name, 15) for name in KERNELS), *product(LARGE, (1, 300))])
def test_pullback_is_scikit_learns_gradient(name, examples):
    """Against the whole array ∂K/∂θ of scikit-learn, with repeated inputs among them, at two values of θ in turn."""
    X = np.random.default_rng(0).normal(size=(examples, 2))
    X[examples // 3] = X[examples // 4]
    inputs, weights = Inputs(X), np.random.default_rng(1).normal(size=(examples, examples))
    weights += weights.T
    for kernel in (KERNELS[name], KERNELS[name].clone_with_theta(KERNELS[name].theta + 0.3)):
        K, pullback = value_and_pullback(kernel, inputs)
        expected, slopes = kernel(X, eval_gradient=True)
        np.testing.assert_allclose(K, np.tril(expected), rtol=1e-12, atol=1e-15)
        expected = np.tensordot(weights, slopes, 2)
        np.testing.assert_allclose(pullback(np.tril(weights)), expected, rtol=1e-9, atol=1e-12 * examples**2)


@pytest.mark.parametrize("name", ["rbf", "matern 5/2"])
def test_slopes_of_many_entries_are_not_kept(name, monkeypatch):
    """Against scikit-learn's."""
    monkeypatch.setattr(contraction, "KEPT", 0)
    X = np.random.default_rng(0).normal(size=(20, 2))
    pulled = value_and_pullback(KERNELS[name], Inputs(X))[1](np.tril(np.ones((20, 20))))
    np.testing.assert_allclose(pulled, KERNELS[name](X, eval_gradient=True)[1].sum(axis=(0, 1)), rtol=1e-10)


@pytest.mark.parametrize("nu", [0.5, 1.5, np.inf])
def test_nearly_repeated_inputs_keep_the_digits(nu):
    """Weights of the evidence at a small temperature; the slopes of Matern 1/2 diverge. Against scikit-learn."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    X = np.vstack([X, X[:10] + 1e-10])
    kernel, y = 1.0 * Matern([0.5, 1.0, 2.0], nu=nu), np.sin(X.sum(axis=1))
    K, slopes = kernel(X, eval_gradient=True)
    inverse = np.linalg.inv(K + 1e-6 * np.eye(30))
    weights = np.outer(inverse @ y, inverse @ y) - (inverse + inverse.T) / 2
    pulled = value_and_pullback(kernel, Inputs(X))[1](np.tril(weights))
    np.testing.assert_allclose(pulled, np.tensordot(weights, slopes, 2), rtol=1e-6)
