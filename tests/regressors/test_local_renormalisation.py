"""Convolutional networks of finite width as regressors: against NumPy, files, refusals, and NUTS over the weights."""

import arviz as az
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn import Convolutional, FiniteWidthRegressor, FullyConnected, ProportionalLimitRegressor
from stpbnn.catalogue import THEORIES
from stpbnn.comparison import predict_theories
from stpbnn.kernels import patch_kernels
from stpbnn.scale import local_posterior

RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(10, 16)) + RNG.normal(size=(10, 1)), RNG.normal(size=(3, 16))
Y = np.tanh(X[:, :3].sum(axis=1)) + 0.1 * RNG.normal(size=10)
NET = Convolutional((20,), 2, 2, image=(4, 4, 1), weight_precision=(0.5, 2.0), bias_precision=4.0)
MEAN = NET.set_params(readout="mean")
T, D = 0.1, 4


def kernel(Q, A, B=None):
    return np.einsum("ij,ijpq->pq", Q, patch_kernels(NET, A, B)) / (2.0 * D) + 0.25


@pytest.fixture(scope="module")
def proportional():
    return ProportionalLimitRegressor(NET, temperature=T).fit(X, Y)


@pytest.fixture(scope="module")
def mixture():
    return FiniteWidthRegressor(NET, temperature=T, random_state=0).fit(X, Y)


def test_the_matrix_is_stationary_and_gives_the_predictions(proportional):
    Q, K = proportional.order_parameters_, patch_kernels(NET, X) / (2.0 * D)
    assert proportional.converged_
    assert Q.shape == (D, D)
    A = kernel(Q, X) + T * np.eye(10)
    inverse, alpha = np.linalg.inv(A), np.linalg.solve(A, Y)
    balance = 20 * (np.eye(D) - np.linalg.inv(Q)) + np.einsum("pq,ijpq->ij", inverse - np.outer(alpha, alpha), K)
    np.testing.assert_allclose(balance, 0, atol=1e-9)
    action = 20 * (np.trace(Q) - np.linalg.slogdet(Q)[1]) + np.linalg.slogdet(A)[1] + Y @ alpha
    assert proportional.action_ == pytest.approx(action, rel=1e-12)
    law, k = proportional.predictive(Z, joint=True, noise=True), kernel(Q, Z, X)
    np.testing.assert_allclose(law.mean, k @ alpha, rtol=1e-10)
    np.testing.assert_allclose(law.covariance, kernel(Q, Z) - k @ inverse @ k.T + T * np.eye(3), atol=1e-10)
    np.testing.assert_allclose(proportional.leave_one_out().mean, Y - alpha / np.diag(inverse), rtol=1e-9)
    error = proportional.generalization_error(Z, Y[:3])
    assert error.squared_bias == pytest.approx(np.mean((law.mean - Y[:3]) ** 2))


def test_a_readout_of_averages_has_one_scale():
    model = ProportionalLimitRegressor(MEAN, temperature=T).fit(X, Y)
    K = patch_kernels(MEAN, X).mean(axis=(0, 1)) / 2.0

    def action(u):
        A = np.exp(u) * K + 0.25 + T * np.eye(10)
        return 20 * (np.exp(u) - u) + np.linalg.slogdet(A)[1] + Y @ np.linalg.solve(A, Y)

    best = minimize_scalar(action, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert model.order_parameters_ == pytest.approx([np.exp(best.x)], rel=1e-5)
    assert model.action_ == pytest.approx(best.fun, rel=1e-12)
    wide = FiniteWidthRegressor(MEAN.set_params(channels=(100_000,)), temperature=T).fit(X, Y)
    np.testing.assert_allclose(
        wide.predict(Z), stpbnn.NNGPRegressor(MEAN, temperature=T).fit(X, Y).predict(Z), atol=1e-3
    )


def test_the_mixture_is_that_over_wishart_matrices(mixture):
    assert mixture.converged_
    V = np.random.default_rng(1).standard_normal((20_000, 20, D))
    Q = np.einsum("nai,naj->nij", V, V) / 20
    A = np.einsum("nij,ijpq->npq", Q, patch_kernels(NET, X) / (2.0 * D)) + 0.25 + T * np.eye(10)
    alpha = np.linalg.solve(A, np.broadcast_to(Y[:, None], (len(A), 10, 1)))[..., 0]
    log_p = -(np.linalg.slogdet(A)[1] + alpha @ Y + 10 * np.log(2 * np.pi)) / 2
    p = np.exp(log_p)
    error = p.std() / p.mean() / np.sqrt(len(p))
    posterior = mixture.order_parameter_posterior_
    assert abs(mixture.log_marginal_likelihood_ - np.log(p.mean())) < 4 * np.hypot(error, posterior.error)
    w = p / p.sum()
    mean = np.tensordot(w, Q, 1)
    spread = np.sqrt(np.tensordot(w**2, (Q - mean) ** 2, 1) + posterior.std**2 / 500)
    assert np.all(np.abs(mixture.order_parameters_ - mean) < 4.5 * spread)
    k = np.einsum("nij,ijpq->npq", Q, patch_kernels(NET, Z, X) / (2.0 * D)) + 0.25
    f = np.einsum("npq,nq->np", k, alpha)
    errors = np.sqrt(w**2 @ (f - w @ f) ** 2 + w @ (f - w @ f) ** 2 / 500)
    assert np.all(np.abs(mixture.predict(Z) - w @ f) < 4 * errors)


def test_quantiles_of_the_entries(mixture):
    posterior = mixture.order_parameter_posterior_
    quantiles = posterior.quantile([0.1, 0.5, 0.9])
    below = np.tensordot(posterior.weights, posterior.nodes[..., None] <= quantiles, 1)
    np.testing.assert_allclose(below, np.broadcast_to([0.1, 0.5, 0.9], below.shape), atol=0.03)


@pytest.mark.parametrize("name", ["proportional", "mixture"])
def test_files_hold_it(name, request, tmp_path):
    model = request.getfixturevalue(name)
    stpbnn.save(model, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    assert again.network_ == NET
    np.testing.assert_array_equal(again.predict(Z), model.predict(Z))
    np.testing.assert_array_equal(again.order_parameters_, model.order_parameters_)


def test_a_law_that_is_not_reached_says_so(monkeypatch):
    monkeypatch.setattr(local_posterior, "MOST_STEPS", 2)
    monkeypatch.setattr(local_posterior, "FEWEST", 16)
    model = FiniteWidthRegressor(NET.set_params(channels=(3,)), temperature=1e-6, random_state=0)
    with pytest.warns(ConvergenceWarning, match="^the posterior of the order parameters"):
        model.fit(X[:4], 100 * Y[:4])
    assert not model.converged_
    assert np.isfinite(model.predict(Z)).all()


@pytest.mark.parametrize("theory", [ProportionalLimitRegressor, FiniteWidthRegressor])
def test_what_is_not_known_is_refused(theory):
    deep = Convolutional((4, 4), 2, 1, image=(4, 4, 1), readout="mean")
    with pytest.raises(ValueError, match=r"^network: got a Convolutional of 2 hidden layers with readout='mean'"):
        theory(deep).fit(X, Y)
    with pytest.raises(ValueError, match=r"^network: got a Convolutional of 2 outputs, expected one"):
        theory(NET.set_params(outputs=2)).fit(X, np.column_stack([Y, Y]))
    with pytest.raises(ValueError, match=r"^optimizer: got 'fmin_l_bfgs_b' for a Convolutional, expected None"):
        theory(NET, optimizer="fmin_l_bfgs_b").fit(X, Y)
    with pytest.raises(ValueError, match=r"^mean: got 'keep' for a Convolutional"):
        theory(NET.set_params(activation="relu"), mean="keep").fit(X, Y)
    with pytest.raises(ValueError, match=r"^solver: got 'iterative' with a Convolutional"):
        theory(NET, solver="iterative").fit(X, Y)
    with pytest.raises(ValueError, match="features, expected 16"):
        theory(NET).fit(X[:, :9], Y)


def test_gradients_in_the_inputs_are_refused(proportional):
    with pytest.raises(ValueError, match=r"^network: got a Convolutional"):
        proportional.predict_gradient(Z)
    with pytest.raises(ValueError, match=r"^network: got a Convolutional"):
        proportional.posterior_kernel()


def test_a_fully_connected_network_is_one_position():
    flat = ProportionalLimitRegressor(FullyConnected((20,)), temperature=T).fit(X, Y)
    image = ProportionalLimitRegressor(Convolutional((20,), 1, 1, image=(1, 1, 16)), temperature=T).fit(X, Y)
    np.testing.assert_allclose(image.predict(Z), flat.predict(Z), rtol=1e-10)
    assert image.log_marginal_likelihood_ == pytest.approx(flat.log_marginal_likelihood_, rel=1e-10)


def test_tables_hold_the_matrix_and_one_number_a_layer(proportional, mixture):
    found = predict_theories({"limit": proportional, "mixture": mixture}, Z)
    Q = found["order_parameter_matrix"]
    assert Q.dims == ("theory", "position", "other_position")
    np.testing.assert_array_equal(Q.sel(theory="limit"), proportional.order_parameters_)
    np.testing.assert_allclose(
        found["order_parameters"].sel(layer=1), [np.trace(m.order_parameters_) / D for m in (proportional, mixture)]
    )
    median = found["order_parameter_quantiles"].sel(theory="mixture").isel(layer=0, probability=28)
    draws = np.trace(mixture.order_parameter_posterior_.nodes, axis1=1, axis2=2) / D
    weights = mixture.order_parameter_posterior_.weights
    assert weights[draws <= float(median)].sum() == pytest.approx(0.5, abs=0.01)


def test_cards_of_images_have_the_theories():
    named = {theory.key for theory in THEORIES.values() if theory.applies(NET, None)}
    assert {"infinite", "proportional", "finite"} <= named
    deep = Convolutional((4, 4), 2, 1, image=(4, 4, 1))
    assert {"proportional", "finite"} <= {key for key, theory in THEORIES.items() if theory.applies(deep, None)}
    deep = deep.set_params(readout="mean")
    assert not {"proportional", "finite"} & {key for key, theory in THEORIES.items() if theory.applies(deep, None)}


@pytest.mark.long
def test_linear_networks_against_nuts_over_their_weights():
    net = Convolutional((6,), (2, 2), (2, 2), image=(2, 4, 1), activation="linear")
    X, Xt = RNG.normal(size=(6, 8)) + RNG.normal(size=(6, 1)), RNG.normal(size=(3, 8))
    model = FiniteWidthRegressor(net, temperature=T, random_state=0).fit(X, np.tanh(X[:, 0]))
    settings = {"sampler": "nuts", "warmup": 300, "draws": 1500, "progress": False}
    chains = stpbnn.sample(net, X, np.tanh(X[:, 0]), temperature=T, X_test=Xt, **settings)
    f, Q = chains["predictions"]["f_mean"], chains["posterior"]["readout_overlap"]
    assert float(az.rhat(f).max()) < 1.01
    posterior, law = model.order_parameter_posterior_, model.predictive(Xt)
    effective = 1 / np.sum(posterior.weights**2)
    errors = np.hypot(az.mcse(f), law.std / np.sqrt(effective))
    assert np.all(np.abs(f.mean(("chain", "draw")) - law.mean) < 4 * errors)
    errors = np.hypot(az.mcse(Q), posterior.std / np.sqrt(effective))
    assert np.all(np.abs(Q.mean(("chain", "draw")) - model.order_parameters_) < 4 * errors)
