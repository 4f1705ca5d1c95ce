"""Calibration and learned eigenmodes: against SciPy's laws and against linear algebra."""

import jax
import numpy as np
import pytest
import xarray as xr
from quick_cases import cases
from scipy import stats

import stpbnn
from stpbnn.comparison import calibration, kernel_spectrum, predict_theories
from stpbnn.comparison.learned import LEVELS, quantiles
from stpbnn.predictive import Mixture
from stpbnn.samplers.draws.overlap import MODES, references

RNG = np.random.default_rng(0)


def tree(f):
    return xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})


def theory(mean, variance):
    return xr.Dataset({"mean": (("theory", "test_point"), mean), "variance": (("theory", "test_point"), variance)})


def test_quantiles_are_those_of_scipy():
    mean, std = np.array([0.3, -2.0]), np.array([0.5, 4.0])
    np.testing.assert_allclose(quantiles(mean, std), stats.norm.ppf(LEVELS[:, None], mean, std))
    law = Mixture(np.array([0.3, 0.7]), np.array([[0.0, 1.0], [2.0, 1.2]]), np.array([[1.0, 0.1], [0.3, 2.0]]))
    found = quantiles(law.mean, law.std, law)
    below = sum(
        w * stats.norm.cdf(found, m, np.sqrt(v)) for w, m, v in zip(law.weights, law.means, law.variances, strict=True)
    )
    np.testing.assert_allclose(below, np.broadcast_to(LEVELS[:, None], below.shape), atol=1.5e-3)


def test_draws_of_the_law_itself_are_calibrated():
    mean, std = RNG.normal(size=30), RNG.uniform(0.5, 2, 30)
    found = calibration(tree(mean + std * RNG.normal(size=(4, 500, 30))), theory([mean], [std**2]))
    for name, expected in (("pit", LEVELS), ("coverage", np.arange(1, 10) / 10)):
        z = (found[name][0] - expected) / found[f"{name}_mcse"][0]
        assert (abs(z) < 4).all()
        assert float(found[f"{name}_mcse"].max()) < 0.01  # 60,000 independent draws


@pytest.mark.parametrize(("shift", "scale"), [(0.7, 1.0), (0.0, 2.0)])
def test_a_wrong_law_has_the_coverage_that_scipy_says(shift, scale):
    found = calibration(tree(RNG.normal(size=(4, 1000, 20))), theory([np.full(20, shift)], [np.full(20, scale**2)]))
    edges = stats.norm.ppf(LEVELS, shift, scale)
    z = (found["pit"][0] - stats.norm.cdf(edges)) / found["pit_mcse"][0]
    assert (abs(z) < 4).all()
    c = np.arange(1, 10) / 10
    low, high = (stats.norm.cdf(stats.norm.ppf(p, shift, scale)) for p in ((1 - c) / 2, (1 + c) / 2))
    assert (abs(found["coverage"][0] - (high - low)) < 4 * found["coverage_mcse"][0]).all()


def test_reference_modes_are_eigenvectors_of_the_kernel():
    net = stpbnn.FullyConnected((7,), "erf", weight_precision=(1.0, 2.0))
    X, y = RNG.normal(size=(60, 3)), RNG.normal(size=60)
    known = references(net, jax.numpy.asarray(X), jax.numpy.asarray(y))
    K = stpbnn.NNGPKernel(net)(X)
    values = np.linalg.eigvalsh(K)[::-1][:MODES]
    assert known.eigenvectors.shape == (MODES, 60)
    np.testing.assert_allclose(known.eigenvalues, values, atol=1e-5 * values[0])
    np.testing.assert_allclose(known.eigenvectors @ K, values[:, None] * known.eigenvectors, atol=1e-5 * values[0])


@pytest.mark.parametrize("outputs", cases([1], [1, 2]))
def test_gaussian_processes_learn_modes_as_ridge_regression_does(outputs):
    """The share of mode k is k/(k + T) for the kernel of infinite width; posterior, up to 1/N, also."""
    net = stpbnn.FullyConnected((200,), "linear", outputs=outputs)
    X, T = RNG.normal(size=(10, 6)), 0.5
    y = (X @ RNG.normal(size=(6, outputs)) + 0.3 * RNG.normal(size=(10, outputs))).squeeze()
    posterior = stpbnn.sample(net, X, y, temperature=T, X_test=X[:1], warmup=100, draws=200, progress=False)
    gp = stpbnn.NNGPRegressor(net, temperature=T).fit(X, y)
    found = xr.Dataset(kernel_spectrum(posterior, predict_theories({"gp": gp}, X[:1])))
    k = found["eigenvalue"][:6]
    np.testing.assert_allclose(found["learned"].sel(theory="gp")[:6], k / (k + T), rtol=1e-3)
    np.testing.assert_allclose(float(found["target"].sum()), 1, rtol=1e-5)
    K, Y = X @ X.T / 6, y.reshape(10, -1)
    vectors = np.linalg.eigh(K)[1]
    np.testing.assert_allclose(found["target"][:6], ((vectors.T @ Y) ** 2).sum(1)[:3:-1] / (Y**2).sum(), rtol=1e-3)
    strong = found["target"][:6] > 0.05
    close = abs(found["learned_posterior"] - found["learned"].sel(theory="gp"))[:6]
    assert (close < 4 * found["learned_mcse"][:6] + 5 / 200)[strong].all()  # 1/N


def test_posteriors_without_modes_have_no_spectrum():
    assert kernel_spectrum(tree(RNG.normal(size=(2, 10, 1))), theory([[0.0]], [[1.0]])) == {}
