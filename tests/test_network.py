"""The network's description, and its forward pass against plain numpy and against prior expectations."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stpbnn import FullyConnected, NNGPKernel, NNGPRegressor, StudentTProcessRegressor
from stpbnn.activations import Activation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (0,)}, r"widths\[0\]: got 0, expected an integer of at least 1"),
        ({"widths": (10, -3)}, r"widths\[1\]: got -3"),
        ({"widths": (10.5,)}, r"widths\[0\]: got 10.5"),
        ({"widths": ()}, "expected at least one hidden layer"),
        ({"widths": "100"}, "expected the hidden widths"),
        ({"widths": (True,)}, "got True"),
        ({"activation": "refu"}, "did you mean 'relu'"),
        ({"outputs": 0}, "outputs: got 0"),
        ({"weight_precision": 0.0}, "weight_precision: got 0.0, expected a finite number greater than 0"),
        ({"weight_precision": -1}, "weight_precision: got -1"),
        ({"weight_precision": (1.0, float("nan"))}, r"weight_precision\[1\]: got nan"),
        ({"weight_precision": (1.0, 1.0, 1.0)}, "got 3 numbers, expected one, or 2"),
        ({"weight_precision": "high"}, "weight_precision: got 'high'"),
        ({"bias_precision": 0}, "bias_precision: got 0"),
        ({"bias_precision": float("inf")}, "bias_precision: got inf"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FullyConnected(**settings)


def test_equal_settings_make_equal_networks():
    net = FullyConnected(np.array([30, 20]), "relu", weight_precision=[1, 2, 3])
    assert net == FullyConnected((30, 20), "relu", weight_precision=(1.0, 2.0, 3.0))
    assert hash(net) == hash(FullyConnected((30, 20), "relu", weight_precision=(1.0, 2.0, 3.0)))
    assert FullyConnected(7) == FullyConnected((7,))
    assert net.precisions == (1.0, 2.0, 3.0)
    with pytest.raises(AttributeError):
        net.outputs = 3


@pytest.mark.parametrize("net", [FullyConnected((5,)), FullyConnected((5, 4), "relu", 2, (1.0, 2.0, 0.5), 3.0)])
def test_settings_survive_json(net):
    assert FullyConnected(**json.loads(json.dumps(net.to_dict()))) == net


def test_forward_pass_by_hand():
    net = FullyConnected((4, 3), "erf", outputs=2, weight_precision=(0.5, 2.0, 3.0), bias_precision=4.0)
    X = np.random.default_rng(0).normal(size=(6, 5))
    w = {name: np.asarray(value) for name, value in net.sample_prior(jax.random.key(1), 5).items()}
    h = X @ w["W1"] / np.sqrt(0.5 * 5) + w["b1"] / 2
    h = erf(h) @ w["W2"] / np.sqrt(2.0 * 4) + w["b2"] / 2
    f = erf(h) @ w["v"] / np.sqrt(3.0 * 3) + w["b3"] / 2
    np.testing.assert_allclose(net.forward(w, jnp.asarray(X)), f, rtol=2e-5, atol=1e-6)


def test_shapes_of_weights():
    net = FullyConnected((4, 3), bias_precision=1.0)
    shapes = {"W1": (5, 4), "W2": (4, 3), "v": (3,), "b1": (4,), "b2": (3,), "b3": ()}
    assert net.shapes(5) == shapes
    assert {name: w.shape for name, w in net.sample_prior(jax.random.key(0), 5).items()} == shapes


# One hidden layer: E[f f^T] = κ(C)/λ_1 + 1/λ_b at every width. Deep linear networks: C / (λ_1 .. λ_L), likewise.
@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (
            FullyConnected((3,), "erf", weight_precision=(0.5, 2.0), bias_precision=4.0),
            lambda c: 2 / np.pi * np.arcsin(2 * c / (1 + 2 * np.diag(c))) / 2.0 + 0.25,
        ),
        (FullyConnected((2, 3), "linear", weight_precision=(0.5, 2.0, 3.0)), lambda c: c / 6),
    ],
)
def test_prior_covariance_of_the_outputs(net, expected):
    X = np.array([[1.0, 0.0, 1.0], [0.6, 0.8, 1.0]])  # equal norms: one 1 + 2a for the whole matrix
    keys = jax.random.split(jax.random.key(0), 40_000)
    f = np.asarray(jax.jit(jax.vmap(lambda key: net.forward(net.sample_prior(key, 3), jnp.asarray(X))))(keys))
    products = np.einsum("si,sj->sij", f, f)
    error = products.std(axis=0) / len(f) ** 0.5
    gram = X @ X.T / (0.5 * 3) + (0.25 if net.bias_precision else 0.0)
    assert np.all(np.abs(products.mean(axis=0) - expected(gram)) < 4 * error)


def test_an_activation_of_ones_own():
    cubic = Activation("cubic", lambda h: h**3, lambda a, b, c: 9 * a * b * c + 6 * c**3)
    net = FullyConnected((3,), cubic)
    weights = {"W1": jnp.ones((1, 3)), "v": jnp.ones(3)}
    np.testing.assert_allclose(net.forward(weights, jnp.array([[2.0]])), 8 * 3**0.5, rtol=1e-6)
    assert net.to_dict()["activation"] == "cubic"


def test_settings_by_name():
    net = FullyConnected((4, 3), "relu", outputs=2, weight_precision=(1.0, 2.0, 3.0))
    assert FullyConnected(**net.get_params()) == net
    other = net.set_params(activation="erf", widths=(5,), weight_precision=0.5)
    assert other == FullyConnected((5,), "erf", outputs=2, weight_precision=0.5)
    assert net.activation == "relu"
    assert clone(net) == net
    with pytest.raises(ValueError, match=r"network: got 'width', expected one of 'widths'.*did you mean 'widths'"):
        net.set_params(width=3)


def test_search_over_settings_of_the_network():
    """In a pipeline, by the error of the kernel regression written out; the network that was given stays as it is."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 2))
    y = np.maximum(X @ [1.0, -2.0], 0)
    net = FullyConnected((5,), "linear", bias_precision=1.0)
    grid = {"nngpregressor__network__activation": ["linear", "relu"], "nngpregressor__network__widths": [(5,), (5, 5)]}
    model = make_pipeline(StandardScaler(), NNGPRegressor(net, temperature=0.1))
    search = GridSearchCV(model, grid, cv=[(np.arange(8), np.arange(8, 12))], scoring="neg_mean_squared_error")
    search.fit(X, y)
    Z = (X - X[:8].mean(axis=0)) / X[:8].std(axis=0)
    for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        activation, widths = (params[f"nngpregressor__network__{name}"] for name in ("activation", "widths"))
        K = NNGPKernel(FullyConnected(widths, activation, bias_precision=1.0))(Z)
        mean = K[8:, :8] @ np.linalg.solve(K[:8, :8] + 0.1 * np.eye(8), y[:8])
        assert score == pytest.approx(-np.mean((mean - y[8:]) ** 2), rel=1e-9)
    assert search.best_params_["nngpregressor__network__activation"] == "relu"
    assert (net.activation, net.widths) == ("linear", (5,))


def test_what_holds_a_network_takes_its_settings():
    net = FullyConnected((5,), "relu")
    model = NNGPRegressor(net).set_params(network__activation="erf", temperature=0.5)
    assert (model.network, model.temperature) == (net.set_params(activation="erf"), 0.5)
    assert model.get_params()["network__activation"] == "erf"
    model.set_params(network__widths=(3, 3), network=FullyConnected((7,), "gelu"))
    assert model.network == FullyConnected((3, 3), "gelu")
    process = StudentTProcessRegressor(net).set_params(kernel__widths=(2, 2))
    assert process.kernel == net.set_params(widths=(2, 2))
    process = StudentTProcessRegressor(2.0 * NNGPKernel(net)).set_params(kernel__k2__network__activation="erf")
    assert process.kernel.k2.network == net.set_params(activation="erf")
    bagged = BaggingRegressor(NNGPRegressor(net)).set_params(estimator__network__outputs=2)
    assert bagged.estimator.network.outputs == 2
    with pytest.raises(ValueError, match="network__widths: got a setting of network, which is None; give a network"):
        NNGPRegressor().set_params(network__widths=(3,))
    with pytest.raises(ValueError, match="Invalid parameter 'wideness'"):
        NNGPRegressor(net).set_params(wideness=3)
