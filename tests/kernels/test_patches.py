"""Kernels of convolutional networks at pairs of positions: against sums written out, and wide random networks."""

from itertools import product

import jax
import numpy as np
import pytest
from gaussian_averages import DUALS

from stpbnn import Convolutional, _memory
from stpbnn.kernels import patch_kernels, patches

X = np.random.default_rng(0).normal(size=(5, 40))  # images of 5 x 4 pixels in two channels
X2 = np.random.default_rng(1).normal(size=(3, 40))
PRIOR = {"weight_precision": (0.5, 2.0, 3.0), "bias_precision": 4.0}
DEEP = {"kernel_size": ((2, 2), (3, 2)), "stride": ((1, 1), (2, 1)), "image": (5, 4, 2), **PRIOR}
NETS = [
    Convolutional((4,), (3, 2), 1, image=(5, 4, 2), weight_precision=(0.5, 2.0), bias_precision=4.0),
    Convolutional((4, 4), padding="same", **DEEP),
    Convolutional((4, 4), padding="valid", activation="relu", **(DEEP | {"stride": 1})),
]


def written_out(net, x, z):
    """Return K_ij between two images, position by position and window by window."""
    kappa = DUALS[net.activation]
    rows, columns, _ = net.image
    pixels = list(product(range(rows), range(columns)))
    images = {(one, p): image.reshape(net.image)[p] for one, image in (("x", x), ("z", z)) for p in pixels}
    K = {(a, p, b, q): images[a, p] @ images[b, q] / 2 for a, b in ("xz", "xx", "zz") for p in pixels for q in pixels}
    for precision, window in zip(net.precisions, net.windows, strict=False):
        (top, _), (left, _) = window.padding
        grid = list(product(range(window.grid[0]), range(window.grid[1])))
        offsets = list(product(range(window.size[0]), range(window.size[1])))

        def at(i, u, window=window, top=top, left=left):
            return i[0] * window.stride[0] + u[0] - top, i[1] * window.stride[1] + u[1] - left

        C = {
            (a, i, b, j): sum(K.get((a, at(i, u), b, at(j, u)), 0.0) for u in offsets) / (precision * window.pixels)
            + 1 / 4.0
            for a, b in ("xz", "xx", "zz")
            for i in grid
            for j in grid
        }
        K = {(a, i, b, j): kappa(C[a, i, a, i], C[b, j, b, j], c) for (a, i, b, j), c in C.items()}
    return np.array([[K["x", i, "z", j] for j in grid] for i in grid])


@pytest.mark.parametrize("net", NETS)
def test_recursion_position_by_position(net):
    K = patch_kernels(net, X, X2)
    assert K.shape == (net.positions, net.positions, 5, 3)
    for p, q in ((0, 0), (4, 2)):
        np.testing.assert_allclose(K[:, :, p, q], written_out(net, X[p], X2[q]), rtol=1e-12)


@pytest.mark.parametrize("net", NETS[:1])
def test_a_set_with_itself(net, monkeypatch):
    K = patch_kernels(net, X)
    np.testing.assert_allclose(K, patch_kernels(net, X, X), rtol=1e-7, atol=1e-12)  # arccos of almost one
    np.testing.assert_array_equal(K, np.transpose(K, (1, 0, 3, 2)))
    monkeypatch.setattr(patches, "ENTRIES", 4 * max(np.prod(w.grid) for w in net.windows) ** 2)  # tiles of 2 by 2
    np.testing.assert_allclose(patch_kernels(net, X), K, rtol=1e-13)
    np.testing.assert_allclose(patch_kernels(net, X, X2), patch_kernels(net, np.concatenate([X, X2]))[:, :, :5, 5:])


def test_wide_random_networks():
    """Products of features averaged over the channels of 24 networks, in units of the error of their mean."""
    net = Convolutional((150, 150), (1, 2), image=(1, 4, 2), **PRIOR)
    rng = np.random.default_rng(2)
    forward = jax.jit(lambda weights: net.features(weights, X[:2, :8])[-1])
    products = []
    for _ in range(24):
        weights = {name: rng.normal(size=shape) for name, shape in net.shapes(8).items()}
        last = np.asarray(forward(weights)).reshape(2, 2, 150)
        products.append(np.einsum("pin,qjn->ijpq", last, last) / 150)
    error = np.std(products, axis=0, ddof=1) / 24**0.5
    assert error.max() < 0.02
    assert (np.abs(np.mean(products, axis=0) - patch_kernels(net, X[:2, :8])) < 4.5 * error).all()


def test_bad_inputs_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"X: got 39 features, expected 40: images of \(5, 4, 2\)"):
        patch_kernels(NETS[0], X[:, :39])
    with pytest.raises(ValueError, match="X2: got 39 features"):
        patch_kernels(NETS[0], X, X2[:, :39])
    with pytest.raises(ValueError, match=r"network: got 3, expected a stpbnn.Convolutional"):
        patch_kernels(3, X)
    monkeypatch.setattr(_memory, "available", lambda: 10_000)
    with pytest.raises(
        ValueError, match=r"X: got 5 by 5 inputs, whose kernels at 9 by 9 positions take about 15.8 KiB"
    ):
        patch_kernels(NETS[0], X)
