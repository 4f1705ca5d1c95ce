"""Deep networks, whose layers are a loop, against the recursion in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stpbnn import FullyConnected, ProportionalLimitRegressor
from stpbnn.kernels import input_gram, renormalised


def test_many_layers_of_erf_units():
    rng = np.random.default_rng(0)
    X, Q = rng.normal(size=(5, 3)), rng.uniform(0.5, 1.5, size=12)
    with jax.enable_x64(True):
        net = FullyConnected((9,) * 12, "erf")
        found = np.asarray(
            renormalised(net.sigma, net.prior, input_gram(net.prior, jnp.asarray(X)), jnp.asarray(Q)).entries
        )
    K = X @ X.T / 3
    for q in Q:
        a = 1 + 2 * np.diag(K)
        K = q * 2 / np.pi * np.arcsin(2 * K / np.sqrt(np.outer(a, a)))
    np.testing.assert_allclose(found, K, rtol=1e-12)


def test_forty_layers_are_solved_and_wishart_says_how_deep_it_goes():
    """A deep linear network depends on the product of its order parameters alone, as the global closure does."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 9)), rng.normal(size=6)
    net = FullyConnected((50,) * 40, "linear")
    nested, product = (
        ProportionalLimitRegressor(net, temperature=0.1, closure=closure).fit(X, y) for closure in ("nested", "global")
    )
    assert nested.converged_
    np.testing.assert_allclose(nested.order_parameters_, product.order_parameters_, rtol=1e-8)
    np.testing.assert_allclose(nested.log_marginal_likelihood_, product.log_marginal_likelihood_, rtol=1e-9)
    with pytest.raises(ValueError, match="closure: got 'wishart' for 40 hidden layers, expected at most 6"):
        ProportionalLimitRegressor(net, closure="wishart").fit(X, y)
