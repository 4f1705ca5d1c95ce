"""Leave-one-out in closed form against refits without the example, in numpy and SciPy."""

import numpy as np
import pytest
from scipy.stats import multivariate_t, norm
from scipy.stats import t as student_t
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process.kernels import RBF

from stpbnn import (
    FiniteWidthRegressor,
    FullyConnected,
    NNGPKernel,
    NNGPRegressor,
    ProportionalLimitRegressor,
    StudentTProcessRegressor,
)

P, T = 9, 0.3
RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(P, 3)), RNG.normal(size=(P, 2)) @ np.array([[1.0, 0.6], [0.0, 1.0]]) + 0.4
DATA = {1: Y[:, 0], 2: Y}


def refit(A, y, i, mean=0.0):
    """Mean and variance of target i given the others, y ~ N(mean, A), for one A or many."""
    rest = np.delete(np.arange(P), i)
    pull = np.linalg.solve(A[..., rest[:, None], rest], A[..., rest, i, None])[..., 0]
    mean = np.broadcast_to(mean, (*A.shape[:-2], P))
    expected = mean[..., i] + np.sum(pull * (y - mean)[..., rest], axis=-1)
    return expected, A[..., i, i] - np.sum(pull * A[..., rest, i], axis=-1)


def log_densities(y, means, A):
    """log N(y; mean, A) of many A."""
    misfit = (y - means)[..., None]
    quadratic = np.sum(misfit * np.linalg.solve(A, misfit), axis=(-2, -1))
    return -(quadratic + np.linalg.slogdet(A)[1] + A.shape[-1] * np.log(2 * np.pi)) / 2


def kernel(net):
    return NNGPKernel(net)(X)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("regressor", [NNGPRegressor, ProportionalLimitRegressor])
def test_gaussian_processes(regressor, outputs):
    net = FullyConnected((8,), "erf", outputs, bias_precision=2.0)
    model = regressor(net, temperature=T).fit(X, DATA[outputs])
    b = 0.5
    Q = np.eye(outputs) if regressor is NNGPRegressor else model.order_parameters_.reshape(outputs, outputs)
    K = np.kron(Q, kernel(net) - b) + b * np.kron(np.eye(outputs), np.ones((P, P))) + T * np.eye(P * outputs)
    y = DATA[outputs].reshape(P, -1).T.ravel()
    law = model.leave_one_out()
    score = 0.0
    for i in range(P):
        out = np.arange(outputs) * P + i
        rest = np.setdiff1d(np.arange(len(y)), out)
        pull = np.linalg.solve(K[np.ix_(rest, rest)], K[np.ix_(rest, out)])
        mean, variance = pull.T @ y[rest], np.diag(K[np.ix_(out, out)] - pull.T @ K[np.ix_(rest, out)])
        np.testing.assert_allclose(np.ravel(law.mean[i]), mean, rtol=1e-8)
        np.testing.assert_allclose(np.ravel(law.variance[i]), variance, rtol=1e-8)
        score += norm.logpdf(y[out], mean, np.sqrt(variance)).sum()
    assert model.loo_log_score() == pytest.approx(score, rel=1e-8)


def test_interpolation_at_zero_temperature():
    net = FullyConnected((20,), "erf")
    model = ProportionalLimitRegressor(net, temperature=0).fit(X, Y[:, 0])
    law, A = model.leave_one_out(), model.order_parameters_[0] * kernel(net)
    for i in range(P):
        np.testing.assert_allclose((law.mean[i], law.variance[i]), refit(A, Y[:, 0], i), rtol=1e-7)


def nodes_of(model, name):
    """Means and covariances of the targets at the nodes of a mixture."""
    posterior, net = model.order_parameter_posterior_, model.network_
    Q = posterior.nodes[:, :, None, None]
    means = np.zeros((len(Q), P))
    if name == "mean kept":
        m = np.sqrt(np.einsum("ij,ij->i", X, X) / 3) / np.sqrt(2 * np.pi)  # E relu
        return posterior.amplitudes[:, None] * m, Q[:, 0] * (kernel(net) - np.outer(m, m)) + T * np.eye(P)
    if name == "one layer":
        return means, Q[:, 0] * (kernel(net) - 0.5) + 0.5 + T * np.eye(P)
    return means, Q[:, 0] * Q[:, 1] * (X @ X.T / 3) + T * np.eye(P)  # two linear layers


@pytest.mark.parametrize(
    ("name", "net"),
    [
        ("one layer", FullyConnected((6,), "erf", bias_precision=2.0)),
        ("mean kept", FullyConnected((6,), "relu")),
        ("two layers", FullyConnected((6, 7), "linear")),
    ],
)
def test_mixtures_are_reweighted_exactly(name, net):
    """p(Q | y_-i) from the densities of the other targets alone, on the nodes of the posterior."""
    y = Y[:, 0]
    model = FiniteWidthRegressor(net, temperature=T).fit(X, y)
    means, covariances = nodes_of(model, name)
    posterior = model.order_parameter_posterior_
    prior = np.log(posterior.weights) - log_densities(y, means, covariances)
    law, score = model.leave_one_out(), 0.0
    for i in range(P) if name == "one layer" else (0, 5):
        rest = np.delete(np.arange(P), i)
        log_weights = prior + log_densities(y[rest], means[:, rest], covariances[:, rest[:, None], rest])
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        parts = np.transpose(refit(covariances, y, i, means))
        mean = weights @ parts[:, 0]
        variance = weights @ (parts[:, 1] + (parts[:, 0] - mean) ** 2)
        np.testing.assert_allclose((law.mean[i], law.variance[i]), (mean, variance), rtol=1e-8)
        density = weights @ norm.pdf(y[i], parts[:, 0], np.sqrt(parts[:, 1]))
        assert law.pdf(y)[i] == pytest.approx(density, rel=1e-8)
        score += np.log(density)
    assert name != "one layer" or model.loo_log_score() == pytest.approx(score, rel=1e-8)


@pytest.mark.parametrize("normalize_y", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
def test_t_process_with_the_noise_inside(outputs, normalize_y):
    """The density of all targets over that of all but one, by SciPy's multivariate t."""
    nu, y = 4.5, DATA[outputs].reshape(P, -1)
    shift, size = (y.mean(axis=0), y.std(axis=0)) if normalize_y else (0.0, np.ones(outputs))
    settings = {"df": nu, "temperature": T, "optimizer": None, "normalize_y": normalize_y}
    model = StudentTProcessRegressor(RBF(1.5), **settings).fit(X, DATA[outputs])
    K, normalised = RBF(1.5)(X) + T * np.eye(P), (y - shift) / size
    law = model.leave_one_out()
    shape = K * (nu - 2) / nu
    for i in range(P):
        rest = np.delete(np.arange(P), i)
        pull = np.linalg.solve(shape[np.ix_(rest, rest)], shape[rest, i])
        misfit = np.sum(normalised[rest] * np.linalg.solve(shape[np.ix_(rest, rest)], normalised[rest]))
        df = nu + (P - 1) * outputs
        scale = np.sqrt((nu + misfit) / df * (shape[i, i] - pull @ shape[rest, i]))
        expected = student_t(df, shift + size * (pull @ normalised[rest]), scale * size)
        np.testing.assert_allclose(np.ravel(law.mean[i]), expected.mean(), rtol=1e-8)
        np.testing.assert_allclose(np.ravel(law.logpdf(DATA[outputs])[i]), expected.logpdf(y[i]), rtol=1e-8)
    if outputs == 1 and not normalize_y:
        together, alone = (multivariate_t(shape=shape[:n, :n], df=nu).logpdf(y[:n, 0]) for n in (P, P - 1))
        assert law.logpdf(y[:, 0])[-1] == pytest.approx(together - alone, rel=1e-8)


@pytest.mark.parametrize("outputs", [1, 2])
def test_t_process_with_the_noise_beside(outputs):
    nu, y = 4.5, DATA[outputs].reshape(P, -1)
    settings = {"df": nu, "temperature": T, "optimizer": None, "noise": "gaussian", "normalize_y": True}
    model = StudentTProcessRegressor(RBF(1.5), **settings).fit(X, DATA[outputs])
    shift, size = y.mean(axis=0), y.std(axis=0)
    normalised = (y - shift) / size
    posterior = model.scale_posterior_
    covariances = posterior.nodes[:, :, None] * RBF(1.5)(X) + T * np.eye(P)
    whole = sum(log_densities(z, np.zeros(P), covariances) for z in normalised.T)
    law = model.leave_one_out()
    for i in range(P):
        rest = np.delete(np.arange(P), i)
        smaller = covariances[:, rest[:, None], rest]
        others = sum(log_densities(z[rest], np.zeros(P - 1), smaller) for z in normalised.T)
        weights = posterior.weights * np.exp(others - whole - np.max(others - whole))
        weights /= weights.sum()
        for d in range(outputs):
            parts = np.transpose(refit(covariances, normalised[:, d], i))
            at = (y[i, d] - shift[d]) / size[d]
            density = weights @ norm.pdf(at, parts[:, 0], np.sqrt(parts[:, 1])) / size[d]
            assert np.ravel(law.pdf(DATA[outputs])[i])[d] == pytest.approx(density, rel=1e-8)
            assert np.ravel(law.mean[i])[d] == pytest.approx(shift[d] + size[d] * weights @ parts[:, 0], rel=1e-8)


def test_laws_side_by_side():
    model = FiniteWidthRegressor(FullyConnected((6,), "erf"), temperature=T).fit(X, Y[:, 0])
    law = model.leave_one_out()
    quantiles = law.quantile([0.1, 0.5])
    assert quantiles.shape == (P, 2)
    np.testing.assert_allclose(law.cdf(quantiles[:, 0]), 0.1, rtol=1e-6)
    assert law.sample(3, 0).shape == (3, P)
    with pytest.raises(NotFittedError):
        FiniteWidthRegressor().leave_one_out()
