"""Finite networks beside a trend and with known noise: quadrature over scales, each by dense universal kriging."""

import numpy as np
import pytest
from gaussian_averages import erf_kernel
from regression_data import basis
from scipy.optimize import approx_fprime, brentq
from scipy.special import logsumexp
from scipy.stats import gamma

import stpbnn
from stpbnn import Convolutional, FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor

RNG = np.random.default_rng(3)
P, T = 9, 0.2
X, NEW = RNG.normal(size=(P, 2)), RNG.normal(size=(3, 2))
Y = 3 + X @ [1.0, -2.0] + X[:, 0] ** 2 + 0.3 * RNG.normal(size=P)
VARIANCES = RNG.uniform(0.05, 0.6, size=P)
ERF = FullyConnected((5,), "erf", bias_precision=2.0)
RELU = FullyConnected((5,), "relu", bias_precision=2.0)
DEEP = FullyConnected((4, 6), "erf", bias_precision=2.0)
SETTINGS = [("constant", T), ("linear", VARIANCES), ("zero", VARIANCES)]


def kriging(K, k, k0, noise, trend, y):
    """Mean and covariance of f at new points, and the restricted log likelihood, in plain algebra."""
    H, h = basis(X, trend), basis(NEW, trend)
    inverse = np.linalg.inv(K + np.diag(np.broadcast_to(noise, len(K))))
    G = H.T @ inverse @ H
    beta = np.linalg.solve(G, H.T @ inverse @ y)
    rest, R = y - H @ beta, h - k @ inverse @ H
    covariance = k0 - k @ inverse @ k.T + R @ np.linalg.solve(G, R.T)
    log_det = -np.linalg.slogdet(inverse)[1] + np.linalg.slogdet(G)[1] - np.linalg.slogdet(H.T @ H)[1]
    value = -(log_det + rest @ inverse @ rest + (len(y) - H.shape[1]) * np.log(2 * np.pi)) / 2
    return k @ inverse @ rest + h @ beta, covariance, value


def blocks(*scales):
    """The renormalised kernel of erf layers between training points, new ones with these, and among them."""
    Z = np.vstack([X, NEW])
    K = Z @ Z.T / 2 + 0.5
    for scale in scales:
        K = scale * erf_kernel(K, np.diag(K), np.diag(K)) + 0.5
    return K[:P, :P], K[P:, :P], K[P:, P:]


def mixture(log_weights, laws):
    """Moments of a mixture of Gaussian laws, and the logarithm of the sum of its weights."""
    means, covariances = (np.array([law[i] for law in laws]) for i in (0, 1))
    log_weights = log_weights + np.array([law[2] for law in laws])
    w = np.exp(log_weights - logsumexp(log_weights))
    mean = w @ means
    covariance = np.tensordot(w, covariances, 1) + np.einsum("n,ni,nj->ij", w, means - mean, means - mean)
    return mean, covariance, logsumexp(log_weights)


@pytest.mark.parametrize(("trend", "noise"), SETTINGS)
def test_one_layer_is_the_mixture_over_its_scale(trend, noise):
    u = np.linspace(np.log(1e-3), np.log(60), 1500)
    laws = [kriging(*blocks(r), noise, trend, Y) for r in np.exp(u)]
    prior = gamma(2.5, scale=1 / 2.5).logpdf(np.exp(u)) + u + np.log(u[1] - u[0])
    mean, covariance, log_evidence = mixture(prior, laws)
    model = FiniteWidthRegressor(ERF, temperature=noise, trend=trend).fit(X, Y)
    assert model.log_marginal_likelihood_ == pytest.approx(log_evidence, abs=1e-6)
    found = model.predict(NEW, return_cov=True)
    np.testing.assert_allclose(found[0], mean, rtol=1e-6)
    np.testing.assert_allclose(found[1], covariance, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(model.predict(NEW, return_std=True)[1], np.sqrt(np.diag(covariance)), rtol=1e-6)

    def action(u):
        r = np.exp(u)
        return 5 * (r - u) - 2 * kriging(*blocks(r), noise, trend, Y)[2]

    slope = lambda u: (action(u + 1e-5) - action(u - 1e-5)) / 2e-5  # noqa: E731
    saddle = ProportionalLimitRegressor(ERF, temperature=noise, trend=trend).fit(X, Y)
    assert saddle.order_parameters_[0] == pytest.approx(np.exp(brentq(slope, -3, 4)), rel=1e-6)
    law = kriging(*blocks(saddle.order_parameters_[0]), noise, trend, Y)
    found = saddle.predict(NEW, return_cov=True)
    np.testing.assert_allclose(found[0], law[0], rtol=1e-8)
    np.testing.assert_allclose(found[1], law[1], rtol=1e-7, atol=1e-10)
    here = float(np.log(saddle.order_parameters_[0]))
    bend = (slope(here + 1e-3) - slope(here - 1e-3)) / 2e-3
    fluctuation = -5 * (np.exp(here) - 1 - here) / 2
    assert saddle.log_marginal_likelihood_ == pytest.approx(law[2] + fluctuation + np.log(5 / bend) / 2, abs=1e-5)


def test_features_with_a_mean_are_the_mixture_over_scale_and_direction():
    """Relu units of five readout weights: their length, and the part of it along the mean of the features."""
    Z = np.vstack([X, NEW])
    C = Z @ Z.T / 2 + 0.5
    size = np.sqrt(np.outer(np.diag(C), np.diag(C)))
    cosine, m = np.clip(C / size, -1, 1), np.sqrt(np.diag(C) / (2 * np.pi))
    K = size / (2 * np.pi) * (cosine * (np.pi - np.arccos(cosine)) + np.sqrt(1 - cosine**2)) - np.outer(m, m)
    u, s = np.linspace(-6, 4, 36), np.linspace(-4, 4, 28)
    laws, log_weights = [], []
    for r, t in [(np.exp(a), np.tanh(b)) for a in u for b in s]:
        A, amplitude = r * K + 0.5, np.sqrt(5 * r) * t
        mean, *rest = kriging(A[:P, :P], A[P:, :P], A[P:, P:], VARIANCES, "constant", Y - amplitude * m[:P])
        laws.append((mean + amplitude * m[P:], *rest))  # p(t) is 3/4 (1 − t²), and dt is (1 − t²) ds
        log_weights.append(gamma(2.5, scale=1 / 2.5).logpdf(r) + np.log(r) + np.log(0.75) + 2 * np.log1p(-(t**2)))
    steps = np.log((u[1] - u[0]) * (s[1] - s[0]))
    mean, covariance, log_evidence = mixture(np.array(log_weights) + steps, laws)
    model = FiniteWidthRegressor(RELU, temperature=VARIANCES, trend="constant").fit(X, Y)
    found = model.predict(NEW, return_cov=True)
    assert model.log_marginal_likelihood_ == pytest.approx(log_evidence, abs=1e-5)
    np.testing.assert_allclose(found[0], mean, rtol=1e-5)
    np.testing.assert_allclose(found[1], covariance, rtol=1e-4, atol=1e-7)
    rest, left = np.arange(P) != 4, model.leave_one_out()
    refit = FiniteWidthRegressor(RELU, temperature=VARIANCES[rest], trend="constant").fit(X[rest], Y[rest])
    law = refit.predictive(X[[4]])
    assert left.mean[4] == pytest.approx(law.mean[0], rel=1e-5)
    assert left.variance[4] == pytest.approx(law.variance[0] + VARIANCES[4], rel=1e-5)


@pytest.mark.parametrize(("trend", "noise"), SETTINGS[1:2])
def test_two_layers_are_the_mixture_over_their_scales(trend, noise):
    u = np.linspace(-3.5, 2.5, 30)
    pairs = [(a, b) for a in u for b in u]
    first, second = np.transpose(pairs)
    prior = gamma(2, scale=1 / 2).logpdf(np.exp(first)) + first + gamma(3, scale=1 / 3).logpdf(np.exp(second)) + second
    laws = [kriging(*blocks(*np.exp(pair)), noise, trend, Y) for pair in pairs]
    mean, covariance, log_evidence = mixture(prior + 2 * np.log(u[1] - u[0]), laws)
    model = FiniteWidthRegressor(DEEP, temperature=noise, trend=trend).fit(X, Y)
    spread = np.sqrt(np.diag(covariance))
    assert model.log_marginal_likelihood_ == pytest.approx(log_evidence, abs=5e-3)
    np.testing.assert_allclose(model.predict(NEW), mean, atol=1e-2 * spread.min())
    np.testing.assert_allclose(model.predict(NEW, return_std=True)[1], spread, rtol=1e-2)
    saddle = ProportionalLimitRegressor(DEEP, temperature=noise, trend=trend).fit(X, Y)

    def action(u):
        widths = np.array(DEEP.widths)
        return widths @ (np.exp(u) - u) - 2 * kriging(*blocks(*np.exp(u)), noise, trend, Y)[2]

    here = np.log(saddle.order_parameters_)
    slopes = [(action(here + h) - action(here - h)) / 2e-5 for h in 1e-5 * np.eye(2)]
    np.testing.assert_allclose(slopes, 0, atol=1e-5)
    np.testing.assert_allclose(saddle.predict(NEW), kriging(*blocks(*saddle.order_parameters_), noise, trend, Y)[0])
    np.testing.assert_allclose(
        saddle.predict(NEW, return_cov=True)[1],
        kriging(*blocks(*saddle.order_parameters_), noise, trend, Y)[1],
        rtol=1e-7,
        atol=1e-10,
    )


def finite(network, **settings):
    return FiniteWidthRegressor(network, random_state=0, **settings)


def proportional(network, **settings):
    return ProportionalLimitRegressor(network, **settings)


@pytest.mark.parametrize("theory", [finite, proportional])
@pytest.mark.parametrize("network", [ERF, RELU, FullyConnected((5,), "erf", outputs=2, bias_precision=2.0)])
def test_what_a_trend_takes_up_does_not_matter(theory, network):
    """Targets moved by the trend move the predictions by it, and nothing else; twice the weight is half of T."""
    sampled = theory is finite and network.outputs > 1  # by importance, known to a few parts in a thousand
    y = np.column_stack([Y, Y[::-1]])[:, : network.outputs].reshape(P, *[network.outputs] * (network.outputs > 1))
    one, two = np.array([1.0, -2.0])[: network.outputs], np.array([3.0, 0.5])[: network.outputs]
    moved = y + (np.outer(X[:, 0], one) + two).reshape(y.shape)
    model, other = (theory(network, temperature=T, trend="linear").fit(X, target) for target in (y, moved))
    near = {"rel": 1e-6, "abs": 0.02 * sampled}
    assert other.log_marginal_likelihood_ == pytest.approx(model.log_marginal_likelihood_, **near)
    plain, law = model.predictive(NEW), other.predictive(NEW)
    shift, size = (np.outer(NEW[:, 0], one) + two).reshape(law.mean.shape), 0.05 if sampled else 1e-5
    np.testing.assert_allclose(law.mean - plain.mean, shift, rtol=1e-5, atol=size * plain.std.min())
    np.testing.assert_allclose(law.variance, plain.variance, rtol=size)
    halves = theory(network, temperature=2 * T, trend="linear").fit(X, y, sample_weight=np.full(P, 2.0))
    np.testing.assert_allclose(halves.predict(NEW), plain.mean, rtol=1e-5, atol=size * plain.std.min())
    assert halves.log_marginal_likelihood_ == pytest.approx(model.log_marginal_likelihood_, **near)
    twice = np.vstack([X, X[:2]]), np.concatenate([y, y[:2]])
    single, repeated = theory(network, temperature=T), theory(network, temperature=T)
    single.fit(X, y, sample_weight=1 + (np.arange(P) < 2))
    np.testing.assert_allclose(single.predict(NEW), repeated.fit(*twice).predict(NEW), atol=2 * size * plain.std.min())


@pytest.mark.parametrize(
    ("theory", "network"),
    [
        (finite, ERF),
        (proportional, ERF),
        *(pytest.param(kind, net, marks=pytest.mark.long) for kind in (finite, proportional) for net in (RELU, DEEP)),
        pytest.param(proportional, FullyConnected((5,), "linear", outputs=2), marks=pytest.mark.long),
    ],
)
def test_gradients_are_those_of_differences(theory, network):
    y = Y if network.outputs == 1 else np.column_stack([Y, Y[::-1]])
    weights = RNG.uniform(0.5, 2, size=P)
    model = theory(network, temperature=T, trend="constant").fit(X, y, sample_weight=weights)
    theta = model._hyperparameters.theta
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    differences = approx_fprime(theta, model.log_marginal_likelihood, 1e-5)
    np.testing.assert_allclose(gradient, differences, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("theory", [finite, proportional])
@pytest.mark.parametrize("network", [ERF, DEEP])
def test_leave_one_out_is_that_of_refits_at_the_scales(theory, network, tmp_path):
    """Of one Gaussian process by refits; of the mixture the densities average to those of the evidence."""
    model = theory(network, temperature=VARIANCES, trend="constant").fit(X, Y)
    law = model.leave_one_out()
    if theory is proportional:
        K = blocks(*model.order_parameters_)[0]
        for i in (0, 5):
            rest = np.arange(P) != i
            A = K + np.diag(VARIANCES)
            inverse = np.linalg.inv(A[np.ix_(rest, rest)])
            beta = (inverse @ Y[rest]).sum() / inverse.sum()
            pull = A[i, rest] @ inverse
            gap = 1 - pull.sum()
            assert law.mean[i] == pytest.approx(pull @ (Y[rest] - beta) + beta, rel=1e-7)
            assert law.variance[i] == pytest.approx(A[i, i] - pull @ A[rest, i] + gap**2 / inverse.sum(), rel=1e-7)
    else:
        rest = np.arange(P) != 4
        refit = theory(network, temperature=VARIANCES[rest], trend="constant").fit(X[rest], Y[rest])
        found = refit.predictive(X[[4]])
        assert law.mean[4] == pytest.approx(found.mean[0], rel=1e-3)
        assert law.variance[4] == pytest.approx(found.variance[0] + VARIANCES[4], rel=1e-2)
    stpbnn.save(model, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    np.testing.assert_allclose(again.predict(NEW, return_std=True), model.predict(NEW, return_std=True), rtol=1e-9)
    assert again.log_marginal_likelihood_ == pytest.approx(model.log_marginal_likelihood_, rel=1e-12)


@pytest.mark.parametrize("trend", ["zero", "linear"])
def test_the_hidden_kernel_knows_of_trend_and_noise(trend):
    """The posterior mean of K in plain algebra: the covariance of what the targets say, less the prior's."""
    K, H, net = blocks(1.0)[0] - 0.5, basis(X, trend), FullyConnected((5,), "erf", bias_precision=2.0)
    model = NNGPRegressor(net, temperature=VARIANCES, trend=trend).fit(X, Y)
    inverse = np.linalg.inv(K + 0.5 + np.diag(VARIANCES))
    R = inverse - inverse @ H @ np.linalg.solve(H.T @ inverse @ H, H.T @ inverse)
    alpha = R @ Y
    expected = K + K @ (np.outer(alpha, alpha) - R) @ K / 5
    np.testing.assert_allclose(model.posterior_kernel(), expected, rtol=1e-8)
    saddle = ProportionalLimitRegressor(net, temperature=VARIANCES, trend=trend).fit(X, Y)
    q = saddle.order_parameters_[0]
    inverse = np.linalg.inv(q * K + 0.5 + np.diag(VARIANCES))
    R = inverse - inverse @ H @ np.linalg.solve(H.T @ inverse @ H, H.T @ inverse)
    expected = K + q * K @ (np.outer(R @ Y, R @ Y) - R) @ K / 5
    np.testing.assert_allclose(saddle.posterior_kernel(), expected, rtol=1e-8)
    wide = FullyConnected((10**7,), "erf", bias_precision=2.0)
    moved = FiniteWidthRegressor(wide, temperature=VARIANCES, trend=trend).fit(X, Y).posterior_kernel() - K
    np.testing.assert_allclose(1e7 * moved, 5 * (model.posterior_kernel() - K), rtol=1e-3, atol=1e-3)


def test_a_search_learns_beside_a_trend():
    """Where the search ends the evidence is higher than around, and the trend is no part of what is learned."""
    rng = np.random.default_rng(0)
    inputs = np.sort(rng.uniform(-2, 2, size=(20, 1)), axis=0)
    y = 5 + 3 * inputs[:, 0] + np.sin(3 * inputs[:, 0]) + 0.1 * rng.normal(size=20)
    settings = {"temperature": T, "trend": "linear", "optimizer": "fmin_l_bfgs_b"}
    model = ProportionalLimitRegressor(FullyConnected((5,), "erf"), **settings).fit(inputs, y)
    assert model.converged_
    theta, highest = model._hyperparameters.theta, model.log_marginal_likelihood_
    around = [model.log_marginal_likelihood(theta + step) for step in (*np.eye(2) / 10, *-np.eye(2) / 10)]
    assert max(around) < highest
    assert np.sqrt(np.mean((model.predict(inputs) - y) ** 2)) < 0.2


@pytest.mark.parametrize(
    ("model", "y", "remedy"),
    [
        (FullyConnected((5, 5), "erf", outputs=2), np.column_stack([Y, Y]), "NNGPRegressor, or closure='global'"),
        (Convolutional((5,), (1, 1), image=(1, 2, 1)), Y, "NNGPRegressor"),
    ],
)
def test_networks_of_which_it_is_not_derived_are_refused(model, y, remedy):
    told = f"^trend, temperature, sample_weight: got a trend or noise that differs .*; take {remedy}$"
    with pytest.raises(ValueError, match=told):
        ProportionalLimitRegressor(model, temperature=T, trend="constant").fit(X, y)
    with pytest.raises(ValueError, match=r"solver: got 'iterative' with trend='linear'"):
        ProportionalLimitRegressor(ERF, temperature=T, trend="linear", solver="iterative").fit(X, Y)
