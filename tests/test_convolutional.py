"""Convolutional networks: settings, and the forward pass against a convolution written out in plain numpy."""

import json
from itertools import product

import jax
import numpy as np
import pytest
from scipy.special import erf

from stpbnn import Convolutional, FullyConnected, NNGPClassifier, NNGPKernel, NNGPRegressor
from stpbnn.network import of_settings

SMALL = {"kernel_size": 2, "image": (4, 4, 1)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (0,)}, r"channels\[0\]: got 0, expected an integer of at least 1"),
        ({"channels": ()}, "expected at least one hidden layer"),
        ({"channels": "100"}, "expected the channels"),
        ({"image": (28, 28)}, r"image: got \(28, 28\), expected \(rows, columns, channels\)"),
        ({"image": (28, 0, 1)}, r"image\[1\]: got 0"),
        ({"kernel_size": (9, 3), "image": (8, 8, 1)}, r"got \(9, 3\) in layer 1, larger than the image, \(8, 8\)"),
        ({"channels": (2, 2), "kernel_size": 3, "image": (4, 4, 1)}, r"layer 2, larger than the grid of layer 1"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size: got \(3, 3, 3\), expected a number, \(rows, columns\), or 1 such"),
        ({"kernel_size": 0}, r"kernel_size\[0\]: got 0"),
        ({"stride": ((1, 1), (1, 1))}, "stride: got .*, or 1 such pair"),
        ({"stride": 1.5}, "stride: got 1.5, expected a number"),
        ({"padding": "full"}, "padding: got 'full', expected one of 'valid', 'same'"),
        ({"readout": "max"}, "readout: got 'max', expected one of 'flatten', 'mean'"),
        ({"activation": "refu"}, "did you mean 'relu'"),
        ({"weight_precision": (1.0, 1.0, 1.0)}, "got 3 numbers, expected one, or 2"),
        ({"likelihood": "bernoulli", "outputs": 2}, "expected 1 output for two classes"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        Convolutional(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 2, "stride": 2, "image": (5, 4, 1)}, r"4 of the 20 positions of the image, \(5, 4\)"),
        ({"kernel_size": 1, "stride": 2, "image": (4, 4, 1), "padding": "same"}, "12 of the 16 positions"),
        ({"channels": (2, 2), "kernel_size": 2, "stride": ((1, 1), (2, 2)), "image": (4, 4, 1)}, "grid of layer 1"),
    ],
)
def test_strides_that_leave_positions_out_are_told(settings, message):
    with pytest.warns(UserWarning, match=message) as caught:
        Convolutional(**settings)
    assert caught[0].filename == __file__


def test_inputs_that_are_no_images_are_refused():
    net = Convolutional(**SMALL)
    message = r"X: got 15 features, expected 16: images of \(4, 4, 1\)"
    with pytest.raises(ValueError, match=message):
        net.shapes(15)
    with pytest.raises(ValueError, match=message):
        net.forward({}, np.ones((2, 15)))


def test_arrays_of_images_are_refused_with_the_remedy():
    net = Convolutional(**SMALL)
    images, y = np.ones((2, 4, 4, 1)), np.ones(2)
    model = NNGPRegressor(net, temperature=0.1)
    for call in (
        lambda: NNGPKernel(net)(images),
        lambda: model.fit(images, y),
        lambda: model.fit(images.reshape(2, -1), y).predict(images),
        lambda: NNGPClassifier(net).fit(images, [0, 1]),
    ):
        with pytest.raises(ValueError, match=r"^X.*[uU]se reshape\(len\(X\), -1\)") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_targets_of_another_number_of_outputs_are_refused_by_the_networks_outputs():
    with pytest.raises(ValueError, match=r"y: got shape \(2, 2\), .* as outputs=1 of the network says"):
        NNGPRegressor(Convolutional(**SMALL), temperature=0.1).fit(np.eye(2, 16), np.eye(2))


@pytest.mark.parametrize(
    "net",
    [
        Convolutional((5,), **SMALL),
        Convolutional((5, 4), ((2, 2), (1, 2)), 1, "same", "mean", "relu", (4, 4, 3), 2, (1.0, 2.0, 0.5), 3.0),
    ],
)
def test_settings_survive_json(net):
    again = of_settings(json.loads(json.dumps(net.to_dict())))
    assert again == net
    assert hash(again) == hash(net)
    assert Convolutional(**net.get_params()) == net


def drawn(net, n_features):
    """Return weights by name."""
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape) for name, shape in net.shapes(n_features).items()}


def convolution(images, W, stride, around):
    """Return the convolution of images (P, H, W, C) with windows (rows, columns, C, N), sum by sum."""
    images = np.pad(images, ((0, 0), *around, (0, 0)))
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(images.shape[1:3], W.shape[:2], stride, strict=True))
    out = np.zeros((len(images), rows, columns, W.shape[-1]))
    for i, j in product(range(rows), range(columns)):
        top, left = i * stride[0], j * stride[1]
        part = images[:, top : top + W.shape[0], left : left + W.shape[1]]
        out[:, i, j] = np.einsum("puvc,uvcn->pn", part, W)
    return out


@pytest.mark.parametrize("readout", ["flatten", "mean"])
def test_forward_pass_by_hand(readout):
    """A 5 x 4 image of two channels; the second layer is padded by one row and one column at the end."""
    net = Convolutional(
        (3, 2), ((2, 2), (2, 2)), ((1, 1), (2, 2)), "same", readout, "erf", (5, 4, 2), 2, (0.5, 2.0, 3.0), 4.0
    )
    X = np.random.default_rng(0).normal(size=(3, 40))
    w = drawn(net, 40)
    assert (net.units, net.positions) == ((60, 12), 6)
    h = convolution(X.reshape(3, 5, 4, 2), w["W1"], (1, 1), ((0, 1), (0, 1))) / np.sqrt(0.5 * 4 * 2) + w["b1"] / 2
    h = convolution(erf(h), w["W2"], (2, 2), ((0, 1), (0, 0))) / np.sqrt(2.0 * 4 * 3) + w["b2"] / 2
    last = erf(h).reshape(3, 6, 2)
    if readout == "flatten":
        f = np.einsum("pin,inD->pD", last, w["v"].reshape(6, 2, 2)) / np.sqrt(3.0 * 2 * 6)
    else:
        f = last.mean(axis=1) @ w["v"] / np.sqrt(3.0 * 2)
    np.testing.assert_allclose(jax.jit(net.forward)(w, X), f + w["b3"] / 2, rtol=1e-4, atol=1e-5)


def test_one_window_over_the_whole_image_is_a_fully_connected_network():
    net = Convolutional((3,), (2, 3), image=(2, 3, 2), outputs=2, weight_precision=(0.5, 2.0), bias_precision=4.0)
    dense = FullyConnected((3,), outputs=2, weight_precision=(0.5, 2.0), bias_precision=4.0)
    weights = drawn(net, 12)
    X = np.random.default_rng(0).normal(size=(4, 12))
    flat = weights | {"W1": weights["W1"].reshape(12, 3)}
    np.testing.assert_allclose(jax.jit(net.forward)(weights, X), jax.jit(dense.forward)(flat, X), rtol=1e-4)
