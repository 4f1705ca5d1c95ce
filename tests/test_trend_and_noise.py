"""Trends with flat priors and known noise, against brute force: broad Gaussian priors, and the algebra in numpy."""

import numpy as np
import pytest
from regression_data import basis
from scipy.optimize import approx_fprime, minimize
from scipy.stats import multivariate_normal
from sklearn import config_context
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.pipeline import make_pipeline

from stpbnn import FullyConnected, NNGPKernel, NNGPRegressor, StudentTProcessRegressor, load, save
from stpbnn.comparison import predict_theories

RNG = np.random.default_rng(3)
P, T, NU = 10, 0.2, 4.5
X, NEW = RNG.normal(size=(P, 2)), RNG.normal(size=(4, 2))
Y = np.column_stack([3 + X @ [1.0, -2.0], -1 + X[:, 0] ** 2]) + 0.3 * RNG.normal(size=(P, 2))
VARIANCES = RNG.uniform(0.05, 0.6, size=P)
NET = FullyConnected((9,), "erf", bias_precision=2.0)
TRENDS = ["constant", "linear"]


def universal_kriging(kernel, noise, trend, y, X=X, new=NEW):
    """Mean, covariance of f at new points, the restricted log likelihood and its quadratic form (in numpy)."""
    H, h = basis(X, trend), basis(new, trend)
    A = kernel(X) + np.diag(np.broadcast_to(noise, len(X)))
    inverse = np.linalg.inv(A)
    G = H.T @ inverse @ H
    beta = np.linalg.solve(G, H.T @ inverse @ y)
    k = kernel(new, X)
    mean = k @ inverse @ (y - H @ beta) + h @ beta
    R = h - k @ inverse @ H
    covariance = kernel(new) - k @ inverse @ k.T + R @ np.linalg.solve(G, R.T)
    quadratic = (y - H @ beta) @ inverse @ (y - H @ beta)
    log_det = np.linalg.slogdet(A)[1] + np.linalg.slogdet(G)[1] - np.linalg.slogdet(H.T @ H)[1]
    return mean, covariance, log_det, quadratic


def gaussian(log_det, quadratic, n):
    return -(log_det + quadratic + n * np.log(2 * np.pi)) / 2


@pytest.mark.parametrize("noise", [T, VARIANCES], ids=["one", "known"])
@pytest.mark.parametrize("trend", ["zero", *TRENDS])
def test_infinite_width(trend, noise):
    y, kernel = Y[:, 0], NNGPKernel(NET)
    model = NNGPRegressor(NET, temperature=noise, trend=trend).fit(X, y)
    mean, covariance, log_det, quadratic = universal_kriging(kernel, noise, trend, y)
    found = model.predict(NEW, return_cov=True)
    np.testing.assert_allclose(found[0], mean, rtol=1e-8)
    np.testing.assert_allclose(found[1], covariance, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(model.predict(NEW, return_std=True)[1] ** 2, np.diag(covariance), rtol=1e-8)
    np.testing.assert_allclose(model.predict(NEW), mean, rtol=1e-8)
    evidence = gaussian(log_det, quadratic, P - basis(X, trend).shape[1])
    assert model.log_marginal_likelihood_ == pytest.approx(evidence, rel=1e-8)
    law = model.leave_one_out()
    for i in (0, 7):
        rest = np.delete(np.arange(P), i)
        own = noise if np.ndim(noise) == 0 else noise[rest]
        one, spread, *_ = universal_kriging(kernel, own, trend, y[rest], X[rest], X[i : i + 1])
        assert law.mean[i] == pytest.approx(one[0], rel=1e-8)
        assert law.variance[i] == pytest.approx(spread[0, 0] + np.broadcast_to(noise, P)[i], rel=1e-8)


def test_a_broad_prior_of_the_coefficients_is_the_flat_one():
    """The kernel with s²(1 + x·x'), s → ∞, whose error vanishes like 1/s²."""
    y, s = Y[:, 0], 1e3
    A = NNGPKernel(NET)(X) + T * np.eye(P) + s**2 * (1 + X @ X.T)
    k = NNGPKernel(NET)(NEW, X) + s**2 * (1 + NEW @ X.T)
    model = NNGPRegressor(NET, temperature=T, trend="linear").fit(X, y)
    np.testing.assert_allclose(model.predict(NEW), k @ np.linalg.solve(A, y), rtol=1e-4)
    H = basis(X, "linear")
    broad = multivariate_normal(cov=A).logpdf(y) + 3 * np.log(s) + 1.5 * np.log(2 * np.pi)
    broad += np.linalg.slogdet(H.T @ H)[1] / 2
    assert model.log_marginal_likelihood_ == pytest.approx(broad, rel=1e-4)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("noise", [T, VARIANCES], ids=["one", "known"])
@pytest.mark.parametrize("trend", TRENDS)
def test_t_process_with_the_noise_inside(trend, noise, outputs):
    y = Y[:, :outputs]
    settings = {"df": NU, "temperature": noise, "trend": trend, "optimizer": None}
    model = StudentTProcessRegressor(RBF(1.2), **settings).fit(X, y[:, 0] if outputs == 1 else y)
    parts = [universal_kriging(RBF(1.2), noise, trend, z) for z in y.T]
    quadratic, n = sum(part[3] for part in parts), (P - basis(X, trend).shape[1]) * outputs
    spread = (NU - 2 + quadratic) / (NU + n - 2)
    mean, covariance = model.predict(NEW, return_cov=True)
    np.testing.assert_allclose(np.ravel(mean), np.ravel(np.transpose([part[0] for part in parts])), rtol=1e-8)
    np.testing.assert_allclose(covariance.reshape(4, 4, -1)[..., 0], spread * parts[0][1], rtol=1e-7, atol=1e-10)
    std = model.predict(NEW, return_std=True)[1].reshape(4, -1)[:, 0]
    np.testing.assert_allclose(std**2, spread * np.diag(parts[0][1]), rtol=1e-8)
    r = np.exp(np.linspace(-8, 9, 20001))  # of the inverse gamma law of the scale
    density = multivariate_normal(mean=0).logpdf(0) * 0 - (NU - 2) / (2 * r) - (NU / 2 + 1) * np.log(r)
    density = np.exp(density)
    density /= np.trapezoid(density, r)
    given_r = np.exp(sum(gaussian(part[2] + (n // outputs) * np.log(r), part[3] / r, n // outputs) for part in parts))
    assert model.log_marginal_likelihood_ == pytest.approx(np.log(np.trapezoid(density * given_r, r)), rel=1e-5)


@pytest.mark.parametrize("noise", [T, VARIANCES], ids=["one", "known"])
@pytest.mark.parametrize("trend", TRENDS)
def test_t_process_with_the_noise_beside(trend, noise):
    y = Y[:, 0]
    settings = {"df": NU, "temperature": noise, "trend": trend, "optimizer": None, "noise": "gaussian"}
    model = StudentTProcessRegressor(RBF(1.2), **settings).fit(X, y)
    posterior = model.scale_posterior_
    parts = [universal_kriging(ConstantKernel(r) * RBF(1.2), noise, trend, y) for r in posterior.nodes[:, 0]]
    means = np.array([part[0] for part in parts])
    mean = posterior.weights @ means
    np.testing.assert_allclose(model.predict(NEW), mean, rtol=1e-8)
    variances = np.array([np.diag(part[1]) for part in parts]) + (means - mean) ** 2
    np.testing.assert_allclose(model.predictive(NEW).variance, posterior.weights @ variances, rtol=1e-8)
    np.testing.assert_allclose(
        np.diag(model.predict(NEW, return_cov=True)[1]), posterior.weights @ variances, rtol=1e-8
    )
    likelihood = np.array([gaussian(part[2], part[3], P - basis(X, trend).shape[1]) for part in parts])
    prior = -(NU - 2) / (2 * posterior.nodes[:, 0]) - NU / 2 * np.log(posterior.nodes[:, 0])
    ratio = np.log(posterior.weights) - likelihood - prior  # a rule in log r, with equal steps
    bulk = posterior.weights > 1e-6
    np.testing.assert_allclose(ratio[bulk], ratio[bulk].mean(), atol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of the search
@pytest.mark.parametrize(
    "model",
    [
        NNGPRegressor(NET, temperature=T, trend="linear"),
        NNGPRegressor(NET, temperature=VARIANCES, trend="constant"),
        StudentTProcessRegressor(1.5 * RBF(1.2), temperature=T, trend="linear", optimize_temperature=True),
        StudentTProcessRegressor(1.5 * RBF(1.2), temperature=VARIANCES, trend="constant", noise="gaussian"),
    ],
)
def test_gradients_of_the_restricted_likelihood(model):
    model.fit(X, Y[:, 0])
    names = model._hyperparameters.names
    theta = np.linspace(-0.3, 0.4, len(names))
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    np.testing.assert_allclose(
        gradient, approx_fprime(theta, model.log_marginal_likelihood, 1e-6), rtol=2e-4, atol=1e-4
    )
    assert ("temperature" in names) == (np.ndim(model.temperature) == 0)


def test_known_noise_is_that_of_scikit_learn():
    reference = GaussianProcessRegressor(RBF(1.2), alpha=VARIANCES, optimizer=None).fit(X, Y[:, 0])
    model = StudentTProcessRegressor(RBF(1.2), df=1e9, temperature=VARIANCES, optimizer=None).fit(X, Y[:, 0])
    for ours, theirs in zip(model.predict(NEW, return_std=True), reference.predict(NEW, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert model.log_marginal_likelihood_ == pytest.approx(reference.log_marginal_likelihood_value_, rel=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
def test_weights_are_variances_relative_to_the_temperature(outputs):
    weights = np.r_[0.0, RNG.uniform(0.5, 3, size=P - 1)]
    y = Y[:, 0] if outputs == 1 else Y
    net = FullyConnected((9,), "erf", outputs)
    weighted = NNGPRegressor(net, temperature=T).fit(X, y, sample_weight=weights)
    known = NNGPRegressor(net, temperature=T / weights[1:]).fit(X[1:], y[1:])
    for ours, theirs in zip(weighted.predict(NEW, return_std=True), known.predict(NEW, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    assert weighted.log_marginal_likelihood_ == pytest.approx(known.log_marginal_likelihood_, rel=1e-10)
    np.testing.assert_allclose(weighted.predictive(NEW, noise=True).variance - weighted.predictive(NEW).variance, T)


@pytest.mark.parametrize("noise", ["scale", "gaussian"])
def test_weights_of_a_t_process_are_variances_relative_to_the_temperature(noise):
    weights = np.r_[0.0, np.linspace(0.5, 3, P - 1)]
    settings = {"df": NU, "noise": noise, "trend": "constant", "optimizer": None}
    model = StudentTProcessRegressor(RBF(1.2), temperature=T, **settings).fit(X, Y, sample_weight=weights)
    known = StudentTProcessRegressor(RBF(1.2), temperature=T / weights[1:], **settings).fit(X[1:], Y[1:])
    for ours, theirs in zip(model.predict(NEW, return_std=True), known.predict(NEW, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7)
    assert model.log_marginal_likelihood_ == pytest.approx(known.log_marginal_likelihood_, rel=1e-8)
    np.testing.assert_array_equal(model.noise_variances_, 1 / weights[1:])
    assert model.fit(X, Y).noise_variances_ is None


def test_a_temperature_beside_weights_is_learned():
    """The likeliest T and amplitude of a Gaussian process, by SciPy."""
    weights, y, K = 0.5 + RNG.uniform(size=P), Y[:, 1] - Y[:, 1].mean(), RBF(1.2)(X)

    def loss(theta):
        c, t = np.exp(theta)
        return -multivariate_normal(cov=c * K + np.diag(t / weights)).logpdf(y)

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    settings = {"df": 1e10, "noise": "gaussian", "temperature": T, "optimize_temperature": True}
    model = StudentTProcessRegressor(ConstantKernel(1.0) * RBF(1.2, "fixed"), **settings)
    model.fit(X, y, sample_weight=weights)
    assert model.log_marginal_likelihood_ == pytest.approx(-found.fun, rel=1e-6)
    np.testing.assert_allclose([model.kernel_.k1.constant_value, model.temperature_], np.exp(found.x), rtol=1e-3)


def test_weights_reach_a_t_process_through_a_pipeline():
    weights = np.linspace(0.5, 2.0, P)
    model = StudentTProcessRegressor(RBF(1.2, "fixed"), temperature=T, optimizer=None)
    alone = model.fit(X, Y[:, 0], sample_weight=weights).predict(NEW)
    with config_context(enable_metadata_routing=True):
        asks = clone(model).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        through = make_pipeline("passthrough", asks).fit(X, Y[:, 0], sample_weight=weights).predict(NEW)
    np.testing.assert_allclose(through, alone, rtol=1e-12)


def test_weights_that_a_t_process_cannot_take_are_refused():
    for noise in ("student-t", "robust"):
        told = f"sample_weight: got weights with noise='{noise}', expected noise='gaussian' or 'scale'"
        with pytest.raises(ValueError, match=told):
            StudentTProcessRegressor(noise=noise).fit(X, Y[:, 0], sample_weight=np.ones(P))
    with pytest.raises(ValueError, match="solver: got 'iterative' with weights of the examples"):
        StudentTProcessRegressor(solver="iterative", optimizer=None).fit(X, Y[:, 0], sample_weight=np.ones(P))
    with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):
        StudentTProcessRegressor().fit(X, Y[:, 0], weights=np.ones(P))


@pytest.mark.parametrize(
    ("model", "weighted"),
    [
        (NNGPRegressor(NET, trend="linear"), True),
        (StudentTProcessRegressor(RBF(1.2), optimizer=None, trend="linear"), False),
        (StudentTProcessRegressor(RBF(1.2), optimizer=None), True),
    ],
)
def test_files_keep_trend_and_noise(model, weighted, tmp_path):
    model.set_params(temperature=T if weighted else VARIANCES)
    model.fit(X, Y[:, 0], **({"sample_weight": 1 / VARIANCES} if weighted else {}))
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    for ours, theirs in zip(again.predict(NEW, return_std=True), model.predict(NEW, return_std=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        ({"temperature": VARIANCES[:-1]}, (X, Y[:, 0]), r"temperature: got shape \(9,\), .*shape \(10,\)"),
        ({"temperature": -VARIANCES}, (X, Y[:, 0]), "temperature: got variances from -.*greater than 0"),
        ({"trend": "quadratic"}, (X, Y[:, 0]), "trend: got 'quadratic'"),
        ({"trend": "linear"}, (X[:3], Y[:3, 0]), "trend: got 'linear' with 3 coefficients for 3 examples, .*give more"),
        ({"trend": "linear"}, (np.column_stack([X, X[:, 0]]), Y[:, 0]), "trend: got 'linear' for inputs whose columns"),
    ],
)
@pytest.mark.parametrize("kind", [NNGPRegressor, StudentTProcessRegressor])
def test_mistakes_are_refused(kind, settings, data, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings, optimizer=None).fit(*data)


@pytest.mark.parametrize("weights", [-np.ones(P), np.zeros(P), np.full(P, np.nan), np.ones(P - 1)])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="sample_weight: "):
        NNGPRegressor(temperature=T).fit(X, Y[:, 0], sample_weight=weights)


def test_where_the_noise_of_new_targets_is_not_known_theories_have_no_score():
    model = NNGPRegressor(NET, temperature=VARIANCES).fit(X, Y[:, 0])
    found = predict_theories({"known noise": model}, NEW, np.zeros(4))
    np.testing.assert_allclose(found["mean"].squeeze("theory"), model.predict(NEW))
    assert np.isnan(found["log_score"]).all()
    assert np.isnan(found["temperature"]).all()


def test_weights_need_one_temperature_above_zero():
    for temperature in (0, VARIANCES):
        with pytest.raises(ValueError, match="sample_weight: got weights with temperature"):
            NNGPRegressor(temperature=temperature).fit(X, Y[:, 0], sample_weight=np.ones(P))
    model = NNGPRegressor(temperature=VARIANCES).fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="noise: got True with an array as temperature"):
        model.predictive(NEW, noise=True)
    with pytest.raises(ValueError, match="temperature: got an array with optimize_temperature=True"):
        StudentTProcessRegressor(temperature=VARIANCES, optimize_temperature=True).fit(X, Y[:, 0])
