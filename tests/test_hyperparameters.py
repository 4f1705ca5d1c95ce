"""The learnable numbers of a prior as logarithms."""

import jax
import numpy as np
import pytest

from stpbnn import FullyConnected
from stpbnn.kernels import hyperparameters

NETWORKS = [
    FullyConnected((7, 8), "relu", 2, weight_precision=2.0),
    FullyConnected((7, 8), weight_precision=2.0, bias_precision=3.0),
    FullyConnected((7, 8), weight_precision=(0.5, 2.0, 3.0)),
    FullyConnected((7, 8), weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0),
]
NAMES = [
    ["weight_precision"],
    ["weight_precision", "bias_precision"],
    ["weight_precision[0]", "weight_precision[1]", "weight_precision[2]"],
    ["weight_precision[0]", "weight_precision[1]", "weight_precision[2]", "bias_precision"],
]


@pytest.mark.parametrize(("net", "names"), [*zip(NETWORKS, NAMES, strict=True)])
def test_names_and_values_go_there_and_back(net, names):
    assert hyperparameters.names(net) == names
    values = np.exp(hyperparameters.log_values(net))
    settings = dict(zip(names, values, strict=True))
    assert settings.get("bias_precision") == pytest.approx(net.bias_precision)
    other = hyperparameters.with_values(net, np.log(2 * values))
    assert (other.widths, other.activation, other.outputs) == (net.widths, net.activation, net.outputs)
    assert isinstance(other.weight_precision, tuple) == isinstance(net.weight_precision, tuple)  # tied stays tied
    np.testing.assert_allclose(other.precisions, np.multiply(2, net.precisions), rtol=1e-14)
    assert (other.bias_precision is None) == (net.bias_precision is None)


@pytest.mark.parametrize("net", NETWORKS)
def test_prior_is_that_of_the_network_and_can_be_traced(net, float64):
    theta = hyperparameters.log_values(net) + 0.3
    expected = hyperparameters.with_values(net, theta).prior
    for prior in (
        hyperparameters.prior_of(net, theta),
        jax.jit(hyperparameters.prior_of, static_argnums=0)(net, theta),
    ):
        np.testing.assert_allclose(prior.precisions, expected.precisions, rtol=1e-14)
        np.testing.assert_allclose(prior.bias_variance, expected.bias_variance, rtol=1e-14)
    slopes = jax.jacobian(lambda t: sum(hyperparameters.prior_of(net, t).precisions))(theta)
    weights = slopes if net.bias_precision is None else slopes[:-1]
    np.testing.assert_allclose(weights.sum(), sum(expected.precisions), rtol=1e-14)  # d/dlog λ of λ
