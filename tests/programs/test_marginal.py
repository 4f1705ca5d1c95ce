"""The marginal network against scipy's Gaussian, the explicit network and draws from its own prior."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer import Predictive
from numpyro.infer.util import log_density
from quick_cases import cases
from scipy import stats

from stpbnn import FullyConnected, programs
from stpbnn.programs.marginal import LinearGaussian

X = np.random.default_rng(0).normal(size=(6, 4))
NETS = [
    FullyConnected((9,), "erf"),
    FullyConnected((5, 3), "relu", outputs=2, weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0),
]


@pytest.mark.parametrize("net", cases(NETS[1:], NETS), ids=str)
def test_log_density_is_prior_plus_gaussian(net):
    weights = net.sample_prior(jax.random.key(1), 4)
    hidden = {k: v for k, v in weights.items() if k not in ("v", f"b{net.depth + 1}")}
    y = np.random.default_rng(1).normal(size=(6,) if net.outputs == 1 else (6, 2))
    density, trace = log_density(programs.marginal_network(net), (X, y), {"temperature": 0.3}, hidden)
    assert {name for name, site in trace.items() if site["type"] == "sample"} == {*hidden, "y"}
    last = np.asarray(net.features(weights, jnp.asarray(X))[-1], float)
    cov = last @ last.T / (net.precisions[-1] * net.widths[-1]) + net.prior.bias_variance + 0.3 * np.eye(6)
    expected = sum(stats.norm.logpdf(np.asarray(w)).sum() for w in hidden.values())
    expected += sum(stats.multivariate_normal.logpdf(column, cov=cov) for column in y.reshape(6, -1).T)
    np.testing.assert_allclose(density, expected, rtol=1e-5)


def test_integrating_the_explicit_network_gives_the_marginal_one():
    """E_v prod_μ N(y_μ; f(x_μ), T) over prior draws of the readout, at fixed hidden weights."""
    net = FullyConnected((4,), "erf", bias_precision=2.0)
    weights = net.sample_prior(jax.random.key(0), 4)
    y, T = jnp.asarray([0.3, -0.2]), 1.0
    hidden = {k: weights[k] for k in ("W1", "b1")}
    marginal, _ = log_density(programs.marginal_network(net), (X[:2], y), {"temperature": T}, hidden)

    @jax.vmap
    def likelihood(key):
        drawn = net.sample_prior(key, 4) | hidden
        return jnp.exp(dist.Normal(net.forward(drawn, jnp.asarray(X[:2])), T**0.5).log_prob(y).sum())

    samples = np.asarray(likelihood(jax.random.split(jax.random.key(1), 100_000)), float)
    prior = sum(stats.norm.logpdf(np.asarray(w)).sum() for w in hidden.values())
    assert abs(samples.mean() - np.exp(float(marginal) - prior)) < 4 * samples.std() / 100_000**0.5


@pytest.mark.parametrize("outputs", [1, 2])
def test_draws_of_targets(outputs):
    Psi = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)))
    law = LinearGaussian(Psi, 0.5, outputs)
    draws = np.asarray(law.sample(jax.random.key(0), (20_000,))).reshape(20_000, 3, outputs)
    cov = np.asarray(Psi @ Psi.T) + 0.5 * np.eye(3)
    sd = np.sqrt(np.diag(cov))
    for column in range(outputs):
        correlation = draws[:, :, column].T @ draws[:, :, column] / 20_000 / np.outer(sd, sd)
        assert np.all(np.abs(correlation - cov / np.outer(sd, sd)) < 4.5 * (2 / 20_000) ** 0.5)


def test_prior_predictive_shapes_and_temperature():
    model = programs.marginal_network(NETS[1])
    draws = Predictive(model, num_samples=2000)(jax.random.key(0), X, temperature=dist.Gamma(4.0, 2.0))
    assert draws["y"].shape == (2000, 6, 2)
    assert abs(draws["temperature"].mean() - 2.0) < 4 * 1.0 / 2000**0.5


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), "hot"])
def test_bad_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match="temperature: got"):
        Predictive(programs.marginal_network(NETS[0]), num_samples=1)(jax.random.key(0), X, temperature=temperature)
