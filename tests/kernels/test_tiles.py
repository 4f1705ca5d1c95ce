"""Kernels of sets of any size, tile by tile, against the whole matrix at once."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stpbnn import FullyConnected, kernels

pytestmark = pytest.mark.usefixtures("float64")
NET = FullyConnected((5, 6), "relu", weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0)
KERNEL = kernels.nngp_map(NET)


class Block(NamedTuple):
    entries: np.ndarray
    left: np.ndarray
    right: np.ndarray


def inputs(n, seed):
    """Return the first of 600 inputs."""
    return np.random.default_rng(seed).normal(size=(600, 3))[:n]


@pytest.fixture(scope="module")
def whole():
    """Return a function of the numbers of inputs, and of the seeds: the kernel at once, of which each is a block."""

    @cache
    def entire(one, other):
        with jax.enable_x64(True):
            X = jnp.array(inputs(600, one))
            second = () if one == other else (jnp.array(inputs(600, other)),)
            found = jax.jit(lambda *sets: kernels.nngp(NET.sigma, NET.prior, kernels.input_gram(NET.prior, *sets)))
            return jax.tree.map(np.asarray, found(X, *second))

    def block(n, m, one, other):
        found = entire(one, other)
        return Block(found.entries[:n, :m], found.left[:n], found.right[:m])

    return block


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 300), (17, 16), (300, 33), (257, 513)])
def test_cross_kernel_of_any_shape(n, m, whole):
    found = kernels.cross_kernel(KERNEL, NET.prior, inputs(n, 0), inputs(m, 1))
    for part, expected in zip(found, whole(n, m, 0, 1), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 16, 17, 255, 257, 600])
def test_kernel_of_a_set_with_itself(n, whole):
    X, whole = inputs(n, 2), whole(n, n, 2, 2)
    lower = kernels.symmetric_kernel(KERNEL, NET.prior, X)
    np.testing.assert_allclose(lower, np.tril(whole.entries), rtol=1e-12)
    found = kernels.cross_kernel(KERNEL, NET.prior, X)
    np.testing.assert_allclose(found.entries, whole.entries, rtol=1e-12)
    np.testing.assert_array_equal(found.entries, found.entries.T)
    np.testing.assert_allclose(found.left, whole.left, rtol=1e-12)
    np.testing.assert_allclose(found.right, np.diag(whole.entries), rtol=1e-12)


@pytest.mark.parametrize("P", [257, 277, 520])
def test_tiles_of_a_triangle_are_hardly_filled_up(P):
    """With 256 rows each they would hold 1.5 to 3 P² entries, of which P²/2 are needed."""
    tiles = kernels.input_tiles(NET.prior, inputs(P, 2))
    assert sum(tile.values.entries.size for tile in tiles) < 1.2 * P**2
