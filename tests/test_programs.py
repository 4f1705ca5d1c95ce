"""The NumPyro model against the density it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer import Predictive, log_likelihood
from numpyro.infer.util import log_density
from scipy import stats

from stpbnn import FullyConnected, programs

X = np.random.default_rng(0).normal(size=(6, 4))
NETS = [
    FullyConnected((5,), "erf"),
    FullyConnected((5, 3), "relu", outputs=2, weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0),
]


@pytest.mark.parametrize("net", NETS, ids=str)
def test_log_density_is_prior_plus_likelihood(net):
    weights = net.sample_prior(jax.random.key(1), 4)
    y = np.random.default_rng(1).normal(size=(6,) if net.outputs == 1 else (6, 2))
    density, _ = log_density(programs.network(net), (X, y), {"temperature": 0.3}, weights)
    expected = sum(stats.norm.logpdf(np.asarray(w)).sum() for w in weights.values())
    expected += stats.norm.logpdf(y, net.forward(weights, jnp.asarray(X)), 0.3**0.5).sum()
    np.testing.assert_allclose(density, expected, rtol=1e-5)


@pytest.mark.parametrize("net", NETS, ids=str)
def test_the_plate_counts_examples(net):
    """One entry of the log likelihood an example, whatever the number of outputs."""
    y = np.zeros((6,) if net.outputs == 1 else (6, 2))
    draws = {k: v[None] for k, v in net.sample_prior(jax.random.key(1), 4).items()}
    pointwise = log_likelihood(programs.network(net), draws, X, y, temperature=0.3)["y"]
    assert pointwise.shape == (1, 6)


def test_temperature_may_have_a_prior():
    model = programs.network(NETS[0])
    draws = Predictive(model, num_samples=2000)(jax.random.key(0), X, temperature=dist.Gamma(4.0, 2.0))
    assert abs(draws["temperature"].mean() - 2.0) < 4 * 1.0 / 2000**0.5


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), "hot"])
def test_bad_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match="temperature: got"):
        Predictive(programs.network(NETS[0]), num_samples=1)(jax.random.key(0), X, temperature=temperature)
