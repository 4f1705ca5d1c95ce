import numpy as np
import pytest
from scipy import stats

from stpbnn import datasets


def test_linear_teacher_is_linear():
    X, y, Xt, yt = datasets.load("linear_teacher", train=60, test=40, size=20, seed=1)
    weights, residual, *_ = np.linalg.lstsq(X, y)
    assert residual.max() < 1e-24
    np.testing.assert_allclose(Xt @ weights, yt, atol=1e-12)


def test_noise_has_the_deviation_asked_for():
    clean = datasets.load("linear_teacher", train=4000, test=4000, size=5, seed=1)
    noisy = datasets.load("linear_teacher", train=4000, test=4000, size=5, seed=1, noise=0.3)
    np.testing.assert_array_equal(noisy[0], clean[0])
    ε = (noisy[1] - clean[1]) / 0.3
    assert stats.kstest(ε, "norm").pvalue > 1e-3
    weights = np.linalg.lstsq(clean[0], clean[1])[0]
    assert stats.kstest((noisy[3] - noisy[2] @ weights) / 0.3, "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "mean_square"),
    [("linear_teacher", lambda q: q), ("erf_teacher", lambda q: 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)))],
)
def test_targets_have_the_variance_of_the_prior(name, mean_square):
    draws = [datasets.load(name, train=1, test=0, size=30, seed=seed)[:2] for seed in range(1000)]
    excess = np.array([y[0] ** 2 - mean_square((X[0] ** 2).mean()) for X, y in draws])
    assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(len(excess))


def test_one_hidden_unit_saturates():
    X, y, *_ = datasets.load("erf_teacher", train=500, test=0, size=1, seed=2, hidden_width=1, noise=0.0)
    order = np.argsort(X[:, 0])
    steps = np.diff(y[order])
    assert (steps >= 0).all() or (steps <= 0).all()  # erf is monotonic
    np.testing.assert_allclose(np.interp(0, X[order, 0], y[order]), 0, atol=0.02)  # and odd


def test_random_labels_do_not_know_the_inputs():
    X, y, _, yt = datasets.load("random_labels", train=3000, test=1000, size=10, seed=0)
    assert sorted(set(y)) == [-1, 1] == sorted(set(yt))
    assert stats.kstest(X.ravel(), "norm").pvalue > 1e-3
    assert stats.binomtest(int((y > 0).sum()), len(y)).pvalue > 1e-3
    correlation = X.T @ y / np.sqrt(len(y))
    assert (correlation**2).sum() < stats.chi2(10).isf(1e-3)


@pytest.mark.parametrize("name", ["random_labels", "linear_teacher", "erf_teacher"])
def test_a_draw_depends_on_its_seed_alone(name):
    X, y, *_ = datasets.load(name, train=20, test=5, seed=3)
    longer = datasets.load(name, train=20, test=50, seed=3)
    np.testing.assert_array_equal(X, longer[0])
    np.testing.assert_array_equal(y, longer[1])
    assert X.shape == (20, 100)
    assert (datasets.load(name, train=20, seed=4)[0] != X).all()
    np.testing.assert_array_equal(datasets.load(name)[0], datasets.load(name, seed=0)[0])
