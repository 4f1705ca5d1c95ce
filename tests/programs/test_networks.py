"""The NumPyro models against the densities they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer import Predictive, log_likelihood
from numpyro.infer.util import log_density
from scipy import stats

from stpbnn import FullyConnected, kernels, programs

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


@pytest.mark.parametrize("closure", kernels.CLOSURES)
def test_log_density_of_the_scale_mixture(closure):
    """Gamma priors and a joint Gaussian, at order parameters that the closures tell apart."""
    net, y, Q = FullyConnected((5, 3), "erf"), np.random.default_rng(1).normal(size=6), np.array([0.7, 1.4])
    density, _ = log_density(programs.scale_mixture(net, closure), (X, y), {"temperature": 0.3}, {"Q": jnp.asarray(Q)})
    gram = kernels.input_gram(net.prior, jnp.asarray(X))
    K = np.asarray(kernels.renormalised(net.sigma, net.prior, gram, jnp.asarray(Q), closure).entries)
    expected = stats.gamma.logpdf(Q, [2.5, 1.5], scale=[2 / 5, 2 / 3]).sum()
    expected += stats.multivariate_normal.logpdf(y, cov=K + 0.3 * np.eye(6))
    np.testing.assert_allclose(density, expected, rtol=1e-5)


def test_scale_mixture_draws_its_prior():
    """Var y = K + T and, from the spread of Q, more than Gaussian fourth moments: 3 (1 + 2/N) for T = 0."""
    net = FullyConnected((5,), "linear")
    draws = Predictive(programs.scale_mixture(net), num_samples=20_000)(jax.random.key(0), X[:1], temperature=1e-4)
    y = np.asarray(draws["y"])[:, 0] / np.sqrt(X[0] @ X[0] / 4 + 1e-4)
    for sample, expected in ((y**2, 1.0), (y**4, 3 * (1 + 2 / 5))):
        assert abs(sample.mean() - expected) < 4 * sample.std() / 20_000**0.5 + 1e-3


def test_scale_mixture_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="2 outputs"):
        programs.scale_mixture(FullyConnected((5,), outputs=2))
    with pytest.raises(ValueError, match="closure: got 'nestd'"):
        programs.scale_mixture(FullyConnected((5,)), "nestd")
    with pytest.raises(ValueError, match="temperature: got"):
        Predictive(programs.scale_mixture(FullyConnected((5,))), num_samples=1)(jax.random.key(0), X, temperature=0.0)


@pytest.mark.parametrize(
    "program", [programs.network, programs.marginal_network, programs.scale_mixture, programs.student_t_network]
)
@pytest.mark.parametrize(
    ("inputs", "y", "message"),
    [
        (X, np.zeros(5), r"y: got shape \(5,\), expected \(6,\): one number for each of the inputs"),
        (X, np.zeros(1), r"y: got shape \(1,\), expected \(6,\)"),
        (X, np.zeros((6, 1)), r"y: got shape \(6, 1\), expected \(6,\)"),
        (X, 0.5, r"y: got shape \(\), expected \(6,\)"),
        (X, np.full(6, np.nan), "y: got 6 NaN or infinite values"),
        (X[0], np.zeros(6), "X: got 1 dimension"),
        (X * np.inf, np.zeros(6), "X: got 24 NaN or infinite values"),
    ],
)
def test_data_of_wrong_shape_are_refused(program, inputs, y, message):
    with pytest.raises(ValueError, match=message):
        program(NETS[0])(inputs, y, temperature=0.1)


def test_targets_of_several_outputs_have_their_shape():
    for program in (programs.network, programs.marginal_network):
        with pytest.raises(ValueError, match=r"y: got shape \(6,\), expected \(6, 2\): 2 numbers, one for each output"):
            program(NETS[1])(X, np.zeros(6), temperature=0.1)
