"""What scikit-learn asks of its Gaussian process regressor, asked of ours where the interface is the same.

Other than there: an unfitted regressor does not predict from its prior, `temperature` stands for `alpha` and is a
number, and the optimiser is off by default for networks.
"""

import warnings

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

from stpbnn import FullyConnected, NNGPKernel, NNGPRegressor, StudentTProcessRegressor

X = np.array([0.7, 1.9, 3.2, 4.1, 5.6, 7.0, 8.3])[:, None]
Y = X[:, 0] * np.sin(X[:, 0]) / 4
XT = np.linspace(0, 9, 5)[:, None]
NET = FullyConnected((20, 20), "erf", weight_precision=0.3, bias_precision=1.0)
LEARNING = {
    "isotropic": ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (1e-1, 1e2)),
    "amplitude fixed": ConstantKernel(2.0, "fixed") * RBF(1.0, (1e-1, 1e2)),
    "sum": ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (1e-1, 1e2)) + ConstantKernel(0.1, (1e-3, 1e2)),
}
FITTED = {
    "t, noise inside": StudentTProcessRegressor(RBF(1.2), temperature=1e-3, optimizer=None),
    "t, noise beside": StudentTProcessRegressor(RBF(1.2), temperature=1e-3, optimizer=None, noise="gaussian"),
    "infinite network": NNGPRegressor(NET, temperature=1e-3),
}


@pytest.fixture(scope="module", params=LEARNING)
def learned(request):
    kernel = LEARNING[request.param]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "k2__constant_value: the optimum lies on the lower bound", ConvergenceWarning)
        return kernel, StudentTProcessRegressor(kernel, temperature=1e-3).fit(X, Y)


def slope(model):
    return model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)[1][: len(model.kernel_.theta)]


def test_learning_raises_the_evidence_to_a_maximum_within_bounds(learned):
    kernel, model = learned
    theta, bounds = model.kernel_.theta, model.kernel_.bounds
    before = clone(model).set_params(optimizer=None).fit(X, Y).log_marginal_likelihood_
    assert model.log_marginal_likelihood_ > before
    np.testing.assert_allclose(model.log_marginal_likelihood(theta), model.log_marginal_likelihood_value_, rtol=1e-10)
    assert (theta >= bounds[:, 0]).all()
    assert (theta <= bounds[:, 1]).all()
    assert ((np.abs(slope(model)) < 1e-3) | (theta == bounds[:, 0]) | (theta == bounds[:, 1])).all()
    np.testing.assert_array_equal(kernel.theta, clone(kernel).theta)  # the kernel that was given stays


def test_gradient_of_the_evidence(learned):
    kernel, model = learned
    _, gradient = model.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    numerical = approx_fprime(kernel.theta, model.log_marginal_likelihood, 1e-6)
    np.testing.assert_allclose(gradient, numerical, rtol=1e-4, atol=1e-4)


def test_fixed_parameters_stay_and_restarts_do_no_harm():
    fixed = StudentTProcessRegressor(LEARNING["amplitude fixed"], temperature=1e-3).fit(X, Y)
    assert fixed.kernel_.k1.constant_value == 2.0
    start = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1e-2, (1e-3, 1e3))
    last = -np.inf
    for restarts in (0, 2, 4):
        model = StudentTProcessRegressor(start, temperature=1e-3, n_restarts_optimizer=restarts, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the start is a bad one: its optimum relates no inputs
            evidence = model.fit(X, Y).log_marginal_likelihood_
        assert evidence > last - 1e-6
        last = evidence


def test_a_callable_optimises():
    def best_of_a_few(objective, initial, bounds):
        thetas = [initial, initial + 0.1, initial - 0.1]
        values = [objective(theta, eval_gradient=False) for theta in thetas]
        return thetas[int(np.argmin(values))], min(values)

    kernel = LEARNING["isotropic"]
    off = StudentTProcessRegressor(kernel, temperature=1e-3, optimizer=None).fit(X, Y)
    model = StudentTProcessRegressor(kernel, temperature=1e-3, optimizer=best_of_a_few)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # three trials are no maximum
        model.fit(X, Y)
    assert not model.converged_
    assert model.log_marginal_likelihood_ > off.log_marginal_likelihood_


@pytest.mark.parametrize("network", [False, True])
def test_where_the_noise_is_learned_a_search_begins_at_what_is_given_too(network):
    """The other begins where kernel and noise suit the size of the targets, of variance 100."""
    starts, ends = [], []

    def optimizer(objective, initial, bounds):
        starts.append(np.exp(initial))
        found = minimize(objective, initial, jac=True, bounds=bounds, method="L-BFGS-B")
        ends.append(-found.fun)
        return found.x, found.fun

    y = 10 * np.sin(3 * X[:, 0])
    if network:
        one = NET.set_params(widths=(20,), bias_precision=None)
        model = NNGPRegressor(one, temperature=0.1, optimizer=optimizer)
    else:
        kernel = ConstantKernel(1.0) * RBF(1.0, "fixed")
        model = StudentTProcessRegressor(kernel, temperature=0.1, optimize_temperature=True, optimizer=optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # seven points of a fast sine
        model.fit(X, y)
    given = [0.3, 0.1] if network else [1.0, 0.1]
    assert len(starts) == 2
    np.testing.assert_allclose(starts[0], given)
    assert not np.allclose(starts[1], given, rtol=0.5)
    assert model.log_marginal_likelihood_ == pytest.approx(max(ends), abs=1e-8)


@pytest.mark.parametrize("name", FITTED)
def test_interpolates_where_noise_is_small(name):
    model = clone(FITTED[name]).set_params(temperature=1e-8).fit(X, Y)
    mean, covariance = model.predict(X, return_cov=True)
    np.testing.assert_allclose(mean, Y, atol=1e-4)
    np.testing.assert_allclose(np.diag(covariance), 0, atol=1e-6)


@pytest.mark.parametrize("name", FITTED)
def test_standard_deviation_is_that_of_the_covariance(name):
    model = clone(FITTED[name]).fit(X, Y)
    mean, std = model.predict(XT, return_std=True)
    again, covariance = model.predict(XT, return_cov=True)
    np.testing.assert_allclose(mean, again, rtol=1e-10)
    np.testing.assert_allclose(std, np.sqrt(np.diag(covariance)), rtol=1e-7)
    np.testing.assert_array_equal(model.predict(XT), model.predict(XT.copy()))


@pytest.mark.parametrize("name", FITTED)
def test_samples_have_the_moments_of_the_law(name):
    model = clone(FITTED[name]).fit(X, Y)
    mean, std = model.predict(XT, return_std=True)
    draws = model.sample_y(XT, 20_000, random_state=1)
    assert draws.shape == (5, 20_000)
    error = std / np.sqrt(20_000)
    assert (np.abs(draws.mean(1) - mean) < 5 * error).all()
    np.testing.assert_allclose(draws.var(1), std**2, rtol=0.1)


@pytest.mark.parametrize("name", FITTED)
def test_outputs_side_by_side(name):
    both = np.stack([Y, 2 * Y], axis=1)
    one = clone(FITTED[name]).fit(X, Y)
    settings = {"network": FullyConnected((20, 20), "erf", 2, 0.3, 1.0)} if name == "infinite network" else {}
    two = clone(FITTED[name]).set_params(**settings).fit(X, both)
    assert two.predict(XT).shape == (5, 2)
    assert two.sample_y(XT, 3).shape == (5, 2, 3)
    np.testing.assert_allclose(two.predict(XT)[:, 0], one.predict(XT), rtol=1e-6 if name != "t, noise beside" else 0.05)


def test_normalised_targets_are_the_same_as_by_hand():
    by_hand = StudentTProcessRegressor(RBF(1.2), temperature=1e-3, optimizer=None).fit(X, (Y - Y.mean()) / Y.std())
    model = StudentTProcessRegressor(RBF(1.2), temperature=1e-3, optimizer=None, normalize_y=True).fit(X, Y)
    mean, std = by_hand.predict(XT, return_std=True)
    found, its_std = model.predict(XT, return_std=True)
    np.testing.assert_allclose(found, Y.std() * mean + Y.mean(), rtol=1e-9)
    np.testing.assert_allclose(its_std, Y.std() * std, rtol=1e-9)


def test_constant_targets_are_predicted():
    model = StudentTProcessRegressor(RBF(1.2), temperature=1e-3, optimizer=None, normalize_y=True).fit(
        X, np.full(7, 3.5)
    )
    np.testing.assert_allclose(model.predict(XT), 3.5)


def test_a_point_given_twice_is_a_point_of_half_the_noise():
    kernel, T = RBF(1.2), 0.1
    exact = GaussianProcessRegressor(kernel, alpha=np.r_[T / 2, np.full(6, T)], optimizer=None).fit(X, Y)
    twice = StudentTProcessRegressor(kernel, temperature=T, df=1e8, optimizer=None)
    twice.fit(np.r_[X, X[:1]], np.r_[Y, Y[:1]])
    network = NNGPRegressor(NET, temperature=T).fit(np.r_[X, X[:1]], np.r_[Y, Y[:1]])
    by_kernel = GaussianProcessRegressor(NNGPKernel(NET), alpha=np.r_[T / 2, np.full(6, T)], optimizer=None).fit(X, Y)
    for model, truth in ((twice, exact), (network, by_kernel)):
        mean, std = model.predict(XT, return_std=True)
        expected, its_std = truth.predict(XT, return_std=True)
        np.testing.assert_allclose(mean, expected, rtol=1e-6)
        np.testing.assert_allclose(std, its_std, rtol=1e-6)


def test_irrelevant_inputs_get_the_longer_length():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(30, 2))
    targets = np.sin(inputs[:, 0]) + 0.1 * inputs[:, 1]
    model = StudentTProcessRegressor(RBF([1.0, 1.0]), temperature=1e-4, n_restarts_optimizer=0).fit(inputs, targets)
    first, second = np.exp(model.kernel_.theta)
    assert second > 5 * first


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="optimizer"):
        StudentTProcessRegressor(optimizer="unknown").fit(X, Y)
    with pytest.raises(ValueError, match="singular"):
        StudentTProcessRegressor(DotProduct(), temperature=0.0, optimizer=None).fit(X, Y)
    with pytest.raises(NotFittedError):
        StudentTProcessRegressor().predict(X)
    with pytest.raises(ValueError, match="return_std"):
        clone(FITTED["infinite network"]).fit(X, Y).predict(XT, return_std=True, return_cov=True)
    with pytest.warns(ConvergenceWarning, match="length_scale"):
        StudentTProcessRegressor(RBF(1.0, (0.1, 0.5)), temperature=1e-3).fit(X, Y)
