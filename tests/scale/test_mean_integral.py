"""The mixture over order parameter and amplitude of the mean, against scipy and Monte Carlo over Gaussian features."""

from functools import partial

import mpmath
import numpy as np
import pytest
from posed import condition, predictive
from scipy.stats import chi2, norm
from sklearn.exceptions import ConvergenceWarning

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.scale import Gamma, mean_integral
from stpbnn.scale.mean_integral import mean_moments, mean_posterior
from stpbnn.scale.mean_kept import stationary_points
from stpbnn.scale.minima import minima_of_values
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.trapezoid import scale_posterior


def relu_features(Z, precision=1.0):
    """K̃ and m of one relu layer, written out."""
    C = Z @ Z.T / Z.shape[1]
    a = np.diag(C)
    u = np.clip(C / np.sqrt(np.outer(a, a)), -1, 1)
    K = np.sqrt(np.outer(a, a)) / (2 * np.pi) * (u * (np.pi - np.arccos(u)) + np.sqrt(1 - u * u)) / precision
    m = np.sqrt(a / (2 * np.pi * precision))
    return K - np.outer(m, m), m


def data(P=3, N0=4, queries=2, seed=3, offset=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N0)), offset + rng.normal(size=P), rng.normal(size=(queries, N0))


@pytest.mark.parametrize("bias", [0.0, 0.5])
@pytest.mark.parametrize("width", [2, 3, 9, 40])
def test_evidence_and_prediction_against_gauss_legendre(width, bias):
    """The integral over a and g = w² as it stands in THEORY (3.3), by dense algebra at every node of another rule."""
    X, y, x = data(queries=1)
    T = 0.3
    K, m = relu_features(np.vstack([X, x]))
    resolvent = Resolvent.spectral(K[:3, :3], np.stack([y, m[:3]], axis=1), T, bias)
    nodes, weights = np.polynomial.legendre.leggauss(240)
    top = (np.sqrt(width) + 9) / 2
    a, w = (grid.ravel() for grid in np.meshgrid(9 * nodes, top * (nodes + 1)))
    weights = np.outer(top * weights, 9 * weights).ravel()  # in w, then in a
    A = ((a * a + w * w) / width)[:, None, None] * K + bias
    noisy = A[:, :3, :3] + T * np.eye(3)
    residual = y - a[:, None] * m[:3]
    solved = np.linalg.solve(noisy, residual[:, :, None])[:, :, 0]
    density = np.exp(-np.sum(residual * solved, axis=1) / 2) / np.sqrt(np.linalg.det(2 * np.pi * noisy))
    density *= weights * norm.pdf(a) * chi2.pdf(w * w, width - 1) * 2 * w
    k = A[:, 3, :3]
    f = a * m[3] + np.sum(k * solved, axis=1)
    second = A[:, 3, 3] - np.sum(k * np.linalg.solve(noisy, k[:, :, None])[:, :, 0], axis=1) + f**2
    evidence = density.sum()

    found = mean_posterior(resolvent, width)
    assert found.error < 1e-10
    assert abs(np.exp(found.log_evidence) / evidence - 1) < 1e-9
    np.testing.assert_allclose(found.mean, density @ ((a * a + w * w) / width) / evidence, rtol=1e-9)
    moments = mean_moments(resolvent, found, K[3:, :3] @ resolvent.eigenvectors, np.diag(K)[3:], m[3:])
    np.testing.assert_allclose(found.weights @ moments.means[:, 0], density @ f / evidence, rtol=1e-9)
    law = moments.variances[:, 0] + moments.means[:, 0] ** 2
    np.testing.assert_allclose(found.weights @ law, density @ second / evidence, rtol=1e-9)


@pytest.mark.parametrize("width", [1, 3, 10])
def test_posterior_against_real_gaussian_features(width):
    """Importance sampling: features φ ~ N(m, K̃) of a finite number of units, the readout integrated given them."""
    X, y, x = data()
    T, precision, draws = 0.3, 2.0, 400_000
    K, m = relu_features(np.vstack([X, x]), precision)
    rng = np.random.default_rng(width)
    root = np.linalg.cholesky(K + 1e-14 * np.eye(5))
    features = m[:, None] + root @ rng.normal(size=(draws, 5, width))
    kernel = features @ features.transpose(0, 2, 1) / width
    A = kernel[:, :3, :3] + T * np.eye(3)
    solved = np.linalg.solve(A, np.concatenate([np.broadcast_to(y[:, None], (draws, 3, 1)), kernel[:, :3, 3:]], axis=2))
    weight = np.exp(-(solved[:, :, 0] @ y) / 2) / np.sqrt(np.linalg.det(2 * np.pi * A))
    f = np.einsum("sqp,sp->sq", kernel[:, 3:, :3], solved[:, :, 0])
    variance = np.einsum("sqq->sq", kernel[:, 3:, 3:] - kernel[:, 3:, :3] @ solved[:, :, 1:])
    net = FullyConnected((width,), "relu", weight_precision=(1.0, precision))
    model = FiniteWidthRegressor(net, temperature=T).fit(X, y)
    assert model.converged_
    error = weight.std() / np.sqrt(draws) / weight.mean()
    assert error < 0.01
    assert abs(model.log_marginal_likelihood_ - np.log(weight.mean())) < 4 * error
    law = model.predictive(x)
    second = law.variance + law.mean**2
    for expected, sample in ((law.mean, f), (second, variance + f**2)):
        average = (weight @ sample) / weight.sum()
        error = np.sqrt(weight**2 @ (sample - average) ** 2) / weight.sum()
        assert np.all(np.abs(expected - average) < 4 * error)


@pytest.mark.parametrize("width", [3, 10])
def test_prior_has_the_characteristic_function_of_gaussian_features(width):
    """Data that say nothing leave the prior: E exp(i s·f) over the nodes against networks of Gaussian features."""
    _, _, x = data(queries=3)
    K, m = relu_features(x)
    fitted = condition(FullyConnected((width,), "relu"), x, np.zeros(3), 1e12, keep_mean=True)
    law = predictive(fitted, x, joint=True)
    draws = 1_000_000
    v = np.random.default_rng(width).normal(size=(draws, width))  # given v, f is N(m Σv/√N, K̃ |v|²/N)
    for s in (np.array([1.0, -0.5, 0.3]), np.array([2.0, 1.5, 2.5])):
        exponent = 1j * (law.means @ s) - np.einsum("i,nij,j->n", s, law.covariances, s) / 2
        phase = v.sum(axis=1) * (s @ m) / np.sqrt(width)
        sample = np.cos(phase) * np.exp(-(v**2).sum(axis=1) * (s @ K @ s) / (2 * width))
        found = law.weights @ np.exp(exponent)
        assert abs(found.imag) < 1e-10
        assert abs(found.real - sample.mean()) < 4 * sample.std() / np.sqrt(draws)
    np.testing.assert_allclose(law.covariance, K + np.outer(m, m), rtol=1e-9)
    np.testing.assert_allclose(law.mean, 0, atol=1e-9)


def test_one_unit_is_a_sum_over_two_signs():
    X, y, _ = data()
    K, m = relu_features(X)

    v = np.linspace(-10, 10, 20_001)
    A, rest = (v * v)[:, None, None] * K + 0.2 * np.eye(3), y - v[:, None] * m
    square = np.einsum("vi,vi->v", rest, np.linalg.solve(A, rest[:, :, None])[:, :, 0])
    density = np.exp(-square / 2) / np.sqrt(np.linalg.det(2 * np.pi * A)) * norm.pdf(v)
    exact = np.sum(density) * (v[1] - v[0])
    found = condition(FullyConnected((1,), "relu"), X, y, 0.2, keep_mean=True).posterior
    assert abs(np.exp(found.log_evidence) / exact - 1) < 1e-9
    np.testing.assert_allclose(found.amplitudes**2, found.nodes[:, 0], rtol=1e-12)


def test_its_saddle_in_the_scale_is_that_of_the_action():
    """Copies of one problem, as many as there are units: both actions are extensive, and their minima approach."""
    X, y, _ = data(P=6)
    K, m = relu_features(X)
    gaps = []
    for copies in (20, 80):
        tilde, mean_, targets = np.kron(np.eye(copies), K), np.tile(m, copies), np.tile(y, copies)
        resolvent, width = Resolvent.spectral(tilde, np.stack([targets, mean_], axis=1), 0.1), 5 * copies
        point = stationary_points(resolvent, width)[0]
        ends = mean_integral.mean_bracket(resolvent, width)
        lowest = minima_of_values(partial(mean_integral.mean_action, resolvent, width), *ends)[0]
        gaps.append(abs(np.exp(lowest) / point.order_parameters[0] - 1))
        assert abs(point.order_parameters[0] - 1) > 0.04
        assert abs(mean_posterior(resolvent, width).mean[0] / point.order_parameters[0] - 1) < 0.1 / copies
    assert gaps[0] < 2e-3
    assert 12 < gaps[0] / gaps[1] < 17  # like 1/N²


def test_wide_networks():
    """The Gaussian process at infinite width, and the proportional limit with its mean on the way."""
    X, y, x = data(P=8)
    gaps = []
    for N in (1000, 10_000):
        net = FullyConnected((N,), "relu", bias_precision=2.0)
        finite = FiniteWidthRegressor(net, temperature=0.1).fit(X, y)
        saddle = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y)
        limit = NNGPRegressor(net, temperature=0.1).fit(X, y)
        gaps.append([np.abs(finite.predict(x) - other.predict(x)).max() for other in (saddle, limit)])
        assert abs(finite.log_marginal_likelihood_ - saddle.log_marginal_likelihood_) < 10 / N
    ratio = np.divide(*gaps)
    assert np.all((ratio > 8.5) & (ratio < 11.5))


def test_activations_without_a_mean_agree_with_the_mixture_of_one_scale():
    X, y, x = data(P=8)
    K, _ = relu_features(np.vstack([X, x]))
    resolvent = Resolvent.spectral(K[:8, :8], np.stack([y, np.zeros(8)], axis=1), 0.1, 0.5)
    two = mean_posterior(resolvent, 6)
    one = scale_posterior(resolvent.with_columns(resolvent.columns[:, :1]), Gamma(6.0))
    assert abs(two.log_evidence - one.log_evidence) < 1e-10
    np.testing.assert_allclose(two.mean, one.mean, rtol=1e-9)
    np.testing.assert_allclose(two.quantile(0.5), one.quantile(0.5), rtol=1e-2)


@pytest.mark.parametrize("activation", ["relu", "square", "gelu"])
@pytest.mark.parametrize(
    ("width", "temperature", "size"), [(2, 0.1, 1), (1, 1e-8, 1e-3), (10**5, 1e-4, 30), (9, 1, 1e3)]
)
def test_extreme_settings_converge(activation, width, temperature, size):
    X, y, x = data(P=12)
    model = FiniteWidthRegressor(FullyConnected((width,), activation), temperature=temperature).fit(X, size * y)
    assert model.order_parameter_posterior_.error < 1e-9
    assert np.isfinite(model.log_marginal_likelihood_)
    assert all(np.isfinite(array).all() for array in model.predict(x, return_std=True))


@pytest.mark.parametrize("N", [2, 10**5, 10**7, 10**9])
def test_law_of_the_direction_keeps_its_digits_at_any_width(N):
    """log p(s) of t = tanh s, p(t) ∝ (1 − t²)^((N − 3)/2), against mpmath: targets that say nothing."""
    zero, s = np.zeros(1), np.array([[0.0, 1.0, 3.0]]) / np.sqrt(N)
    found = mean_integral._exponent(N, mean_integral.Parabola(zero, zero, zero, zero), s)
    with mpmath.workdps(50):
        half = mpmath.mpf(N) / 2
        constant = mpmath.loggamma(half) - mpmath.loggamma(half - 0.5) - mpmath.log(mpmath.pi) / 2
        exact = [float(constant - (N - 1) * mpmath.log(mpmath.cosh(float(x)))) for x in s[0]]
    np.testing.assert_allclose(found[0], exact, rtol=1e-13)


def test_means_dropped_and_refused():
    X, y, x = data(P=8)
    net = FullyConnected((9,), "relu")
    kept, dropped = (FiniteWidthRegressor(net, temperature=0.1, mean=mean).fit(X, y) for mean in ("auto", "drop"))
    assert kept.order_parameter_posterior_.amplitudes is not None
    assert dropped.order_parameter_posterior_.amplitudes is None
    assert np.abs(kept.predict(x) - dropped.predict(x)).max() > 1e-3
    assert dropped.posterior_kernel().shape == (8, 8)
    with pytest.raises(ValueError, match="without a mean of its own"):
        kept.posterior_kernel()
    with pytest.raises(ValueError, match="got 'keep' for a FullyConnected of 2 hidden"):
        FiniteWidthRegressor(FullyConnected((5, 5), "relu"), mean="keep").fit(X, y)
    with pytest.raises(ValueError, match=r"got 'keep' for a FullyConnected of 1 hidden layer and 2 outputs"):
        ProportionalLimitRegressor(FullyConnected((5,), "relu", 2), mean="keep").fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="mean: got 'kept'"):
        FiniteWidthRegressor(net, mean="kept").fit(X, y)


def test_zero_temperature():
    """T = 0 and T = 1e-9 agree; what cannot be normalised is refused."""
    X, y, x = data(P=6, N0=20)
    net = FullyConnected((5,), "relu")
    zero, tiny = (FiniteWidthRegressor(net, temperature=T).fit(X, y) for T in (0.0, 1e-9))
    assert abs(zero.log_marginal_likelihood_ - tiny.log_marginal_likelihood_) < 1e-6
    np.testing.assert_allclose(zero.predict(x), tiny.predict(x), rtol=1e-6)
    with pytest.raises(ValueError, match="targets that are all zero at temperature 0"):
        FiniteWidthRegressor(net, temperature=0).fit(X, 0 * y)


def test_quadratures_that_do_not_converge_warn(monkeypatch):
    X, y, _ = data()
    monkeypatch.setattr(mean_integral, "MAX_INTERVALS", 16)
    with pytest.warns(ConvergenceWarning, match="order parameters did not converge"):
        condition(FullyConnected((2,), "relu"), X, y, 0.1, keep_mean=True)
