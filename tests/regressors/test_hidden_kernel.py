"""The posterior of the hidden kernel against sampling and its own limits."""

import arviz as az
import numpy as np
import pytest
from regression_data import data

import stpbnn
from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.regressors.hidden_kernel import kernel_overlap


@pytest.mark.long
def test_hidden_kernel_of_a_linear_network_against_sampling():
    """E[K̂ | y] is exact for linear networks: NUTS over all weights, entry by entry within 4.5 standard errors."""
    X, y, _ = data(P=8)
    net = FullyConnected((4,), "linear", weight_precision=(1.0, 2.0), bias_precision=4.0)
    model = FiniteWidthRegressor(net, temperature=0.2).fit(X, y)
    posterior = stpbnn.sample(
        net, X, y, temperature=0.2, warmup=400, draws=1500, chains=4, keep="weights", progress=False
    )["posterior"]
    hidden = np.einsum("pi,csij->cspj", X / 2.0, posterior["W1"]) + posterior["b1"].values[:, :, None] / 2
    sampled = np.einsum("cspj,csqj->cspq", hidden, hidden) / (2.0 * 4)
    expected, prior = model.posterior_kernel(), (X @ X.T / 4 + 0.25) / 2
    for i, j in [(0, 0), (1, 2), (3, 3), (4, 7), (5, 6)]:
        draws = sampled[:, :, i, j]
        assert az.rhat(draws) < 1.01
        assert abs(draws.mean() - expected[i, j]) < 4.5 * az.mcse(draws)
    assert np.abs(expected - prior).max() > 0.02  # it has moved
    task = np.outer(y, y)
    assert kernel_overlap(expected, task) > kernel_overlap(prior, task)
    np.testing.assert_allclose(model.posterior_kernel(X[2:5]), expected[2:5, 2:5], rtol=1e-8)


def test_hidden_kernel_at_the_saddle_point_approaches_the_average_over_order_parameters():
    X, y, Xt = data()
    gaps = []
    for N in (50, 500):
        net = FullyConnected((N,), "erf", bias_precision=2.0)
        saddle = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y).posterior_kernel(Xt)
        average = FiniteWidthRegressor(net, temperature=0.1).fit(X, y).posterior_kernel(Xt)
        gaps.append(np.abs(saddle - average).max())
    assert gaps[1] < gaps[0] / 50  # both changes are of order 1/N, and Q fluctuates by as much
    with pytest.raises(ValueError, match="expected a FullyConnected of one hidden layer"):
        NNGPRegressor(FullyConnected((5, 5))).fit(X, y).posterior_kernel()


@pytest.mark.parametrize("N", [10, 100])
def test_feeding_the_hidden_kernel_back_leads_away_from_the_exact_answer(N):
    """The learned kernel is no predictor: for linear networks the mixture is exact, the inserted kernel is not."""
    X, y, Xt = data()
    net = FullyConnected((N,), "linear")
    exact = FiniteWidthRegressor(net, temperature=0.1).fit(X, y).predict(Xt)
    saddle = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y)
    K = saddle.order_parameters_[0] * saddle.posterior_kernel(np.vstack([X, Xt]))
    inserted = K[15:, :15] @ np.linalg.solve(K[:15, :15] + 0.1 * np.eye(15), y)
    assert np.linalg.norm(inserted - exact) > np.linalg.norm(saddle.predict(Xt) - exact)
