"""Hyper-parameters learned from data whose own are known."""

import numpy as np
import pytest
from scipy.special import erf
from scipy.stats import chi2
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel

from stpbnn import (
    FiniteWidthRegressor,
    FullyConnected,
    NNGPRegressor,
    ProportionalLimitRegressor,
    StudentTProcessRegressor,
)

REGRESSORS = [NNGPRegressor, ProportionalLimitRegressor, FiniteWidthRegressor]
LBFGS = {"optimizer": "fmin_l_bfgs_b"}


def data(P=20, N0=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(P, N0))
    return X, X @ rng.normal(size=N0) + 0.3 * rng.normal(size=P) + 1


def drawn_from_the_model(width, precisions, temperature, P=100, N0=5, seed=0):
    """Targets of a random erf network in numpy, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(P, N0))
    hidden = erf(X @ rng.normal(size=(N0, width)) / np.sqrt(precisions[0] * N0))
    f = hidden @ rng.normal(size=width) / np.sqrt(precisions[1] * width)
    return X, f + temperature**0.5 * rng.normal(size=P)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("regressor", REGRESSORS)
def test_hyper_parameters_of_the_model_are_recovered(regressor, seed):
    """Twice the gain of the log evidence over the truth follows χ² with one degree of freedom a hyper-parameter."""
    truth, width = np.array([0.4, 2.0, 0.02]), 2000 if regressor is NNGPRegressor else 100
    X, y = drawn_from_the_model(width, truth[:2], truth[2], seed=seed)
    start = FullyConnected((width,), "erf", weight_precision=(1.0, 1.0))
    model = regressor(start, temperature=1.0, **LBFGS).fit(X, y)
    gain = model.log_marginal_likelihood_ - model.log_marginal_likelihood(np.log(truth))
    assert 0 <= 2 * gain < chi2.ppf(0.999, 3)
    assert 2 * (model.log_marginal_likelihood_ - model.log_marginal_likelihood(np.zeros(3))) > chi2.ppf(0.999, 3)
    np.testing.assert_allclose(model.temperature_, truth[2], rtol=0.5)
    slope = model.log_marginal_likelihood(eval_gradient=True)[1]
    assert np.abs(slope).max() < 1e-2


@pytest.mark.parametrize("start", [(0.1, 10.0), pytest.param((3.0, 1e-3), marks=pytest.mark.long)])
@pytest.mark.parametrize("regressor", REGRESSORS)
def test_the_evidence_rises_from_every_start(regressor, start):
    X, y = data()
    net = FullyConnected((30,), "erf", weight_precision=start[0], bias_precision=1.0)
    given = regressor(net, temperature=start[1]).fit(X, y)
    learned = regressor(net, temperature=start[1], **LBFGS).fit(X, y)
    assert learned.log_marginal_likelihood_ > given.log_marginal_likelihood_ + 1
    again = regressor(learned.network_, temperature=learned.temperature_).fit(X, y)
    assert again.log_marginal_likelihood_ == learned.log_marginal_likelihood_
    np.testing.assert_array_equal(again.predict(X), learned.predict(X))
    noisy, clean = learned.predictive(X, noise=True).variance, learned.predictive(X).variance
    np.testing.assert_allclose(noisy - clean, learned.temperature_, rtol=1e-9)
    assert learned.network is net  # what was given is not touched
    assert (net.weight_precision, learned.temperature) == start


def test_linear_network_learns_what_scikit_learn_learns():
    """A linear network with one precision: kernel x·x'/(4 λ²) and noise T; scikit-learn has them as well."""
    X, y = data()
    kernel = ConstantKernel(0.25, (1e-9, 1e9)) * DotProduct(1e-9, "fixed") + WhiteKernel(1.0, (1e-10, 1e5))
    reference = GaussianProcessRegressor(kernel, alpha=1e-300).fit(X, y)
    model = NNGPRegressor(FullyConnected((9,), "linear"), temperature=1.0, **LBFGS).fit(X, y)
    assert model.log_marginal_likelihood_ == pytest.approx(reference.log_marginal_likelihood_value_, abs=1e-6)
    assert model.temperature_ == pytest.approx(reference.kernel_.k2.noise_level, rel=1e-3)
    slope = 1 / (4 * model.hyperparameters_["weight_precision"] ** 2)
    assert slope == pytest.approx(reference.kernel_.k1.k1.constant_value, rel=1e-3)


def test_restarts_find_the_better_of_two_explanations():
    """Ten noisy points of a sine are either almost all noise, or a function with little noise."""
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, size=(10, 1))
    y = np.sin(4 * X[:, 0]) + 0.3 * rng.normal(size=10)
    net = FullyConnected((30,), "erf", weight_precision=(10.0, 1.0))
    with pytest.warns(ConvergenceWarning, match=r"explains nothing of the targets.*n_restarts_optimizer"):
        once = NNGPRegressor(net, temperature=1.0, **LBFGS).fit(X, y)
    fits = [
        NNGPRegressor(net, temperature=1.0, **LBFGS, n_restarts_optimizer=8, random_state=0).fit(X, y) for _ in range(2)
    ]
    assert fits[0].log_marginal_likelihood_ > once.log_marginal_likelihood_ + 3
    assert fits[0].temperature_ < once.temperature_ / 10
    assert fits[0].hyperparameters_ == fits[1].hyperparameters_


def test_what_the_data_do_not_determine_is_named():
    """Targets without a constant part ask for no bias: its precision grows up to the bound."""
    X, y = data()
    net = FullyConnected((30,), "erf", bias_precision=1.0)
    with pytest.warns(ConvergenceWarning, match=r"^bias_precision: the optimum lies on the upper bound 1e\+05"):
        model = NNGPRegressor(net, temperature=1.0, **LBFGS).fit(X, y - 1)
    assert model.hyperparameters_["bias_precision"] == pytest.approx(1e5)


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_nothing_moves_unasked(regressor):
    X, y = data()
    net = FullyConnected((30,), weight_precision=(0.7, 1.3), bias_precision=2.0)
    model = regressor(net, temperature=0.3, n_restarts_optimizer=3, random_state=1).fit(X, y)
    assert model.network_ is net
    assert model.temperature_ == 0.3
    expected = {"weight_precision[0]": 0.7, "weight_precision[1]": 1.3, "bias_precision": 2.0, "temperature": 0.3}
    assert model.hyperparameters_ == pytest.approx(expected, rel=1e-14)
    theta = np.log(list(expected.values()))
    np.testing.assert_allclose(model.log_marginal_likelihood(theta), model.log_marginal_likelihood_, rtol=1e-12)
    model.log_marginal_likelihood(theta + 1)
    assert model.network_ is net
    settings = {"optimizer": None, "n_restarts_optimizer": 3, "random_state": 1}
    assert settings.items() <= clone(model).get_params().items()


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_zero_temperature_stays_while_precisions_are_learned(regressor):
    X, y = data(N0=40)
    net = FullyConnected((30,), weight_precision=(1.0, 1.0))
    given, model = (regressor(net, temperature=0, **s).fit(X, y - 1) for s in ({}, LBFGS))
    assert model.temperature_ == 0
    assert model.log_marginal_likelihood_ > given.log_marginal_likelihood_
    assert model.log_marginal_likelihood(eval_gradient=True)[1].shape == (2,)
    np.testing.assert_allclose(model.predict(X), y - 1, rtol=1e-8)


@pytest.mark.parametrize("case", ["kept mean", pytest.param("several outputs", marks=pytest.mark.long)])
def test_two_order_parameters_and_matrices_of_them(case):
    X, y = data()
    net, targets = FullyConnected((30,), "relu"), y
    if case == "several outputs":
        net, targets = FullyConnected((30,), outputs=2), np.stack([y, y + X[:, 0]], axis=1)
    given, model = (
        ProportionalLimitRegressor(net, temperature=1.0, **settings).fit(X, targets) for settings in ({}, LBFGS)
    )
    assert model.log_marginal_likelihood_ > given.log_marginal_likelihood_ + 1
    assert np.abs(model.log_marginal_likelihood(eval_gradient=True)[1]).max() < 1e-2


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_mistakes_are_refused(regressor):
    X, y = data()
    with pytest.raises(ValueError, match="optimizer: got 'adam', expected 'fmin_l_bfgs_b'"):
        regressor(optimizer="adam").fit(X, y)
    with pytest.raises(ValueError, match="n_restarts_optimizer: got -1"):
        regressor(n_restarts_optimizer=-1).fit(X, y)
    model = regressor(FullyConnected((30,)), temperature=0.1).fit(X, y)
    with pytest.raises(ValueError, match=r"theta: got .*, expected 2 finite numbers: .*weight_precision, temperature"):
        model.log_marginal_likelihood([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="expected 2 finite numbers"):
        model.log_marginal_likelihood([0.0, np.nan])


def test_chains_give_no_evidence_to_learn_from():
    X, y = data()
    with pytest.raises(ValueError, match="optimizer: got 'fmin_l_bfgs_b' for 4 hidden layers"):
        FiniteWidthRegressor(FullyConnected((5,) * 4), **LBFGS).fit(X, y)


def test_evidence_where_the_kernel_is_singular_is_minus_infinity():
    """As scikit-learn has it: minus infinity with a gradient of zeros."""
    X = np.repeat(np.eye(3), 2, axis=0)  # twice the same inputs
    model = NNGPRegressor(FullyConnected((30,)), temperature=0.1).fit(X, X[:, 0])
    value, gradient = model.log_marginal_likelihood([0.0, -80.0], eval_gradient=True)
    assert value == -np.inf
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


@pytest.mark.parametrize("regressor", [NNGPRegressor, StudentTProcessRegressor])
def test_a_fit_that_fails_leaves_no_fitted_estimator(regressor):
    X, y = data()
    model = regressor(optimizer=None).fit(X, y)
    model.set_params(temperature=0.0)
    with pytest.raises(ValueError, match="singular to working precision"):
        model.fit(np.ones_like(X), y)
    with pytest.raises(NotFittedError):
        model.predict(X)
