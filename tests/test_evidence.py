"""The gradient of the log evidence against differences of the evidence, which other tests hold against the outside."""

import numpy as np
import pytest
from quick_cases import cases
from scipy.integrate import quad_vec
from scipy.stats import gamma, multivariate_normal

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.kernels import hyperparameters

ACTIVATIONS = ("erf", "relu", "linear", "tanh")
PRIORS = {"tied": {"weight_precision": 1.3}, "each": {"weight_precision": (0.5, 2.0, 3.0), "bias_precision": 4.0}}
QUICK = [("erf", "each"), ("relu", "each"), ("linear", "tied")]


def data(P=12, N0=4, outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N0)), rng.normal(size=(P,) if outputs == 1 else (P, outputs)) + 0.5


def network(widths, activation, prior, outputs=1):
    settings = dict(PRIORS[prior])
    if prior == "each":
        settings["weight_precision"] = settings["weight_precision"][: len(widths) + 1]
    return FullyConnected(widths, activation, outputs, **settings)


def differences(function, x, h=0.05):
    """Central differences with two steps, extrapolated (Richardson)."""

    def along(e):
        wide, narrow = ((function(x + s * e) - function(x - s * e)) / (2 * s) for s in (h, h / 2))
        return (4 * narrow - wide) / 3

    return np.array([along(e) for e in np.eye(len(x))])


def assert_gradient_is_that_of_refits(regressor, net, X, y, temperature=0.1, **settings):
    """A regressor fitted anew at every shifted value of the hyper-parameters."""

    def refitted(theta):
        T = float(np.exp(theta[-1])) if temperature else 0.0
        shifted = hyperparameters.with_values(net, theta[: len(hyperparameters.names(net))])
        return regressor(shifted, temperature=T, **settings).fit(X, y).log_marginal_likelihood_

    model = regressor(net, temperature=temperature, **settings).fit(X, y)
    assert model.converged_
    value, gradient = model.log_marginal_likelihood(eval_gradient=True)
    assert value == model.log_marginal_likelihood_
    theta = np.log([v for v in model.hyperparameters_.values() if v > 0])
    expected = differences(refitted, theta)
    assert gradient.shape == expected.shape == (len(hyperparameters.names(net)) + (temperature > 0),)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("activation", cases(["erf", "relu", "linear"], ACTIVATIONS))
def test_infinite_width(activation):
    assert_gradient_is_that_of_refits(NNGPRegressor, network((12,), activation, "tied"), *data())


@pytest.mark.parametrize("activation", cases(["erf", "relu", "linear"], ACTIVATIONS))
def test_infinite_width_of_two_layers(activation):
    assert_gradient_is_that_of_refits(NNGPRegressor, network((8, 20), activation, "each"), *data())


@pytest.mark.parametrize(("activation", "prior"), cases(QUICK, ACTIVATIONS, PRIORS))
def test_proportional_limit_of_one_layer(activation, prior):
    X, y = data()
    assert_gradient_is_that_of_refits(
        ProportionalLimitRegressor, network((12,), activation, prior), X, 2 * y, mean="drop"
    )


@pytest.mark.parametrize("prior", cases(["tied"], PRIORS))
def test_proportional_limit_with_a_mean(prior):
    assert_gradient_is_that_of_refits(ProportionalLimitRegressor, network((12,), "relu", prior), *data(), mean="keep")


@pytest.mark.parametrize(
    ("closure", "activation", "prior"),
    cases(
        [("nested", "erf", "tied")],
        ("nested", "global", "wishart"),
        ACTIVATIONS,
        PRIORS,
    ),
)
def test_proportional_limit_of_two_layers(closure, activation, prior):
    net = network((30, 20), activation, prior)
    assert_gradient_is_that_of_refits(ProportionalLimitRegressor, net, *data(), closure=closure)


@pytest.mark.long
def test_proportional_limit_of_three_layers():
    net = FullyConnected((30, 20, 25), "linear", bias_precision=2.0)
    assert_gradient_is_that_of_refits(ProportionalLimitRegressor, net, *data())


@pytest.mark.long
@pytest.mark.parametrize("prior", PRIORS)
def test_proportional_limit_of_several_outputs(prior):
    X, y = data(outputs=2)
    y[:, 1] += y[:, 0]
    assert_gradient_is_that_of_refits(ProportionalLimitRegressor, network((12,), "erf", prior, 2), X, y)


@pytest.mark.long
def test_proportional_limit_of_several_outputs_and_layers():
    X, y = data(outputs=2)
    y[:, 1] += y[:, 0]
    net = FullyConnected((12, 8), "erf", 2, weight_precision=(0.5, 2.0, 1.5), bias_precision=2.0)
    assert_gradient_is_that_of_refits(ProportionalLimitRegressor, net, X, y, closure="global")


def test_infinite_width_of_several_outputs():
    assert_gradient_is_that_of_refits(NNGPRegressor, network((12,), "erf", "each", 3), *data(outputs=3))


@pytest.mark.parametrize(("activation", "prior"), cases(QUICK, ACTIVATIONS, PRIORS))
def test_finite_width_of_one_layer(activation, prior):
    assert_gradient_is_that_of_refits(FiniteWidthRegressor, network((5,), activation, prior), *data(), mean="drop")


@pytest.mark.parametrize(
    ("activation", "prior"),
    [
        ("relu", "tied"),
        *(
            pytest.param(*other, marks=pytest.mark.long)
            for other in (("relu", "each"), ("silu", "each"), ("silu", "tied"))
        ),
    ],
)
def test_finite_width_with_a_mean(activation, prior):
    assert_gradient_is_that_of_refits(FiniteWidthRegressor, network((5,), activation, prior), *data(), mean="keep")


@pytest.mark.long
@pytest.mark.parametrize("closure", ["nested", "global", "wishart"])
def test_finite_width_of_two_layers(closure):
    net = network((20, 30), "erf", "each")
    assert_gradient_is_that_of_refits(FiniteWidthRegressor, net, *data(P=8), closure=closure)


@pytest.mark.parametrize("regressor", [NNGPRegressor, ProportionalLimitRegressor, FiniteWidthRegressor])
def test_zero_temperature_has_the_slopes_of_the_precisions_alone(regressor):
    X, y = data(N0=30)
    assert_gradient_is_that_of_refits(regressor, network((20,), "erf", "each"), X, y, temperature=0)


@pytest.mark.long
def test_repeated_and_zero_inputs():
    """κ at u = 1 and at zero norm, where the derivatives of relu's kernel have rules of their own."""
    X, y = data()
    X[1], X[3], X[4] = X[0], 0.0, 2 * X[0]
    assert_gradient_is_that_of_refits(ProportionalLimitRegressor, network((30, 20), "relu", "tied"), X, y)


def erf_kernel(C):
    norms = np.sqrt(1 + 2 * np.diag(C))
    return 2 / np.pi * np.arcsin(2 * C / np.outer(norms, norms))


@pytest.mark.parametrize("outputs", [1, 2])
def test_infinite_width_against_scipys_normal_law(outputs):
    """Two erf layers with biases written out in numpy, density and slopes."""
    X, y = data(outputs=outputs)

    def expected(theta):
        l0, l1, l2, lb, T = np.exp(theta)
        K = erf_kernel(erf_kernel(X @ X.T / (4 * l0) + 1 / lb) / l1 + 1 / lb) / l2 + 1 / lb
        return np.sum(multivariate_normal.logpdf(y.T, cov=K + T * np.eye(12)))

    theta = np.log([0.5, 2.0, 3.0, 4.0, 0.1])
    model = NNGPRegressor(network((9, 9), "erf", "tied", outputs), temperature=7.0)
    model = model.set_params(network=network((9, 9), "erf", "each", outputs)).fit(X, y)
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    np.testing.assert_allclose(value, expected(theta), rtol=1e-10)
    np.testing.assert_allclose(gradient, differences(expected, theta), rtol=1e-6)


def test_finite_width_against_scipys_quadrature():
    """A linear network with a bias: log ∫ Gamma(Q; N/2, N/2) N(y; 0, Q K + b + T) dQ, exact at every width."""
    X, y = data()

    def expected(theta):
        l0, l1, lb, T = np.exp(theta)
        K, b = (X @ X.T / (4 * l0) + 1 / lb) / l1, 1 / lb

        def integrand(u):
            weight = gamma.pdf(np.exp(u), 2.5, scale=0.4) * np.exp(u)
            return weight * multivariate_normal.pdf(y, cov=np.exp(u) * K + b + T * np.eye(12))

        return np.log(quad_vec(integrand, -12, 5, epsrel=1e-12, epsabs=0, points=[-2, -1, 0, 1])[0])

    model = FiniteWidthRegressor(network((5,), "linear", "each"), temperature=0.1).fit(X, y)
    value, gradient = model.log_marginal_likelihood(eval_gradient=True)
    theta = np.log(list(model.hyperparameters_.values()))
    np.testing.assert_allclose(value, expected(theta), rtol=1e-9)
    np.testing.assert_allclose(gradient, differences(expected, theta, h=0.04), rtol=1e-6)


def test_the_proportional_limit_has_the_slopes_of_the_exact_evidence_where_it_is_wide():
    """The fluctuation term counts: with it the slopes are right to order 1/N, and they fall into place as N grows."""
    X, y = data()
    errors = []
    for N in (50, 500):
        net = network((N,), "linear", "each")
        exact = FiniteWidthRegressor(net, temperature=0.1).fit(X, y).log_marginal_likelihood(eval_gradient=True)[1]
        saddle = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y)
        errors.append(np.abs(saddle.log_marginal_likelihood(eval_gradient=True)[1] - exact).max())
    assert errors[1] < errors[0] / 30  # of order 1/N²
    assert errors[0] < 0.01
