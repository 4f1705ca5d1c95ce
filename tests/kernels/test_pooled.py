"""What the readout makes of kernels at pairs of positions: against the whole array of them, and finite differences."""

import numpy as np
import pytest

from stpbnn import Convolutional, NNGPKernel
from stpbnn.kernels import Inputs, first_variances, patch_kernels, patches, value_and_pullback

X = np.random.default_rng(0).normal(size=(5, 6))
Z = np.random.default_rng(1).normal(size=(3, 6))
DEEP = {"kernel_size": (1, 2), "image": (1, 3, 2), "padding": "same", "weight_precision": (0.5, 2.0, 3.0)}
NETS = [
    Convolutional((4, 4), bias_precision=4.0, **DEEP),
    Convolutional((4, 4), readout="mean", bias_precision=4.0, **DEEP),
]


TILE = {"flatten": 9 * 3, "mean": 9 * 3**2}  # entries of tiles of three by three inputs


def of_positions(net, X, Z=None):
    """Return the kernel of the outputs from the kernels at all pairs of positions."""
    K = patch_kernels(net, X, Z)
    pooled = K.mean(axis=(0, 1)) if net.readout == "mean" else np.einsum("iipq->pq", K) / net.positions
    return pooled / net.precisions[-1] + net.prior.bias_variance


@pytest.mark.parametrize("net", NETS[1:])
def test_kernel_of_the_outputs(net, monkeypatch):
    kernel = NNGPKernel(net)
    monkeypatch.setattr(patches, "ENTRIES", TILE[net.readout])
    np.testing.assert_allclose(kernel(X), of_positions(net, X), rtol=1e-12)
    np.testing.assert_allclose(kernel(X, Z), of_positions(net, X, Z), rtol=1e-12)
    np.testing.assert_allclose(kernel.diag(X), np.diag(of_positions(net, X)), rtol=1e-12)


@pytest.mark.parametrize("net", NETS[1:])
def test_slopes_in_the_precisions(net, monkeypatch):
    monkeypatch.setattr(patches, "ENTRIES", TILE[net.readout])
    kernel, step = NNGPKernel(net), 1e-5
    K, slopes = kernel(X, eval_gradient=True)
    np.testing.assert_allclose(K, of_positions(net, X), rtol=1e-12)
    weights = np.random.default_rng(2).normal(size=(5, 5))
    weights = weights + weights.T
    found, pullback = value_and_pullback(kernel, Inputs(X))
    pulled = pullback(weights)
    np.testing.assert_allclose(np.tril(found), np.tril(K), rtol=1e-12)
    for k, at in enumerate(np.eye(len(kernel.theta)) * step):
        up, down = (kernel.clone_with_theta(kernel.theta + sign * at)(X) for sign in (1, -1))
        np.testing.assert_allclose(slopes[:, :, k], (up - down) / (2 * step), rtol=1e-7, atol=1e-9)
        assert pulled[k] == pytest.approx(np.sum(weights * (up - down)) / (2 * step), rel=1e-6, abs=1e-8)


def test_variances_of_the_first_layer():
    net = NETS[0]
    seen = np.pad(X.reshape(5, 3, 2), ((0, 0), (0, 1), (0, 0)))
    expected = [np.sum(seen[:, i : i + 2] ** 2, axis=(1, 2)) / (0.5 * 4) for i in range(3)]
    np.testing.assert_allclose(first_variances(net, X), np.ravel(expected) + 0.25, rtol=1e-13)
