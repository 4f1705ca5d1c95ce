"""Deep networks, whose layers are a loop, against the recursion in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from stpbnn import FullyConnected
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
