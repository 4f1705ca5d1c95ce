"""The finite-width law of several outputs: Monte Carlo over random linear networks, and NUTS over the weights."""

import arviz as az
import numpy as np
import pytest

from stpbnn import FiniteWidthRegressor, FullyConnected, sample
from stpbnn.regressors import load, save


def problem(outputs=2):
    rng = np.random.default_rng(0)
    X, Xt = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    return X, rng.normal(size=(5, outputs)) @ rng.normal(size=(outputs, outputs)), Xt


def over_networks(widths, X, y, Xt, T, draws=20_000):
    """Average over random hidden weights, the readout integrated: log evidence, mean and variance of f, with errors."""
    rng, both = np.random.default_rng(1), np.vstack([X, Xt])
    h = np.broadcast_to(both, (draws, *both.shape))
    for n in widths:
        h = h @ rng.normal(size=(draws, h.shape[-1], n)) / np.sqrt(h.shape[-1])
    K = h @ h.transpose(0, 2, 1) / widths[-1]
    P = len(X)
    A, k = K[:, :P, :P] + T * np.eye(P), K[:, P:, :P]
    solved = np.linalg.solve(A, np.broadcast_to(y, (draws, *y.shape)))
    log_det = np.linalg.slogdet(A)[1]
    logs = -(np.einsum("spd,pd->s", solved, y) + y.shape[1] * (log_det + P * np.log(2 * np.pi))) / 2
    w = np.exp(logs - logs.max())
    mean = np.einsum("s,sid->id", w, means := k @ solved) / w.sum()
    spread = np.einsum("sii->si", K[:, P:, P:]) - np.einsum("sip,spi->si", k, np.linalg.solve(A, k.transpose(0, 2, 1)))
    second = np.einsum("s,sid->id", w, spread[..., None] + (means - mean) ** 2) / w.sum()
    freedom = w.sum() ** 2 / (w**2).sum()
    return logs.max() + np.log(w.mean()), mean, second, np.sqrt(1 / freedom - 1 / draws), freedom


@pytest.mark.parametrize("widths", [(5,), (6, 3, 4)])
def test_linear_networks(widths):
    X, y, Xt = problem()
    model = FiniteWidthRegressor(FullyConnected(widths, "linear", outputs=2), temperature=0.3, random_state=0).fit(X, y)
    assert model.converged_
    assert model.order_parameters_.shape == ((2, 2) if len(widths) == 1 else (len(widths), 2, 2))
    log_evidence, mean, variance, error, freedom = over_networks(widths, X, y, Xt, 0.3)
    own = model.order_parameter_posterior_.error
    assert abs(model.log_marginal_likelihood_ - log_evidence) < 4 * np.hypot(error, own)
    predicted, std = model.predict(Xt, return_std=True)
    draws = len(model.order_parameter_posterior_.weights)
    np.testing.assert_array_less(abs(predicted - mean), 4 * np.sqrt(variance * (1 / freedom + 4 / draws)))
    np.testing.assert_allclose(std**2, variance, rtol=0.1)


def test_laws_of_a_mixture(tmp_path):
    X, y, Xt = problem()
    model = FiniteWidthRegressor(FullyConnected((40, 30), "erf", outputs=2), temperature=1.0, closure="global").fit(
        X, y
    )
    Xt = Xt[:2]
    marginal, joint = model.predictive(Xt, noise=True), model.predictive(Xt, noise=True, joint=True)
    np.testing.assert_allclose(joint.mean, marginal.mean, rtol=1e-10)
    np.testing.assert_allclose(np.einsum("iid->id", joint.covariance), marginal.variance, rtol=1e-9)
    draws = joint.sample(400, random_state=0)
    np.testing.assert_allclose(draws.mean(axis=0), joint.mean, atol=5 * marginal.std.max() / np.sqrt(400))
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict(Xt), model.predict(Xt))
    np.testing.assert_array_equal(again.order_parameters_, model.order_parameters_)
    left_out = model.leave_one_out()
    rest = FiniteWidthRegressor(model.network, temperature=1.0, closure="global").fit(X[1:], y[1:])
    law = rest.predictive(X[:1], noise=True)
    np.testing.assert_allclose(left_out.mean[0], law.mean[0], atol=0.05 * law.std.max())
    np.testing.assert_allclose(left_out.variance[0], law.variance[0], rtol=0.1)


@pytest.mark.long
def test_nuts_over_the_weights():
    X, y, Xt = problem()
    net = FullyConnected((4, 3), "linear", outputs=2)
    model = FiniteWidthRegressor(net, temperature=0.3, random_state=0).fit(X, y)
    tree = sample(
        net, X, y, temperature=0.3, X_test=Xt, sampler="nuts", warmup=1000, draws=2000, chains=4, progress=False
    )
    f = tree["predictions"]["f"]
    assert float(az.rhat(f).max()) < 1.02
    error = az.mcse(f).to_numpy()
    predicted, std = model.predict(Xt, return_std=True)
    own = model.order_parameter_posterior_.error * std
    np.testing.assert_array_less(abs(f.mean(("chain", "draw")).to_numpy() - predicted), 4 * np.hypot(error, own))
    np.testing.assert_allclose(f.std(("chain", "draw")).to_numpy(), std, rtol=0.08)


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (FullyConnected((5, 5), "erf", outputs=2), {}, "take closure='global'"),
        (FullyConnected((5, 5), "linear", outputs=2, bias_precision=1.0), {}, "take closure='global'"),
        (FullyConnected((1,), "linear", outputs=2), {}, "as many units as outputs"),
        (FullyConnected((5,), "linear", outputs=2), {"optimizer": "fmin_l_bfgs_b"}, "learn with ProportionalLimit"),
    ],
)
def test_refusals(network, settings, message):
    X, y, _ = problem()
    with pytest.raises(ValueError, match=message):
        FiniteWidthRegressor(network, temperature=0.3, **settings).fit(X, y)
