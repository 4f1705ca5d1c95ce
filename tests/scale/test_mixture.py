"""Finite width beyond the saddle point against scipy's quadrature, its own limits, and Monte Carlo over networks."""

import numpy as np
import pytest
from posed import condition, predictive
from scale_integrals import prior_kernel, problem
from scipy.integrate import dblquad, quad
from scipy.special import gammaln
from scipy.stats import gamma, invgamma, multivariate_normal, multivariate_t
from sklearn.exceptions import ConvergenceWarning

from stpbnn import FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.scale import (
    InverseGamma,
    OrderParameterPosterior,
    deep,
    importance,
    lattice,
    trapezoid,
)
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.trapezoid import scale_posterior


def conditional(activation, X, y, x, Q, temperature, bias=0.0):
    """Density of y, mean and covariance of f(x) at given order parameters, by dense algebra."""
    P = len(y)
    K = prior_kernel(activation, np.vstack([X, x]), Q, bias)
    A = K[:P, :P] + temperature * np.eye(P)
    k = K[P:, :P]
    solved = np.linalg.solve(A, np.column_stack([y, k.T]))
    density = np.exp(-(y @ solved[:, 0] + np.linalg.slogdet(A)[1] + P * np.log(2 * np.pi)) / 2)
    return density, k @ solved[:, 0], K[P:, P:] - k @ solved[:, 1:]


def prior_density(q, width):
    """Density of an order parameter, Gamma(N/2, scale 2/N), written out: SciPy's takes longer than all the rest."""
    shape = np.asarray(width) / 2
    return np.exp(shape * np.log(shape) + (shape - 1) * np.log(q) - shape * q - gammaln(shape))


def integral(f, *, points=(1.0,), upper=60.0):
    return quad(f, 0, upper, points=list(points), epsabs=0, epsrel=1e-12, limit=500)[0]


@pytest.mark.parametrize("bias", [0.0, 0.5])
@pytest.mark.parametrize(("width", "activation"), [(1, "linear"), (6, "erf"), (60, "linear")])
def test_one_layer_against_quadrature(width, activation, bias):
    """Evidence, moments of Q and of the predictive law to 1e-10."""
    X, y, x = problem()
    T = 0.1
    net = FullyConnected((width,), activation, bias_precision=1 / bias if bias else None)
    fitted = condition(net, X, y, T)

    def moment(g):
        def integrand(u):  # over log Q: no singularity at Q = 0 for one unit
            q = np.exp(u)
            return q * prior_density(q, width) * g(q, *conditional(activation, X, y, x, [q], T, bias))

        return quad(integrand, -50, 4, points=[-1.0, 0.0, 1.0], epsabs=0, epsrel=1e-12, limit=500)[0]

    Z = moment(lambda q, p, m, C: p)
    Q1, Q2 = (moment(lambda q, p, m, C, k=k: p * q**k) / Z for k in (1, 2))
    posterior = fitted.posterior
    assert posterior.error < 1e-10
    assert abs(np.exp(posterior.log_evidence) / Z - 1) < 1e-10
    assert abs(posterior.mean[0] / Q1 - 1) < 1e-10
    assert abs(posterior.std[0] / np.sqrt(Q2 - Q1**2) - 1) < 1e-9
    law = predictive(fitted, x, joint=True)
    mean = np.array([moment(lambda q, p, m, C, i=i: p * m[i]) / Z for i in range(3)])
    second = moment(lambda q, p, m, C: p * (C[0, 1] + m[0] * m[1])) / Z
    variance = moment(lambda q, p, m, C: p * (C[2, 2] + m[2] ** 2)) / Z - mean[2] ** 2
    np.testing.assert_allclose(law.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(law.covariance[0, 1], second - mean[0] * mean[1], rtol=1e-8)
    np.testing.assert_allclose(law.variance[2], variance, rtol=1e-9)
    noisy = predictive(fitted, x, noise=True)
    np.testing.assert_allclose(noisy.variance - law.variance, T, rtol=1e-12)
    np.testing.assert_allclose(noisy.mean, law.mean, rtol=1e-12)


@pytest.mark.parametrize("barrier", ["low", "high"])
def test_two_modes_are_both_integrated(barrier):
    """The double well of the action's tests, and one with a barrier that separates the valleys."""
    if barrier == "low":
        eigenvalues, targets, width, T = np.array([1.0] * 50 + [0.0025]), np.sqrt([0.3] * 50 + [30.0]), 10, 0.05
    else:
        eigenvalues, targets, width, T = np.array([1.0] * 100 + [1e-4]), np.sqrt([0.1] * 100 + [1000.0]), 30, 0.05
    net = FullyConnected((width,), "linear")
    X = np.diag(np.sqrt(len(targets) * eigenvalues))
    posterior = condition(net, X, targets, T).posterior
    u = np.linspace(-40, 15, 400_001)
    logs = np.zeros_like(u)
    groups, counts = np.unique(np.stack([eigenvalues, targets]), axis=1, return_counts=True)
    for (value, target), count in zip(groups.T, counts, strict=True):
        A = np.exp(u) * value + T
        logs -= count * (np.log(2 * np.pi * A) + target**2 / A) / 2
    logs += u + gamma.logpdf(np.exp(u), width / 2, scale=2 / width)
    weights = np.exp(logs - logs.max())
    log_evidence = np.log(weights.sum() * (u[1] - u[0])) + logs.max()
    lowest = np.flatnonzero((logs[1:-1] > logs[:-2]) & (logs[1:-1] >= logs[2:]))
    assert len(lowest) == 2
    assert abs(posterior.log_evidence - log_evidence) < 1e-10
    np.testing.assert_allclose(posterior.mean, weights @ np.exp(u) / weights.sum(), rtol=1e-9)


def test_one_node_is_the_regressor_at_that_scale():
    """The point law: Q fixed at one, and at the saddle point."""
    X, y, x = problem()
    net = FullyConnected((20,), "erf", weight_precision=(0.5, 2.0), bias_precision=2.0)
    fitted = condition(net, X, y, 0.1)
    for model in (NNGPRegressor(net, temperature=0.1), ProportionalLimitRegressor(net, temperature=0.1)):
        expected = model.fit(X, y).predictive(x, noise=True, joint=True)
        nodes = model.order_parameters_[None]
        law = predictive(
            fitted._replace(posterior=OrderParameterPosterior(nodes, np.ones(1), 0.0, 0.0)), x, noise=True, joint=True
        )
        np.testing.assert_allclose(law.mean, expected.mean, rtol=1e-10)
        np.testing.assert_allclose(law.covariance, expected.covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("df", [2.1, 5.0, 200.0])
def test_inverse_gamma_law_gives_student_t(df):
    """THEORY section 5 at T = 0: evidence, scale and prediction in closed form."""
    X, y, x = problem(P=6)
    K = np.exp(-((np.vstack([X, x])[:, None] - np.vstack([X, x])[None]) ** 2).sum(-1) / 9)
    solved = Resolvent.spectral(K[:6, :6], y[:, None], 0.0)
    posterior = scale_posterior(solved, InverseGamma(df))
    square = y @ np.linalg.solve(K[:6, :6], y)
    assert abs(posterior.log_evidence - multivariate_t.logpdf(y, shape=(df - 2) / df * K[:6, :6], df=df)) < 1e-10
    factor = (df + square - 2) / (df + 4)
    np.testing.assert_allclose(posterior.mean, factor, rtol=1e-10)
    moments = solved.moments(np.log(posterior.nodes[:, 0]), K[6:, :6] @ solved.eigenvectors, np.diag(K)[6:])
    explained = K[6:, :6] @ np.linalg.solve(K[:6, :6], K[:6, 6:])
    np.testing.assert_allclose(
        posterior.weights @ moments.variances, factor * np.diag(K[6:, 6:] - explained), rtol=1e-9
    )


def test_inverse_gamma_law_with_independent_noise():
    X, y, _ = problem(P=6)
    K, T, df = X @ X.T / 5, 0.3, 5.0

    def integrand(r, power=0):
        return (
            r**power * multivariate_normal.pdf(y, cov=r * K + T * np.eye(6)) * invgamma.pdf(r, df / 2, scale=df / 2 - 1)
        )

    exact = quad(integrand, 0, np.inf, epsabs=0, epsrel=1e-12, limit=500)[0]
    posterior = scale_posterior(Resolvent.spectral(K, y[:, None], T), InverseGamma(df))
    assert abs(np.exp(posterior.log_evidence) / exact - 1) < 1e-10
    mean = quad(integrand, 0, np.inf, args=(1,), epsabs=0, epsrel=1e-12, limit=500)[0] / exact
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-9)


@pytest.mark.parametrize(("width", "temperature", "size"), [(1, 1e-8, 1e-3), (100_000, 1e-4, 30.0), (3, 10.0, 1e3)])
def test_extreme_settings_converge(width, temperature, size):
    X, y, _ = problem(P=12)
    posterior = condition(FullyConnected((width,), "erf"), X, size * y, temperature).posterior
    assert posterior.error < 1e-10
    assert len(posterior.weights) < 1000
    assert np.isfinite(posterior.log_evidence)


def test_zero_temperature():
    """T = 0 and T = 1e-9 agree; what cannot be normalised is refused."""
    X, y, _ = problem(P=8, N0=20)
    net = FullyConnected((5,), "linear")
    zero, tiny = (condition(net, X, y, T).posterior for T in (0.0, 1e-9))
    assert abs(zero.log_evidence - tiny.log_evidence) < 1e-6
    np.testing.assert_allclose(zero.mean, tiny.mean, rtol=1e-6)
    with pytest.raises(np.linalg.LinAlgError, match="no minimum"):
        condition(FullyConnected((3,), "linear"), np.eye(6), np.zeros(6), 0.0)
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        condition(net, np.ones((3, 2)), np.ones(3), 0.0)


@pytest.mark.parametrize(("activation", "widths"), [("linear", (12, 8)), ("erf", (12, 8)), ("erf", (3, 4))])
def test_two_layers_against_quadrature(activation, widths):
    X, y, x = problem(P=5)
    net = FullyConnected(widths, activation)
    fitted = condition(net, X, y, 0.1)

    def integrands(a, b):
        q = np.exp([a, b])
        density, mean, covariance = conditional(activation, X, y, x, q, 0.1)
        density *= np.prod(q * prior_density(q, widths))
        return density * np.array([1.0, q[0], q[1], mean[0], covariance[0, 0] + mean[0] ** 2])

    # trapezoidal rule on a fine grid of its own: exponentially accurate, and the same for all moments
    low, step = -11.0 if min(widths) < 5 else -6.0, 0.15
    grid = np.arange(low, 2.6, step)
    total = step**2 * sum(integrands(a, b) for a in grid for b in grid)
    exact = total[1:] / total[0]
    assert abs(fitted.posterior.log_evidence - np.log(total[0])) < 1e-5
    np.testing.assert_allclose(fitted.posterior.mean, exact[:2], rtol=1e-5)
    law = predictive(fitted, x)
    np.testing.assert_allclose(law.mean[0], exact[2], rtol=1e-5)
    np.testing.assert_allclose(law.variance[0], exact[3] - exact[2] ** 2, rtol=1e-5)


def test_two_layers_against_dblquad():
    X, y, _ = problem(P=2)
    net = FullyConnected((12, 8), "erf")

    def integrand(b, a):
        q = np.exp([a, b])
        K = prior_kernel("erf", X, q) + 0.1 * np.eye(2)
        det = K[0, 0] * K[1, 1] - K[0, 1] ** 2
        square = (y[0] ** 2 * K[1, 1] - 2 * y[0] * y[1] * K[0, 1] + y[1] ** 2 * K[0, 0]) / det
        prior = np.prod(q * prior_density(q, (12, 8)))
        return prior * np.exp(-square / 2) / (2 * np.pi * np.sqrt(det))

    exact = dblquad(integrand, -5, 2, -7, 2, epsabs=1e-9, epsrel=1e-7)[0]
    assert abs(np.exp(condition(net, X, y, 0.1).posterior.log_evidence) / exact - 1) < 1e-6


def test_three_linear_layers_depend_on_the_product_only():
    """Permuting the widths of a linear network changes nothing; with huge upper layers one layer is left."""
    X, y, x = problem(P=5)
    fits = [condition(FullyConnected(widths, "linear"), X, y, 0.1) for widths in ((9, 14, 20), (20, 9, 14))]
    assert abs(fits[0].posterior.log_evidence - fits[1].posterior.log_evidence) < 2e-6
    np.testing.assert_allclose(*(predictive(fitted, x).mean for fitted in fits), rtol=1e-5)
    wide = condition(FullyConnected((6, 10**9, 10**9), "linear"), X, y, 0.1)
    one = condition(FullyConnected((6,), "linear"), X, y, 0.1)
    assert abs(wide.posterior.log_evidence - one.posterior.log_evidence) < 1e-6
    np.testing.assert_allclose(predictive(wide, x).variance, predictive(one, x).variance, rtol=1e-5)


def test_joint_law_of_two_layers_agrees_with_its_marginals():
    X, y, x = problem(P=5)
    fitted = condition(FullyConnected((9, 9), "relu", bias_precision=2.0), X, y, 0.1, "wishart")
    joint, marginal = predictive(fitted, x, joint=True, noise=True), predictive(fitted, x, noise=True)
    np.testing.assert_allclose(np.diag(joint.covariance), marginal.variance, rtol=1e-10)
    np.testing.assert_allclose(joint.quantile(0.9), marginal.quantile(0.9), rtol=1e-10)


@pytest.mark.long
def test_linear_networks_of_two_layers_have_the_mixture_as_prior():
    """Characteristic function and fourth moment of outputs of real networks; exact at every width."""
    X, _, _ = problem(P=3, queries=1)
    draws = 300_000
    rng = np.random.default_rng(1)
    h = X @ rng.normal(size=(draws, 5, 3)) / np.sqrt(5)
    h = h @ rng.normal(size=(draws, 3, 2)) / np.sqrt(3)
    f = (h @ rng.normal(size=(draws, 2, 1)))[..., 0] / np.sqrt(2)
    s = np.array([0.5, -0.3, 0.8])
    variance = s @ prior_kernel("linear", X, [1, 1]) @ s

    def average(g):
        def outer(a):
            return integral(lambda b: g(a * b) * gamma.pdf(a, 1.5, scale=2 / 3) * gamma.pdf(b, 1.0), points=[0.1, 1.0])

        return quad(outer, 0, 30, points=[0.1, 1.0], epsrel=1e-7, limit=200)[0]

    for sample, expected in (
        (np.cos(f @ s), average(lambda q: np.exp(-q * variance / 2))),
        ((f @ s) ** 2, variance),
    ):
        assert abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(draws)


def test_prediction_approaches_the_saddle_point_like_one_over_width():
    X, y, x = problem(P=8)
    gaps = []
    for N in (1500, 15_000):
        net = FullyConnected((N,), "erf")
        saddle = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y).predict(x)
        gaps.append(np.abs(predictive(condition(net, X, y, 0.1), x).mean - saddle).max())
    assert gaps[0] < 1e-3
    assert 9 < gaps[0] / gaps[1] < 11


@pytest.mark.parametrize("widths", [(7, 5), (30, 20)])
def test_importance_sampling_and_lattice_agree(monkeypatch, widths):
    """Evidence, means and predictions as deep networks have them, within four of their standard errors."""
    X, y, x = problem(P=6)
    net = FullyConnected(widths, "erf")
    exact = condition(net, X, y, 0.2)
    monkeypatch.setattr(deep, "LATTICE_DEPTH", 1)
    drawn = condition(net, X, y, 0.2)
    nodes, error = drawn.posterior.nodes, drawn.posterior.error
    assert len(nodes) <= 4 * importance.MOST
    assert 0 < error < importance.ACCURACY
    np.testing.assert_array_less(np.abs(drawn.posterior.mean / exact.posterior.mean - 1), 4 * error)
    assert abs(drawn.posterior.log_evidence - exact.posterior.log_evidence) < 4 * error
    levels = np.array([0.1, 0.5, 0.9])
    below = np.einsum("n,nlk->lk", drawn.posterior.weights, nodes[..., None] < exact.posterior.quantile(levels))
    np.testing.assert_allclose(below, np.broadcast_to(levels, below.shape), atol=0.02)  # quantiles are good to 0.01
    laws = [predictive(fitted, x) for fitted in (exact, drawn)]
    np.testing.assert_allclose(laws[0].mean, laws[1].mean, atol=4 * error * laws[0].std.max())


def test_four_layers_do_not_depend_on_the_seed():
    """With very wide upper layers one layer is left, whose evidence is a quadrature; at any seed."""
    X, y, x = problem(P=5)
    one = condition(FullyConnected((6,), "linear"), X, y, 0.1)
    net = FullyConnected((6, 10**9, 10**9, 10**9), "linear")
    for seed in (0, 1):
        deep_one = condition(net, X, y, 0.1, seed=seed)
        error = deep_one.posterior.error
        assert error < importance.ACCURACY
        assert abs(deep_one.posterior.log_evidence - one.posterior.log_evidence) < 4 * error + 1e-6
        np.testing.assert_allclose(deep_one.posterior.mean, [*one.posterior.mean, 1, 1, 1], rtol=4 * error)
        np.testing.assert_allclose(predictive(deep_one, x).std, predictive(one, x).std, rtol=4 * error)


def test_quadratures_that_do_not_converge_warn(monkeypatch):
    X, y, _ = problem(P=3)
    monkeypatch.setattr(trapezoid, "MAX_NODES", 8)
    with pytest.warns(ConvergenceWarning, match="order parameter did not converge"):
        condition(FullyConnected((6,), "linear"), X, y, 0.2)
    monkeypatch.setattr(lattice, "MAX_NODES", 30)
    with pytest.warns(ConvergenceWarning, match="more than 30 nodes|did not converge"):
        condition(FullyConnected((6, 6), "linear"), X, y, 0.2)
    monkeypatch.setattr(deep, "LATTICE_DEPTH", 1)
    monkeypatch.setattr(importance, "MOST", 128)
    with pytest.warns(ConvergenceWarning, match="known to a relative"):
        condition(FullyConnected((2, 2), "linear"), X, y, 0.2)


def test_summaries_of_the_order_parameters():
    nodes = np.exp(np.linspace(-2, 2, 2001))[:, None]
    weights = gamma.pdf(nodes[:, 0], 10, scale=0.1) * nodes[:, 0]
    posterior = OrderParameterPosterior(nodes, weights / weights.sum(), 0.0, 0.0)
    np.testing.assert_allclose(posterior.quantile([0.05, 0.5]), [gamma.ppf([0.05, 0.5], 10, scale=0.1)], rtol=1e-3)
    assert posterior.quantile(0.5).shape == (1,)
    with pytest.raises(ValueError, match="between 0 and 1"):
        posterior.quantile(-0.1)
