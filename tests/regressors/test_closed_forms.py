"""Closed-form regressors against scikit-learn's Gaussian process, published numbers and independent algebra."""

import numpy as np
import pytest
from quick_cases import cases
from regression_data import REGRESSORS, data
from scipy.integrate import quad_vec
from scipy.stats import gamma, multivariate_normal
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
from sklearn.utils import get_tags

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor, datasets
from stpbnn.predictive import JointGaussian


@pytest.mark.parametrize("outputs", [1, 3])
def test_infinite_linear_network_is_scikit_learns_gaussian_process(outputs):
    """A linear network has the kernel x·x' / (N_0 λ_0 λ_1 λ_2) + biases, which scikit-learn has as well."""
    X, y, Xt = data(outputs=outputs)
    net = FullyConnected((9, 8), "linear", outputs, weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0)
    # (C/3·1 + ...): with a = 1/(4·0.5), biases 0.25 a layer: K_0 = a x·x' + .25, K_1 = K_0/2 + .25, K_2 = K_1/3 + .25
    slope, constant = 1 / (4 * 0.5) / 2 / 3, (0.25 / 2 + 0.25) / 3 + 0.25
    kernel = ConstantKernel(slope) * DotProduct(sigma_0=(constant / slope) ** 0.5)
    reference = GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None).fit(X, y)
    model = NNGPRegressor(net, temperature=0.1).fit(X, y)
    for option in ({"return_std": True}, {"return_cov": True}):
        for ours, theirs in zip(model.predict(Xt, **option), reference.predict(Xt, **option), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.log_marginal_likelihood_, reference.log_marginal_likelihood_value_, rtol=1e-10)
    assert model.sample_y(Xt, 5).shape == reference.sample_y(Xt, 5).shape


def test_digits_reach_the_published_numbers(digits):
    """Q̄ and the generalisation error of the main job: erf, N_1 = 100, P = 100, T = 0.05, unit precisions."""
    X, y, Xt, yt = digits
    model = ProportionalLimitRegressor(FullyConnected((100,), "erf"), temperature=0.05).fit(X, y)
    assert model.order_parameters_.shape == (1,)
    assert abs(model.order_parameters_[0] - 0.943685) < 5e-7
    assert abs(model.generalization_error(Xt, yt).total - 0.039398) < 5e-7
    assert model.converged_


def test_proportional_limit_predicts_with_the_renormalised_kernel():
    """One hidden erf layer written out in numpy, at the order parameter that was found."""
    X, y, Xt = data()
    net = FullyConnected((12,), "erf", weight_precision=(0.5, 2.0), bias_precision=4.0)
    model = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y)
    both = np.vstack([X, Xt])
    C = both @ both.T / (4 * 0.5) + 0.25
    K = 2 / np.pi * np.arcsin(2 * C / np.sqrt(np.outer(1 + 2 * np.diag(C), 1 + 2 * np.diag(C)))) / 2.0
    K = model.order_parameters_[0] * K + 0.25
    A = K[:15, :15] + 0.1 * np.eye(15)
    mean = K[15:, :15] @ np.linalg.solve(A, y)
    covariance = K[15:, 15:] - K[15:, :15] @ np.linalg.solve(A, K[:15, 15:])
    predicted, predicted_covariance = model.predict(Xt, return_cov=True)
    np.testing.assert_allclose(predicted, mean, rtol=1e-9)
    np.testing.assert_allclose(predicted_covariance, covariance, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(model.predict(Xt, return_std=True)[1] ** 2, np.diag(covariance), rtol=1e-9)
    yt = np.ones(7)
    error = model.generalization_error(Xt, yt)
    np.testing.assert_allclose(error, [error[1] + error[2], np.mean((yt - mean) ** 2), np.diag(covariance).mean()])


def relu_dual(C):
    root = np.sqrt(np.diag(C))
    u = np.clip(C / np.outer(root, root), -1, 1)
    return np.outer(root, root) / (2 * np.pi) * (u * (np.pi - np.arccos(u)) + np.sqrt(1 - u * u))


def test_two_layers_predict_with_the_nested_kernel():
    """Unequal widths, precisions and biases, written out in numpy at the order parameters that were found."""
    X, y, Xt = data()
    net = FullyConnected((8, 20), "relu", weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0)
    model = ProportionalLimitRegressor(net, temperature=0.1).fit(X, 3 * y)
    Q = model.order_parameters_
    assert np.abs(Q - 1).max() > 0.2
    both = np.vstack([X, Xt])
    K = Q[0] * relu_dual(both @ both.T / (4 * 0.5) + 0.25) / 2.0 + 0.25
    K = Q[1] * relu_dual(K) / 3.0 + 0.25
    A = K[:15, :15] + 0.1 * np.eye(15)
    covariance = K[15:, 15:] - K[15:, :15] @ np.linalg.solve(A, K[:15, 15:])
    mean, std = model.predict(Xt, return_std=True)
    np.testing.assert_allclose(mean, K[15:, :15] @ np.linalg.solve(A, 3 * y), rtol=1e-6)
    np.testing.assert_allclose(std**2, np.diag(covariance), rtol=1e-6)


@pytest.mark.parametrize("depth", cases([2], [2, 3]))
def test_deep_relu_networks_at_zero_temperature_have_a_closed_form(depth):
    """Equal layers at T = 0: Q^L (Q − 1 + α) = α y·K^{-1} y / P, with K the infinite-width kernel."""
    X, y, _ = data(N0=30)
    model = ProportionalLimitRegressor(FullyConnected((10,) * depth, "relu"), temperature=0).fit(X, y)
    K = X @ X.T / 30
    for _ in range(depth):
        K = relu_dual(K)
    load, s = 15 / 10, y @ np.linalg.solve(K, y) / 15
    roots = np.roots([1, load - 1, *[0] * (depth - 1), -load * s])
    expected = roots[np.isreal(roots) & (roots.real > 0)].real
    assert len(expected) == 1
    np.testing.assert_allclose(model.order_parameters_, expected[0], rtol=1e-9)


@pytest.mark.parametrize("closure", ["nested", "global", "wishart"])
def test_wide_networks_predict_like_infinite_ones(closure):
    X, y, Xt = data()
    wide = FullyConnected((10**7, 10**7), "erf", bias_precision=1.0)
    limit = NNGPRegressor(wide, temperature=0.1).fit(X, y)
    model = ProportionalLimitRegressor(wide, temperature=0.1, closure=closure).fit(X, y)
    np.testing.assert_allclose(model.predict(Xt), limit.predict(Xt), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.log_marginal_likelihood_, limit.log_marginal_likelihood_, rtol=1e-5)


def test_log_evidence_of_the_infinite_network():
    X, y, _ = data()
    model = NNGPRegressor(FullyConnected((9,), "linear"), temperature=0.1).fit(X, y)
    expected = multivariate_normal.logpdf(y, cov=X @ X.T / 4 + 0.1 * np.eye(15))
    np.testing.assert_allclose(model.log_marginal_likelihood_, expected, rtol=1e-10)


def test_predictive_laws():
    X, y, Xt = data()
    model = ProportionalLimitRegressor(temperature=0.1).fit(X, y)
    mean, covariance = model.predict(Xt, return_cov=True)
    law, target = model.predictive(Xt), model.predictive(Xt, noise=True)
    np.testing.assert_allclose(law.mean, mean)
    np.testing.assert_allclose(target.variance, law.variance + 0.1)
    joint = model.predictive(Xt, noise=True, joint=True)
    assert isinstance(joint, JointGaussian)
    expected = multivariate_normal.logpdf(y[:7], mean, covariance + 0.1 * np.eye(7))
    np.testing.assert_allclose(joint.logpdf(y[:7]), expected, rtol=1e-8)


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_zero_rows_and_repeated_inputs_are_fine(regressor, activation):
    X, y, Xt = data()
    X[3], X[4], Xt[0] = 0.0, X[5], 0.0
    net = FullyConnected((20, 20), activation)
    mean, std = regressor(net, temperature=0.1).fit(X, y).predict(np.vstack([Xt, X[5:6]]), return_std=True)
    assert np.all(np.isfinite(mean))
    assert mean[0] == 0  # f(0) = 0 without biases
    assert std[0] == 0
    assert std[-1] > 0


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_zero_temperature_interpolates(regressor):
    X, y, _ = data(N0=30)
    model = regressor(FullyConnected((50,), "erf"), temperature=0).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, y, rtol=1e-10)
    np.testing.assert_allclose(std, 0, atol=1e-6)


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_column_targets_and_clones(regressor):
    X, y, Xt = data()
    model = clone(regressor(FullyConnected((30,)), temperature=0.2))
    column = y[:, None] if get_tags(model).target_tags.multi_output else y
    column = clone(model).fit(X, column).predict(Xt)
    np.testing.assert_array_equal(column, model.fit(X, y).predict(Xt))


@pytest.mark.parametrize("bias_precision", [None, 2.0])
def test_kept_mean_predicts_with_two_scales(bias_precision):
    """One relu layer in numpy: Q (K_1 − m m^T) + m m^T/(1 + q), at the order parameters that were found."""
    X, y, Xt = data()
    net = FullyConnected((12,), "relu", weight_precision=(0.5, 2.0), bias_precision=bias_precision)
    model = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y + 1)
    assert model.converged_
    Q, p = model.order_parameters_[0], 1 / (1 + model.conjugate_order_parameter_)
    bias = 0.0 if bias_precision is None else 0.5
    both = np.vstack([X, Xt])
    C = both @ both.T / (4 * 0.5) + bias
    root = np.sqrt(np.diag(C))
    u = np.clip(C / np.outer(root, root), -1, 1)
    K = np.outer(root, root) / (2 * np.pi) * (u * (np.pi - np.arccos(u)) + np.sqrt(1 - u * u)) / 2
    m = root / np.sqrt(2 * np.pi) / np.sqrt(2.0)
    K = Q * (K - np.outer(m, m)) + p * np.outer(m, m) + bias
    mean = K[15:, :15] @ np.linalg.solve(K[:15, :15] + 0.1 * np.eye(15), y + 1)
    np.testing.assert_allclose(model.predict(Xt), mean, rtol=1e-6)
    dropped = ProportionalLimitRegressor(net, temperature=0.1, mean="drop").fit(X, y + 1)
    assert not hasattr(dropped, "conjugate_order_parameter_")
    assert np.abs(dropped.predict(Xt) - mean).max() > 1e-4


@pytest.mark.parametrize("bias_precision", [None, 2.0])
def test_several_outputs_predict_with_the_matrix_order_parameter(bias_precision):
    """Against the full PD by PD Gaussian process in numpy, at the order parameter that was found."""
    X, y, Xt = data(outputs=3)
    y[:, 2] += y[:, 0]
    net = FullyConnected((12,), "erf", outputs=3, bias_precision=bias_precision)
    model = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y)
    assert model.converged_
    assert model.order_parameters_.shape == (3, 3)
    bias = 0.0 if bias_precision is None else 0.5
    both = np.vstack([X, Xt])
    C = both @ both.T / 4 + bias
    K = 2 / np.pi * np.arcsin(2 * C / np.sqrt(np.outer(1 + 2 * np.diag(C), 1 + 2 * np.diag(C))))
    full = np.kron(model.order_parameters_, K) + np.kron(np.eye(3), np.full((22, 22), bias))
    train = np.concatenate([np.arange(15) + 22 * d for d in range(3)])
    test = np.setdiff1d(np.arange(66), train)
    A = full[np.ix_(train, train)] + 0.1 * np.eye(45)
    mean = full[np.ix_(test, train)] @ np.linalg.solve(A, y.T.ravel())
    covariance = full[np.ix_(test, test)] - full[np.ix_(test, train)] @ np.linalg.solve(A, full[np.ix_(train, test)])
    predicted, std = model.predict(Xt, return_std=True)
    np.testing.assert_allclose(predicted, mean.reshape(3, 7).T, rtol=1e-8)
    np.testing.assert_allclose(std**2, np.diag(covariance).reshape(3, 7).T, rtol=1e-7)
    joint = model.predictive(Xt, noise=True, joint=True)
    expected = multivariate_normal.logpdf(y[:7].T.ravel(), mean, covariance + 0.1 * np.eye(21))
    np.testing.assert_allclose(joint.logpdf(y[:7]), expected, rtol=1e-8)
    per_output = [covariance[7 * d : 7 * d + 7, 7 * d : 7 * d + 7] for d in range(3)]
    np.testing.assert_allclose(model.predict(Xt, return_cov=True)[1], np.stack(per_output, -1), rtol=1e-6, atol=1e-10)
    draws = joint.sample(40_000, random_state=0).transpose(0, 2, 1).reshape(40_000, 21)
    spread = np.sqrt(np.diag(covariance) + 0.1)
    np.testing.assert_allclose(np.cov(draws.T), covariance + 0.1 * np.eye(21), atol=0.04 * spread.max() ** 2)


def test_finite_width_of_a_linear_network_against_quadrature():
    """Moments of f by scipy's quadrature over Q ~ Gamma(N/2, rate N/2)."""
    X, y, Xt = data()
    model = FiniteWidthRegressor(FullyConnected((5,), "linear"), temperature=0.1).fit(X, y)

    def moments(u):
        A = np.exp(u) * X @ X.T / 4 + 0.1 * np.eye(15)
        k = np.exp(u) * Xt @ X.T / 4
        weight = multivariate_normal.pdf(y, cov=A) * gamma.pdf(np.exp(u), 2.5, scale=0.4) * np.exp(u)
        mean = k @ np.linalg.solve(A, y)
        second = np.diag(np.exp(u) * Xt @ Xt.T / 4 - k @ np.linalg.solve(A, k.T)) + mean**2
        return weight * np.concatenate([[1.0], mean, second])

    evidence, *rest = quad_vec(moments, -12, 5, epsrel=1e-11, epsabs=0, points=[-2, -1, 0, 1])[0]
    mean, second = np.split(np.array(rest) / evidence, 2)
    predicted, std = model.predict(Xt, return_std=True)
    np.testing.assert_allclose(predicted, mean, rtol=1e-8)
    np.testing.assert_allclose(std**2, second - mean**2, rtol=1e-8)
    np.testing.assert_allclose(model.log_marginal_likelihood_, np.log(evidence), rtol=1e-9)
    assert model.converged_


@pytest.mark.parametrize(("activation", "widths"), [("erf", 30), ("erf", 300), ("relu", 30), ("relu", 300)])
def test_zero_temperature_numbers_of_the_paper(activation, widths):
    """Digits with labels 0 and 1, L = 1, T → 0: kernels as integrals, quadratic equation of Q̄, and error."""
    X, y, X_test, y_test = datasets.load("digits", classes=(0, 1), labels=(0, 1), train=40, test=20, seed=0)
    below, above, both = 0.7, 1.6, np.concatenate([X, X_test])
    C = both @ both.T / (below * both.shape[1])

    nodes, weights = np.polynomial.legendre.leggauss(300)

    def integral(f, lower, upper):
        return (
            (upper - lower)
            / 2
            * sum(w * f(lower + (upper - lower) * (1 + x) / 2) for x, w in zip(nodes, weights, strict=True))
        )

    a, b = np.diag(C)[:, None], np.diag(C)
    if activation == "erf":  # the arcsine as an integral
        slope = 2 * C / np.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * C**2)
        K = 2 / np.pi * integral(lambda t: 1 / (1 + t**2), 0, slope)
    else:  # the wedge where both units are on, Cho and Saul 2009
        angle = np.arccos(np.clip(C / np.sqrt(a * b), -1, 1))
        K = np.sqrt(a * b) / np.pi * integral(lambda t: np.cos(t) * np.cos(t - angle), angle - np.pi / 2, np.pi / 2)
    K /= above
    train, cross = K[:40, :40], K[40:, :40]
    s, alpha = y @ np.linalg.solve(train, y) / 40, 40 / widths
    Q = max(np.roots([1, alpha - 1, -alpha * s]).real)
    mean = cross @ np.linalg.solve(train, y)
    variance = Q * (np.diag(K)[40:] - np.sum(cross.T * np.linalg.solve(train, cross.T), axis=0))
    net = FullyConnected((widths,), activation, weight_precision=(below, above))
    model = ProportionalLimitRegressor(net, temperature=0, mean="drop").fit(X, y)
    np.testing.assert_allclose(model.order_parameters_, [Q], rtol=1e-8)
    found = model.generalization_error(X_test, y_test)
    np.testing.assert_allclose(found, [np.mean((y_test - mean) ** 2 + variance), np.mean((y_test - mean) ** 2),
                                       np.mean(variance)], rtol=1e-8)  # fmt: skip
