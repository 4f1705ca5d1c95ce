"""Networks of infinite width under noise with outliers: quadrature, dense algebra, differences, files."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import approx_fprime

import stpbnn
from stpbnn import Convolutional, FullyConnected, NNGPRegressor

NOISES = ("student-t", "robust")
NET = FullyConnected((9,), "erf", bias_precision=2.0)
X = np.array([[0.0, 1.0], [0.3, 0.8], [0.5, -0.4], [-0.7, 0.2], [1.1, 0.9]])
Y = np.array([0.6, 8.0, 0.5, 0.1, 0.7])  # the second is an outlier
XT = np.array([[0.2, 0.7], [-1.0, 0.4]])


def arcsine(X1, X2):
    """The kernel of one hidden layer of erf units, by Williams's formula."""

    def inner(A, B):
        return A @ B.T / 2 + 0.5

    own = [1 + 2 * np.diag(inner(Z, Z)) for Z in (X1, X2)]
    return 2 / np.pi * np.arcsin(2 * inner(X1, X2) / np.sqrt(np.outer(*own))) + 0.5


def fitted(X=X, y=Y, network=NET, **settings):
    return NNGPRegressor(network, **{"temperature": 0.05} | settings).fit(X, y)


def test_small_posterior_under_heavy_tails_is_that_of_quadrature():
    X3, y3 = X[:3], Y[:3]
    model = fitted(X3, y3, noise="student-t", noise_df=3.0)
    axes = np.linspace(-6, 6, 60)
    z = np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1).reshape(-1, 3)
    f = z @ np.linalg.cholesky(arcsine(X3, X3)).T
    log_density = stats.norm.logpdf(z).sum(axis=1) + stats.t(3.0, f, 0.05**0.5).logpdf(y3).sum(axis=1)
    log_evidence = np.log(np.exp(log_density - log_density.max()).sum() * (axes[1] - axes[0]) ** 3) + log_density.max()
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    at_queries = f @ np.linalg.solve(arcsine(X3, X3), arcsine(X3, XT))
    mean = weights @ at_queries
    left = arcsine(XT, XT) - arcsine(XT, X3) @ np.linalg.solve(arcsine(X3, X3), arcsine(X3, XT))
    std = np.sqrt(weights @ (at_queries - mean) ** 2 + np.diag(left))
    ours, spread = model.predict(XT, return_std=True)
    assert np.abs((ours - mean) / std).max() < 0.02
    np.testing.assert_allclose(spread, std, rtol=0.02)
    assert abs(model.log_marginal_likelihood_ - log_evidence) < 0.05
    assert model.converged_
    new = model.predictive(XT, noise=True)
    np.testing.assert_allclose(new.variance - spread**2, 3 * 0.05, rtol=1e-2)  # ν/(ν − 2)
    assert (model.predictive(XT, noise="clean").variance < new.variance).all()
    np.testing.assert_allclose(model.predict(XT, return_cov=True)[1].diagonal(), spread**2)


def test_robust_process_is_that_of_gaussian_noise_about_shifted_targets():
    model = fitted(noise="robust")
    centre, T = model.centre_, 0.05
    np.testing.assert_allclose(centre, fitted(noise="student-t").leave_one_out().mean, rtol=1e-9)
    r = Y - centre
    c2 = (np.median(np.abs(r)) / stats.norm.ppf(0.75) * stats.norm.ppf(0.95)) ** 2
    K, k = arcsine(X, X), arcsine(XT, X)
    A, z = K + T * np.diag(1 + r**2 / c2), Y + 2 * T * r / (c2 + r**2)
    mean, covariance = model.predict(XT, return_cov=True)
    np.testing.assert_allclose(mean, k @ np.linalg.solve(A, z), rtol=1e-9)
    np.testing.assert_allclose(covariance, arcsine(XT, XT) - k @ np.linalg.solve(A, k.T), rtol=1e-9)
    left = model.leave_one_out()
    rest = np.arange(1, 5)
    pull = np.linalg.solve(A[np.ix_(rest, rest)], K[rest, 0])
    np.testing.assert_allclose(left.mean[0], pull @ z[rest], rtol=1e-8)
    np.testing.assert_allclose(left.variance[0], K[0, 0] - pull @ K[rest, 0] + T, rtol=1e-8)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("network", [NET, Convolutional((3,), (1, 1), image=(1, 2, 1))])
def test_gradient_is_that_of_differences(noise, network):
    learned = {"optimize_noise_df": True} if noise == "student-t" else {}
    model = fitted(network=network, noise=noise)
    model.set_params(optimizer="fmin_l_bfgs_b", **learned)
    theta = model._hyperparameters.theta
    assert list(model.hyperparameters_) == model._hyperparameters.names
    assert model._hyperparameters.names[-1] == ("noise_df" if learned else "temperature")
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    np.testing.assert_allclose(
        gradient, approx_fprime(theta, model.log_marginal_likelihood, 1e-6), rtol=2e-4, atol=1e-4
    )


@pytest.mark.parametrize("noise", NOISES)
def test_outliers_are_ignored_where_hyperparameters_are_learned(noise, tmp_path):
    rng = np.random.default_rng(0)
    inputs = np.sort(rng.uniform(-2, 2, size=(20, 1)), axis=0)
    clean = np.sin(inputs[:, 0]) + 0.1 * rng.normal(size=20)
    spoiled = clean.copy()
    spoiled[::8] += 9
    settings = {"network": FullyConnected((5,), "erf"), "optimizer": "fmin_l_bfgs_b"}
    ours = fitted(inputs, spoiled, noise=noise, **settings)
    models = ours, fitted(inputs, clean, **settings)
    of_ours, of_clean = (np.sqrt(np.mean((model.predict(inputs) - clean) ** 2)) for model in models)
    assert of_ours < 1.5 * of_clean
    assert ours.converged_
    stpbnn.save(ours, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    law, same = ours.predictive(inputs, noise="clean"), again.predictive(inputs, noise="clean")
    np.testing.assert_allclose(same.mean, law.mean, rtol=1e-9)
    np.testing.assert_allclose(same.variance, law.variance, rtol=1e-9)
    step = 1e-5
    ends = [ours.predict(inputs[:3] + sign * step) for sign in (1, -1)]
    np.testing.assert_allclose(ours.predict_gradient(inputs[:3])[0][:, 0], (ends[0] - ends[1]) / (2 * step), rtol=1e-5)


@pytest.mark.parametrize("noise", NOISES)
def test_outputs_are_those_of_one_at_a_time(noise):
    both = fitted(y=np.column_stack([Y, Y[::-1]]), network=NET.set_params(outputs=2), noise=noise)
    ones = [fitted(y=y, noise=noise) for y in (Y, Y[::-1])]
    for index, law in enumerate(one.predictive(XT, noise="clean") for one in ones):
        np.testing.assert_allclose(both.predictive(XT, noise="clean").mean[:, index], law.mean, rtol=1e-9)
        np.testing.assert_allclose(both.predictive(XT, noise="clean").variance[:, index], law.variance, rtol=1e-9)
    assert both.loo_log_score() == pytest.approx(sum(one.loo_log_score() for one in ones))
    assert both.log_marginal_likelihood_ == pytest.approx(sum(one.log_marginal_likelihood_ for one in ones))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "scale"}, "noise: got 'scale', expected one of 'gaussian', 'student-t', 'robust'"),
        ({"noise": "robust", "trend": "linear"}, "trend: got 'linear' with noise='robust', expected 'zero'"),
        ({"noise": "robust", "temperature": np.ones(5)}, "temperature: got an array with noise='robust'"),
        ({"noise": "student-t", "temperature": 0.0}, "temperature: got 0 with noise='student-t'"),
        ({"noise": "student-t", "solver": "iterative"}, "solver: got 'iterative' with noise='student-t'"),
        ({"noise": "student-t", "criterion": "leave-one-out"}, "criterion: got 'leave-one-out' with noise='student-t'"),
        ({"noise": "student-t", "optimize_noise_df": True}, "optimize_noise_df: got True with optimizer=None"),
        (
            {"optimize_noise_df": True, "optimizer": "fmin_l_bfgs_b"},
            "optimize_noise_df: got True with noise='gaussian'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fitted(**settings)


def test_weights_beside_outliers_are_refused():
    with pytest.raises(ValueError, match="sample_weight: got weights with noise='robust', expected noise='gaussian'"):
        NNGPRegressor(NET, noise="robust").fit(X, Y, sample_weight=np.ones(5))


def test_the_hidden_kernel_under_outliers_is_refused():
    with pytest.raises(ValueError, match="noise: got 'robust', expected 'gaussian'"):
        fitted(noise="robust").posterior_kernel()
