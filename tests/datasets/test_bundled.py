import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

from stpbnn import datasets


def test_digits_by_hand():
    raw, target = load_digits(return_X_y=True)
    keep = target < 2
    order = np.random.default_rng(0).permutation(keep.sum())
    X, y = raw[keep][order], 2.0 * target[keep][order] - 1
    mean, std = X[:100].mean(), X[:100].std()
    loaded = datasets.load("digits", classes=(0, 1), train=100, test=10, labels=(-1, 1), standardize="pixels", seed=0)
    for got, expected in zip(
        loaded, ((X[:100] - mean) / std, y[:100], (X[100:110] - mean) / std, y[100:110]), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == np.float64


def test_digits_whole_in_file_order():
    raw, target = load_digits(return_X_y=True)
    X, y, Xt, yt = datasets.load("digits", standardize=None)
    np.testing.assert_array_equal(np.vstack([X, Xt]), raw)
    np.testing.assert_array_equal(np.vstack([y, yt]), np.eye(10)[target])
    assert len(Xt) == 1797 // 5


def test_digits_coarse_grained_to_16_pixels():
    X, *_ = datasets.load("digits", size=16, train=3, test=0, standardize=None)
    np.testing.assert_allclose(X.reshape(3, 4, 4), load_digits().images[:3].reshape(3, 4, 2, 4, 2).mean(axis=(2, 4)))


@pytest.mark.parametrize("how", ["features", "auto"])
def test_diabetes_is_standardised_by_the_training_set(how):
    raw, target = load_diabetes(return_X_y=True)
    X, y, Xt, yt = datasets.load("diabetes", train=300, test=100, standardize=how)
    train, test = slice(0, 300), slice(300, 400)
    np.testing.assert_allclose(X, (raw[train] - raw[train].mean(0)) / raw[train].std(0))
    np.testing.assert_allclose(Xt, (raw[test] - raw[train].mean(0)) / raw[train].std(0))
    np.testing.assert_allclose(y, (target[train] - target[train].mean()) / target[train].std())
    np.testing.assert_allclose(yt, (target[test] - target[train].mean()) / target[train].std())


def test_diabetes_raw():
    raw, target = load_diabetes(return_X_y=True)
    X, y, Xt, yt = datasets.load("diabetes", train=400, standardize=None)
    np.testing.assert_array_equal(np.vstack([X, Xt]), raw)
    np.testing.assert_array_equal(np.concatenate([y, yt]), target)
