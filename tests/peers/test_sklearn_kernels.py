"""What scikit-learn asks of its own kernels, asked of NNGPKernel: those of networks that learn all, some or nothing."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, CompoundKernel, WhiteKernel
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.model_selection import GridSearchCV

from stpbnn import FullyConnected, NNGPKernel

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 2)), RNG.normal(size=(6, 2))
TIED = FullyConnected((1,), "erf", weight_precision=0.7, bias_precision=2.0)
LAYERS = FullyConnected((1, 1), "relu", weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0)
BASIC = {
    "tied": NNGPKernel(TIED),
    "layers": NNGPKernel(LAYERS),
    "no biases": NNGPKernel(FullyConnected((1,), "erf")),
    "bounds": NNGPKernel(TIED, (0.5, 2.0), (1.0, 3.0)),
    "weights fixed": NNGPKernel(LAYERS, "fixed"),
    "biases fixed": NNGPKernel(LAYERS, bias_precision_bounds="fixed"),
}
COMPOUND = {
    "scaled": 2.0 * NNGPKernel(TIED),
    "sum": NNGPKernel(TIED) + RBF(2.0),
    "noisy": NNGPKernel(TIED) + WhiteKernel(3.0),
    "power": NNGPKernel(TIED) ** 2,
}
every = pytest.mark.parametrize("kernel", (BASIC | COMPOUND).values(), ids=(BASIC | COMPOUND).keys())
basic = pytest.mark.parametrize("kernel", BASIC.values(), ids=BASIC.keys())


@every
def test_gradient_is_that_of_the_matrix(kernel):
    kernel = clone(kernel)
    K, slopes = kernel(X, eval_gradient=True)
    np.testing.assert_allclose(K, kernel(X), rtol=1e-12)
    assert slopes.shape == (5, 5, len(kernel.theta))
    if len(kernel.theta):
        numerical = approx_fprime(kernel.theta, lambda theta: kernel.clone_with_theta(theta)(X).ravel(), 1e-7)
        np.testing.assert_allclose(slopes.reshape(25, -1), numerical, atol=2e-6)


@basic
def test_theta_holds_the_logarithms_of_the_parameters(kernel):
    kernel = clone(kernel)
    free = [each for each in kernel.hyperparameters if not each.fixed]
    values = [np.log(np.ravel(getattr(kernel, each.name))) for each in free]
    np.testing.assert_allclose(kernel.theta, np.concatenate([*values, []]), rtol=1e-14)
    for each in free:
        setattr(kernel, each.name, [43.0] * each.n_elements if each.n_elements > 1 else 43.0)
        np.testing.assert_allclose(np.ravel(getattr(kernel, each.name)), 43.0)
    kernel.theta = np.log(np.full(kernel.n_dims, 42.0))
    for each in free:
        np.testing.assert_allclose(np.ravel(getattr(kernel, each.name)), 42.0)


@basic
def test_what_is_fixed_leaves_theta_and_gradient(kernel):
    _, slopes = kernel(X, eval_gradient=True)
    start = 0
    for each in (each for each in kernel.hyperparameters if not each.fixed):
        fixed = type(kernel)(**(kernel.get_params() | {f"{each.name}_bounds": "fixed"}))
        gone = np.arange(start, start + each.n_elements)
        np.testing.assert_array_equal(fixed.theta, np.delete(kernel.theta, gone))
        np.testing.assert_allclose(
            fixed(X, eval_gradient=True)[1], np.delete(slopes, gone, axis=-1), rtol=1e-10, atol=1e-15
        )
        start += each.n_elements


@basic
def test_parameters_are_named_like_hyperparameters(kernel):
    kernel = clone(kernel)
    for each in kernel.hyperparameters:
        np.testing.assert_allclose(kernel.get_params()[each.name], getattr(kernel, each.name))
        kernel.set_params(**{each.name: [10.0] * each.n_elements if each.n_elements > 1 else 10.0})
        np.testing.assert_allclose(kernel.get_params()[each.name], 10.0)
    np.testing.assert_allclose(np.exp(kernel.theta), 10.0)


@basic
def test_within_a_set_and_between_two(kernel):
    np.testing.assert_allclose(kernel(X), kernel(X, X), rtol=1e-12)
    np.testing.assert_allclose(pairwise_kernels(X, metric=kernel), kernel(X), rtol=1e-6)


@every
def test_diagonal_and_pairs(kernel):
    np.testing.assert_allclose(kernel.diag(X), np.diag(kernel(X)), rtol=1e-12)
    np.testing.assert_allclose(pairwise_kernels(X, Y, metric=kernel), kernel(X, Y), rtol=1e-6)


def test_arithmetic_commutes():
    kernel = NNGPKernel(TIED)
    np.testing.assert_allclose((kernel + 1.0)(X), (1.0 + kernel)(X))
    np.testing.assert_allclose((3.0 * kernel)(X), (kernel * 3.0)(X))


def test_inputs_are_vectors():
    for kernel in (*BASIC.values(), *COMPOUND.values(), CompoundKernel([NNGPKernel(TIED)])):
        assert kernel.requires_vector_input
        assert not kernel.is_stationary()


@every
def test_clone(kernel):
    copy = clone(kernel)
    assert copy == kernel
    assert copy is not kernel
    assert copy.get_params() == kernel.get_params()
    assert len(repr(kernel)) > 10


@pytest.mark.parametrize("value", [3.0, (1.0, 2.0, 3.0)])
def test_clone_after_parameters_are_set(value):
    kernel = clone(BASIC["layers"]).set_params(weight_precision=value, weight_precision_bounds=(1e-3, 1e3))
    assert clone(kernel).get_params() == kernel.get_params()
    assert BASIC["layers"].network == LAYERS


def test_grid_over_precisions():
    """In a Gaussian process of scikit-learn, and with settings of the network beside them."""
    y = np.sin(X.sum(axis=1))
    grid = {"kernel__weight_precision": [0.5, 2.0], "kernel__network__widths": [(1,), (1, 1)]}
    model = GaussianProcessRegressor(NNGPKernel(TIED), alpha=0.1, optimizer=None)
    search = GridSearchCV(model, grid, cv=2, scoring="neg_mean_squared_error").fit(X, y)
    for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        net = FullyConnected(
            params["kernel__network__widths"], "erf", 1, params["kernel__weight_precision"], bias_precision=2.0
        )
        K, errors = NNGPKernel(net)(X), []
        for test in (np.arange(5) < 3, np.arange(5) >= 3):
            A = K[np.ix_(~test, ~test)] + 0.1 * np.eye(np.sum(~test))
            errors.append(np.mean((K[np.ix_(test, ~test)] @ np.linalg.solve(A, y[~test]) - y[test]) ** 2))
        assert score == pytest.approx(-np.mean(errors), rel=1e-9)
