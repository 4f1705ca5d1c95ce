"""Overlap of kernels: by hand, and at infinite width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stpbnn import FullyConnected
from stpbnn.samplers.draws.overlap import kernel_overlap, references

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("widths", [(20_000,), (3000, 3000)])
def test_a_wide_network_has_the_kernel_of_infinite_width(widths):
    net = FullyConnected(widths, "erf")
    X, y = jnp.asarray(RNG.normal(size=(8, 4))), jnp.asarray(RNG.normal(size=8))
    features = net.features(net.sample_prior(jax.random.key(0), 4), X)[-1]
    known = references(net, X, y)
    overlap = kernel_overlap(features, known.kernels)
    assert overlap[0] > 0.998
    expected = y @ features @ features.T @ y / (jnp.linalg.norm(features @ features.T) * (y @ y))
    np.testing.assert_allclose(overlap[1], expected, rtol=1e-5)


def test_by_hand():
    """A linear network of one unit: its kernel is a rank-one matrix."""
    net = FullyConnected((1,), "linear")
    X, y = jnp.eye(3), jnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    features = jnp.array([[1.0], [1.0], [1.0]])
    overlap = kernel_overlap(features, references(net, X, y).kernels)
    np.testing.assert_allclose(overlap, [3 / (3 * 3**0.5), 5 / (3 * 17**0.5)], rtol=1e-6)


def test_too_many_points_have_none():
    assert references(FullyConnected((2,)), jnp.zeros((1001, 1)), jnp.zeros(1001)) is None
