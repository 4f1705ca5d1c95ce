"""NNGPKernel against the kernels written out, central differences and scikit-learn's own machinery."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_cases import cases
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stpbnn import Activation, FullyConnected, NNGPKernel, NNGPRegressor

X = np.random.default_rng(0).normal(size=(9, 3))
Xt = np.random.default_rng(1).normal(size=(4, 3))
DEEP = FullyConnected((10, 20), "erf", weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0)
NETWORKS = [
    FullyConnected((10,), "relu"),
    DEEP,
    FullyConnected((5, 5, 5), "tanh", weight_precision=0.7, bias_precision=2.0),
    FullyConnected((5, 5), Activation("arctan", jnp.arctan), weight_precision=(1.0, 2.0, 3.0)),
]


def test_values_are_those_of_the_recursion():
    """Two erf layers in numpy, with unequal precisions and biases; between two sets and within one."""
    C = np.vstack([X, Xt])
    K = C @ C.T / (3 * 0.5) + 0.25
    for precision in (2.0, 3.0):
        spread = np.outer(1 + 2 * np.diag(K), 1 + 2 * np.diag(K))
        K = 2 / np.pi * np.arcsin(2 * K / np.sqrt(spread)) / precision + 0.25
    kernel = NNGPKernel(DEEP)
    np.testing.assert_allclose(kernel(X), K[:9, :9], rtol=1e-12)
    np.testing.assert_allclose(kernel(Xt, X), K[9:, :9], rtol=1e-12)
    np.testing.assert_allclose(kernel.diag(Xt), np.diag(K)[9:], rtol=1e-12)
    assert isinstance(kernel, Kernel)
    assert not kernel.is_stationary()
    assert isinstance(kernel(X), np.ndarray)
    assert kernel(X.astype("float32")).dtype == np.float64
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("network", cases(NETWORKS[:3], NETWORKS), ids=lambda net: net.sigma.name)
def test_gradient_agrees_with_central_differences(network):
    inputs = np.vstack([X, X[:1], np.zeros((1, 3))])
    for kernel in (NNGPKernel(network), 2.0 * NNGPKernel(network) ** 2 + WhiteKernel(0.1) * NNGPKernel(network)):
        _, slopes = kernel(inputs, eval_gradient=True)
        assert slopes.shape == (11, 11, kernel.n_dims)
        for k, step in enumerate(np.eye(kernel.n_dims) * 1e-5):
            ends = [kernel.clone_with_theta(kernel.theta + sign * step)(inputs) for sign in (1, -1)]
            difference = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(slopes[:, :, k], difference, rtol=1e-6, atol=1e-8 * np.abs(difference).max())


def test_hyperparameters_by_name_and_bound():
    kernel = NNGPKernel(DEEP, weight_precision_bounds=[(0.1, 10.0), "fixed", (0.2, 20.0)])
    names = [f"weight_precision[{i}]" for i in range(3)]
    assert [h.name for h in kernel.hyperparameters] == [*names, "bias_precision"]
    np.testing.assert_allclose(np.exp(kernel.theta), [0.5, 3.0, 4.0])
    np.testing.assert_allclose(np.exp(kernel.bounds), [(0.1, 10.0), (0.2, 20.0), (1e-5, 1e5)])
    changed = kernel.clone_with_theta(np.log([1.0, 5.0, 6.0]))
    assert kernel.network == DEEP
    np.testing.assert_allclose(changed.network.precisions, (1.0, 2.0, 5.0), rtol=1e-14)
    assert changed.network.bias_precision == pytest.approx(6.0)
    fixed = NNGPKernel(DEEP, "fixed", "fixed")
    assert fixed.n_dims == 0
    assert fixed(X, eval_gradient=True)[1].shape == (9, 9, 0)
    tied = NNGPKernel(FullyConnected((5, 5)))
    tied.theta = np.log([2.0])
    assert tied.network.weight_precision == pytest.approx(2.0)


def test_clones_and_arithmetic():
    kernel = NNGPKernel(DEEP, (0.1, 10.0))
    assert clone(kernel) == kernel
    assert clone(kernel).network == DEEP
    assert kernel != NNGPKernel(DEEP)
    assert repr(kernel).startswith("NNGPKernel(erf, depth=2, weight_precision[0]=0.5")
    both = 3.0 * kernel + ConstantKernel(0.5) * RBF()
    np.testing.assert_allclose(both(X), 3 * kernel(X) + 0.5 * RBF()(X))
    names = {"network", "weight_precision_bounds", "bias_precision_bounds", "weight_precision", "bias_precision"}
    assert set(kernel.get_params()) == names
    other = FullyConnected((1,), "relu")
    assert both.set_params(k1__k2__network=other).k1.k2.network == other


def test_scikit_learns_gaussian_process_is_the_nngp_regressor():
    y = np.sin(X).sum(axis=1)
    ours = NNGPRegressor(DEEP, temperature=0.1).fit(X, y)
    theirs = GaussianProcessRegressor(NNGPKernel(DEEP), alpha=0.1, optimizer=None).fit(X, y)
    for a, b in zip(ours.predict(Xt, return_std=True), theirs.predict(Xt, return_std=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    np.testing.assert_allclose(theirs.log_marginal_likelihood_value_, ours.log_marginal_likelihood_, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # nine points do not determine it
def test_scikit_learn_learns_what_a_linear_kernel_learns():
    """A linear network is DotProduct: scikit-learn's search for both ends at the same evidence."""
    y = X @ [1.0, -2.0, 0.5] + 0.1 * np.random.default_rng(2).normal(size=9)
    network = FullyConnected((7,), "linear")
    ours = GaussianProcessRegressor(NNGPKernel(network), alpha=0.01).fit(X, y)
    theirs = GaussianProcessRegressor(ConstantKernel() * DotProduct(0.0, "fixed"), alpha=0.01).fit(X, y)
    assert ours.log_marginal_likelihood_value_ == pytest.approx(theirs.log_marginal_likelihood_value_, rel=1e-6)
    slope = theirs.kernel_.k1.constant_value
    np.testing.assert_allclose(1 / (3 * ours.kernel_.network.precisions[0] ** 2), slope, rtol=1e-3)


def test_grid_search_over_depth_and_activation():
    y = np.maximum(X @ [1.0, -2.0, 0.5], 0)
    networks = [FullyConnected((1,) * depth, name) for depth in (1, 2) for name in ("linear", "relu")]
    model = make_pipeline(
        StandardScaler(), GaussianProcessRegressor(NNGPKernel(networks[0]), alpha=0.01, optimizer=None)
    )
    search = GridSearchCV(
        model, {"gaussianprocessregressor__kernel__network": networks}, cv=3, scoring="neg_mean_squared_error"
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_[-1].kernel_.network.activation == "relu"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k: k.set_params(network="erf").theta, "network: got 'erf', expected a stpbnn.FullyConnected"),
        (lambda k: k.set_params(weight_precision_bounds=(-1.0, 1.0)).theta, "weight_precision_bounds: got"),
        (lambda k: k.set_params(weight_precision_bounds=[(1.0, 2.0)] * 2).theta, "weight_precision_bounds: got"),
        (lambda k: NNGPKernel(k.network, (-1.0, 1.0)), r"weight_precision_bounds: got \(-1.0, 1.0\)"),
        (lambda k: NNGPKernel(k.network, (2.0, 1.0)), r"weight_precision_bounds: got \(2.0, 1.0\)"),
        (lambda k: NNGPKernel(k.network, (0.0, 1.0)), r"weight_precision_bounds: got \(0.0, 1.0\)"),
        (lambda k: NNGPKernel(k.network, (float("nan"), 1.0)), r"weight_precision_bounds: got \(nan, 1.0\)"),
        (lambda k: NNGPKernel(k.network, (0.1, float("nan"))), r"weight_precision_bounds: got \(0.1, nan\)"),
        (lambda k: NNGPKernel(k.network, ("a", "b")), r"weight_precision_bounds: got \('a', 'b'\)"),
        (lambda k: NNGPKernel(k.network, (True, 5)), r"weight_precision_bounds: got \(True, 5\)"),
        (lambda k: NNGPKernel(k.network, bias_precision_bounds=(2.0, 1.0)), r"bias_precision_bounds: got \(2.0, 1.0\)"),
        (lambda k: NNGPKernel(k.network, bias_precision_bounds=None), "bias_precision_bounds: got None"),
        (lambda k: NNGPKernel(FullyConnected((1,)), bias_precision_bounds="no"), "bias_precision_bounds: got 'no'"),
        (lambda k: NNGPKernel(None), "network: got None, expected a stpbnn.FullyConnected"),
        (lambda k: k.set_params(weight_precision=-1.0), "weight_precision: got -1.0"),
        (lambda k: k.set_params(network__width=3), "network: got 'width'.*did you mean 'widths'"),
        (lambda k: k.set_params(depth=3), "Invalid parameter depth"),
        (lambda k: k.set_params(bias_precision_bounds="free").theta, "bias_precision_bounds: got 'free'"),
        (lambda k: setattr(k, "theta", np.zeros(2)), r"theta: got shape \(2,\), expected \(4,\)"),
        (lambda k: k(X, X, eval_gradient=True), "eval_gradient: got True with Y"),
        (lambda k: k(X, Xt[:, :2]), "Y: got 2 features, expected 3"),
        (lambda k: k(X[0]), "X: got 1 dimension"),
    ],
)
def test_mistakes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change(NNGPKernel(DEEP))


def test_a_bound_that_is_reached_is_named():
    y = np.sin(X).sum(axis=1)
    kernel = NNGPKernel(FullyConnected((5,)), weight_precision_bounds=(10.0, 100.0))
    with pytest.warns(ConvergenceWarning, match="weight_precision is close to the specified lower bound"):
        GaussianProcessRegressor(kernel.clone_with_theta(np.log([20.0])), alpha=1e-3).fit(X, y)
