import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from stpbnn.datasets.task_arrays import standardise

RNG = np.random.default_rng(3)
TRAIN, TEST = RNG.normal(5, 3, (20, 4)), RNG.normal(5, 3, (6, 4))


def test_features_are_those_of_scikit_learn():
    train = TRAIN.copy()
    train[:, 2] = 0.1  # a constant whose mean is not exactly itself
    scaler = StandardScaler().fit(train)
    X, Xt = standardise(train, TEST, "features")
    np.testing.assert_allclose(X, scaler.transform(train), atol=1e-14)
    np.testing.assert_allclose(Xt, scaler.transform(TEST), atol=1e-14)
    np.testing.assert_allclose(X[:, 2], 0, atol=1e-15)


def test_pixels_share_one_mean_and_one_deviation():
    values = TRAIN.ravel().tolist()
    mean = sum(values) / len(values)
    std = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
    X, Xt = standardise(TRAIN, TEST, "pixels")
    np.testing.assert_allclose(X, (TRAIN - mean) / std, rtol=1e-12)
    np.testing.assert_allclose(Xt, (TEST - mean) / std, rtol=1e-12)


@pytest.mark.parametrize("how", ["pixels", "features"])
def test_one_constant_row_is_only_shifted(how):
    X, Xt = standardise(np.full((1, 3), 2.0), np.full((1, 3), 5.0), how)
    np.testing.assert_array_equal(X, [[0, 0, 0]])
    np.testing.assert_array_equal(Xt, [[3, 3, 3]])


def test_paper_puts_the_published_mean_at_zero():
    X, Xt = standardise(np.array([0.0, 255 * 0.1307]), np.array([255.0]), "paper")
    np.testing.assert_allclose(X, [-0.1307 / 0.3081, 0], atol=1e-15)
    np.testing.assert_allclose(Xt, 0.8693 / 0.3081)


def test_none_changes_nothing():
    assert standardise(TRAIN, TEST, None) == (TRAIN, TEST)
