"""The readout given the hidden weights, against Gaussian process regression and the explicit network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct

from stpbnn import FullyConnected
from stpbnn.samplers.draws import Data, observe
from stpbnn.samplers.draws.readout import draw_readout, observe_marginal, predict

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("P", "N"), [(12, 5), (4, 9)])
@pytest.mark.parametrize("bias_precision", [None, 2.0])
def test_predictions_are_those_of_a_gaussian_process(P, N, bias_precision):
    net = FullyConnected((N,), weight_precision=(1.0, 2.5), bias_precision=bias_precision)
    features, y, test = RNG.normal(size=(P, N)), RNG.normal(size=P), RNG.normal(size=(3, N))
    kernel = ConstantKernel(1 / (2.5 * N), "fixed") * DotProduct(0.0, "fixed")
    if bias_precision:
        kernel += ConstantKernel(1 / bias_precision, "fixed")
    mean, sd = GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None).fit(features, y).predict(test, True)
    with jax.enable_x64(True):
        ours = predict(net, jnp.asarray(features), jnp.asarray(y), 0.1, jnp.asarray(test))
    np.testing.assert_allclose(ours[0], mean, rtol=1e-7)
    np.testing.assert_allclose(ours[1], sd**2, rtol=1e-7)


@pytest.mark.parametrize("outputs", [pytest.param(1, marks=pytest.mark.long), 2])
def test_observables(outputs):
    """Draws of f have the conditional mean and variance; all else is what `observe` says of the drawn readout."""
    net = FullyConnected((5, 4), "relu", outputs=outputs, weight_precision=(0.5, 2.0, 3.0), bias_precision=2.0)
    columns = () if outputs == 1 else (outputs,)
    arrays = [
        RNG.normal(size=(7, 3)),
        RNG.normal(size=(7, *columns)),
        RNG.normal(size=(3, 3)),
        RNG.normal(size=(3, *columns)),
    ]
    data = Data(*map(jnp.asarray, arrays))
    weights = {k: v for k, v in net.sample_prior(jax.random.key(0), 3).items() if k not in ("v", "b3")}
    keys = jax.random.split(jax.random.key(1), 4000)
    drawn = jax.jit(jax.vmap(lambda key: observe_marginal(key, net, weights, data, 0.2)))(keys)
    np.testing.assert_allclose(drawn["f_mean"], np.broadcast_to(drawn["f_mean"][0], drawn["f_mean"].shape), rtol=1e-5)
    mean, sd = np.asarray(drawn["f_mean"][0]), np.sqrt(drawn["f_variance"][0])
    assert np.all(np.abs(drawn["f"].mean(0) - mean) < 4.5 * sd / 4000**0.5)
    assert np.all(np.abs(drawn["f"].std(0) / sd - 1) < 4.5 / 8000**0.5)
    readout = draw_readout(keys[0], net, net.features(weights, data.X)[-1], data.y, 0.2)
    expected = observe(net, weights | readout, data, 0.2)
    assert set(drawn) == {*expected, "f_mean", "f_variance"}
    for name, value in expected.items():
        np.testing.assert_allclose(drawn[name][0], value, rtol=2e-4, atol=1e-5)


def test_without_test_points():
    net = FullyConnected((4,), "erf")
    data = Data(jnp.ones((3, 2)), jnp.ones(3))
    weights = {"W1": jnp.ones((2, 4))}
    assert set(observe_marginal(jax.random.key(0), net, weights, data, 0.1)) == {
        "readout_norm", "kernel_scale", "train_f", "train_loss", "log_likelihood"
    }  # fmt: skip
