"""Kernels of sets of any size, tile by tile, against the whole matrix at once."""

import jax.numpy as jnp
import numpy as np
import pytest

from stpbnn import FullyConnected, kernels

pytestmark = pytest.mark.usefixtures("float64")
NET = FullyConnected((5, 6), "relu", weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0)
KERNEL = kernels.nngp_map(NET)


def inputs(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 3))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 300), (17, 16), (300, 33), (257, 513)])
def test_cross_kernel_of_any_shape(n, m):
    X, Z = inputs(n, 0), inputs(m, 1)
    whole = kernels.nngp(NET.sigma, NET.prior, kernels.input_gram(NET.prior, jnp.array(X), jnp.array(Z)))
    found = kernels.cross_kernel(KERNEL, NET.prior, X, Z)
    for part, expected in zip(found, whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 16, 17, 255, 257, 600])
def test_kernel_of_a_set_with_itself(n):
    X = inputs(n, 2)
    whole = kernels.nngp(NET.sigma, NET.prior, kernels.input_gram(NET.prior, jnp.array(X)))
    lower = kernels.symmetric_kernel(KERNEL, NET.prior, X)
    np.testing.assert_allclose(lower, np.tril(whole.entries), rtol=1e-12)
    found = kernels.cross_kernel(KERNEL, NET.prior, X)
    np.testing.assert_allclose(found.entries, whole.entries, rtol=1e-12)
    np.testing.assert_array_equal(found.entries, found.entries.T)
    np.testing.assert_allclose(found.left, whole.left, rtol=1e-12)
    np.testing.assert_allclose(found.right, np.diag(whole.entries), rtol=1e-12)
