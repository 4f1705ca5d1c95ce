"""Several convolutional layers as regressors: tables, files, infinite width, and NUTS over the weights."""

import arviz as az
import numpy as np
import pytest

import stpbnn
from stpbnn import Convolutional, FiniteWidthRegressor, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.comparison import predict_theories

RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(10, 16)) + RNG.normal(size=(10, 1)), RNG.normal(size=(3, 16))
Y = np.tanh(X[:, :3].sum(axis=1)) + 0.1 * RNG.normal(size=10)
NET = Convolutional((20, 22), ((2, 2), (1, 2)), ((2, 2), (1, 1)), image=(4, 4, 1), weight_precision=(0.5, 2.0, 1.5))
T = 0.1


@pytest.fixture(scope="module")
def proportional():
    return ProportionalLimitRegressor(NET, temperature=T).fit(X, Y)


@pytest.fixture(scope="module")
def mixture():
    return FiniteWidthRegressor(NET, temperature=T, random_state=0).fit(X, Y)


def test_order_parameters_are_a_matrix_a_layer(proportional, mixture):
    assert proportional.converged_
    assert mixture.converged_
    for model in (proportional, mixture):
        W = model.order_parameters_
        assert W.shape == (6, 6)
        assert np.all(W[:4, 4:] == 0)
        assert np.linalg.eigvalsh(W)[0] > 0
    found = predict_theories({"limit": proportional, "mixture": mixture}, Z)
    diagonal = np.diag(proportional.order_parameters_)
    np.testing.assert_allclose(
        found["order_parameters"].sel(theory="limit"), [diagonal[:4].mean(), diagonal[4:].mean()]
    )
    np.testing.assert_array_equal(found["order_parameter_matrix"].sel(theory="limit"), proportional.order_parameters_)
    medians = found["order_parameter_quantiles"].sel(theory="mixture").isel(probability=28)
    np.testing.assert_allclose(medians, found["order_parameters"].sel(theory="mixture"), rtol=0.1)


@pytest.mark.parametrize("name", ["proportional", "mixture"])
def test_files_hold_it(name, request, tmp_path):
    model = request.getfixturevalue(name)
    stpbnn.save(model, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict(Z), model.predict(Z))
    np.testing.assert_array_equal(again.order_parameters_, model.order_parameters_)


def test_mixture_and_saddle_point_agree_at_many_channels(proportional, mixture):
    error = mixture.order_parameter_posterior_.error
    assert proportional.log_marginal_likelihood_ == pytest.approx(mixture.log_marginal_likelihood_, abs=4 * error + 0.1)
    wide = NET.set_params(channels=(100_000, 100_000))
    limit = ProportionalLimitRegressor(wide, temperature=T).fit(X, Y)
    infinite = NNGPRegressor(wide, temperature=T).fit(X, Y)
    for found, expected in zip(limit.predict(Z, return_std=True), infinite.predict(Z, return_std=True), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert limit.log_marginal_likelihood_ == pytest.approx(infinite.log_marginal_likelihood_, abs=1e-3)
    error = limit.generalization_error(Z, Y[:3])
    assert error.squared_bias == pytest.approx(np.mean((limit.predict(Z) - Y[:3]) ** 2))


@pytest.mark.long
def test_linear_networks_against_nuts_over_their_weights():
    """Overlapping windows in both layers, and fewer channels than positions in the first."""
    net = Convolutional((3, 4), (1, 2), (1, 1), image=(1, 5, 1), activation="linear", bias_precision=2.0)
    rng = np.random.default_rng(7)
    X, Xt = rng.normal(size=(6, 5)) + rng.normal(size=(6, 1)), rng.normal(size=(3, 5))
    y = np.tanh(X[:, 0])
    model = FiniteWidthRegressor(net, temperature=0.3, random_state=0).fit(X, y)
    settings = {"sampler": "nuts", "warmup": 500, "draws": 3000, "progress": False}
    chains = stpbnn.sample(net, X, y, temperature=0.3, X_test=Xt, **settings)
    f, Q = chains["predictions"]["f_mean"], chains["posterior"]["readout_overlap"]
    assert float(az.rhat(f).max()) < 1.01
    assert float(az.rhat(Q).max()) < 1.01
    posterior, law = model.order_parameter_posterior_, model.predictive(Xt)
    effective = 1 / np.sum(posterior.weights**2)
    errors = np.hypot(az.mcse(f), law.std / np.sqrt(effective))
    assert np.all(np.abs(f.mean(("chain", "draw")) - law.mean) < 4 * errors)
    errors = np.hypot(az.mcse(Q), posterior.std[4:, 4:] / np.sqrt(effective))
    assert np.all(np.abs(Q.mean(("chain", "draw")) - model.order_parameters_[4:, 4:]) < 4 * errors)
