"""Gradients of kernels without the array of all derivatives, against scikit-learn's."""

from itertools import product

import numpy as np
import pytest
from student_t_data import KERNELS

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
