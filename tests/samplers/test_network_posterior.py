"""Posterior draws against exact answers, and the tree that they come in."""

import json
import warnings

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.infer import HMC, log_likelihood
from scipy.integrate import quad_vec
from scipy.stats import gamma

import stpbnn
from stpbnn import FullyConnected, programs
from stpbnn.samplers import Langevin
from stpbnn.samplers.draws.observables import kernel_scales


def small(P=8, N0=3, outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    shape = (lambda n: (n,)) if outputs == 1 else (lambda n: (n, outputs))
    X, Xt = rng.normal(size=(P, N0)), rng.normal(size=(4, N0))
    return X, rng.normal(size=shape(P)), Xt, rng.normal(size=shape(4))


def quick(net, X, y, Xt=None, yt=None, **settings):
    settings = {"temperature": 0.2, "warmup": 30, "draws": 20, "chains": 2, "progress": False} | settings
    return stpbnn.sample(net, X, y, X_test=Xt, y_test=yt, **settings)


def exact_mixture(X, y, Xt, width, temperature):
    """Mean and variance of f(Xt) for a one-hidden-layer linear network: quadrature over Q ~ Gamma(N/2, rate N/2)."""
    K, k, kk = (a @ b.T / X.shape[1] for a, b in ((X, X), (Xt, X), (Xt, Xt)))
    values, vectors = np.linalg.eigh(K)
    rotated, cross = vectors.T @ y, k @ vectors

    def moments(log_q):
        q = np.exp(log_q)
        A = q * values + temperature
        weight = np.exp(-np.sum(np.log(A) + rotated**2 / A) / 2 + 20) * gamma.pdf(q, width / 2, scale=2 / width) * q
        mean = q * cross @ (rotated / A)
        variance = q * np.diag(kk) - q**2 * (cross**2) @ (1 / A)
        return weight * np.concatenate([[1.0], mean, variance + mean**2, [q]])

    total = quad_vec(moments, -8, 4, epsrel=1e-10, points=np.linspace(-3, 2, 11))[0]
    mean, second, q = np.split(total[1:] / total[0], [len(Xt), 2 * len(Xt)])
    return mean, second - mean**2, q[0]


@pytest.fixture(scope="module")
def linear():
    X, y, Xt, yt = small(P=20, N0=6)
    net = FullyConnected((5,), "linear")
    posterior = quick(net, X, y, Xt, yt, warmup=400, draws=1500, chains=4)
    return posterior, exact_mixture(X, y, Xt, 5, 0.2), yt


def test_linear_network_agrees_with_the_exact_finite_width_mixture(linear):
    """N_1 = 5, P = 20: mean and variance of f, and the order parameter, within 4 Monte Carlo standard errors."""
    posterior, (mean, variance, q), _ = linear
    f = posterior["predictions"]["f"].transpose("chain", "draw", "test_point")
    assert posterior["sample_stats"]["diverging"].sum() == 0
    squared = (f - f.mean(("chain", "draw"))) ** 2
    for i in range(4):
        assert az.rhat(f[..., i].values) < 1.01
        for series, exact in ((f, mean), (squared, variance)):
            draws = series[..., i].values
            assert abs(draws.mean() - exact[i]) < 4 * az.mcse(draws)
    norm = posterior["posterior"]["readout_norm"].values
    assert abs(norm.mean() - q) < 4 * az.mcse(norm)


def test_new_targets_have_the_law_of_the_exact_mixture(linear):
    """Mean and variance at the training points, the noise included, within 4 Monte Carlo standard errors."""
    X, y = small(P=20, N0=6)[:2]
    mean, variance, _ = exact_mixture(X, y, X, 5, 0.2)
    drawn = linear[0]["posterior_predictive"]["y"].transpose("chain", "draw", "train_point").to_numpy()
    for i in range(len(X)):
        for series, exact in ((drawn[..., i], mean[i]), ((drawn[..., i] - mean[i]) ** 2, variance[i] + 0.2)):
            assert abs(series.mean() - exact) < 4 * az.mcse(series)


def test_losses_are_those_of_the_functions(linear):
    posterior, _, yt = linear
    loss = ((posterior["predictions"]["f"] - xr.DataArray(yt, dims="test_point")) ** 2).mean("test_point")
    np.testing.assert_allclose(posterior["posterior"]["test_loss"], loss, rtol=1e-4)


@pytest.mark.long
def test_digits_posterior_has_the_known_test_loss(digits):
    """Erf, N_1 = 100, P = 100, T = 0.05: 0.0370 ± 0.0005, below the proportional limit's 0.0394."""
    X, y, Xt, yt = digits
    net = FullyConnected((100,), "erf")
    posterior = quick(net, X, y, Xt, yt, temperature=0.05, warmup=200, draws=250, chains=2)
    f, loss = posterior["predictions"]["f"].values, posterior["posterior"]["test_loss"].values
    assert max(az.rhat(f[..., i]) for i in range(10)) < 1.03
    error = float(az.mcse(loss))
    assert error < 0.0012
    assert abs(loss.mean() - 0.0370) < 4 * np.hypot(error, 0.0005)


DEEP = FullyConnected((5, 3), "relu", outputs=2, weight_precision=(0.5, 2.0, 3.0), bias_precision=2.0)


@pytest.fixture(scope="module")
def deep():
    """Two layers and two outputs, with all weights."""
    X, y, Xt, yt = small(outputs=2)
    return quick(DEEP, X, y, Xt, yt, keep="weights", seed=3)


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(FullyConnected((5, 3), "relu", bias_precision=2.0), marks=pytest.mark.long),
        pytest.param(FullyConnected((4,), "erf", outputs=2, weight_precision=(0.5, 2.0)), marks=pytest.mark.long),
        DEEP,
    ],
    ids=str,
)
def test_tree_follows_the_schema(net, tmp_path, request):
    X, y, Xt, yt = small(outputs=net.outputs)
    posterior = request.getfixturevalue("deep") if net is DEEP else quick(net, X, y, Xt, yt, keep="weights", seed=3)
    output = ("output",) if net.outputs > 1 else ()
    dims = {
        ("posterior", "readout_norm"): output,
        ("posterior", "kernel_scale"): ("layer",),
        ("posterior", "train_loss"): (),
        ("posterior", "test_loss"): (),
        ("posterior", "W1"): ("feature", "unit_1"),
        ("posterior", "v"): (f"unit_{net.depth}", *output),
        ("predictions", "f"): ("test_point", *output),
        ("log_likelihood", "y"): ("train_point",),
        **{("sample_stats", name): () for name in ("energy", "lp", "num_steps", "accept_prob", "diverging")},
    }
    for (group, name), expected in dims.items():
        assert posterior[group][name].dims == ("chain", "draw", *expected), (group, name)
    assert posterior["observed_data"]["y"].dims == ("train_point", *output)
    assert posterior["constant_data"]["X"].dims == ("train_point", "feature")
    assert posterior["predictions_constant_data"]["X_test"].dims == ("test_point", "feature")
    assert posterior["predictions_constant_data"]["y_test"].dims == ("test_point", *output)
    np.testing.assert_array_equal(posterior["posterior"]["layer"], np.arange(net.depth) + 1)
    attributes = posterior.attrs
    assert FullyConnected(**json.loads(attributes["network"])) == net
    assert (attributes["seed"], attributes["temperature"], attributes["sampler"]) == (3, 0.2, "hmc")
    for name in ("stpbnn_version", "jax_version", "numpyro_version", "device", "wall_time_s", "created_at"):
        assert attributes[name]
    posterior.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as back:
        assert back.equals(posterior)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pareto k: these few draws are no posterior
        assert az.loo(posterior, pointwise=True).elpd_i.shape == (8,)


def test_recorded_functions_are_those_of_the_recorded_weights(deep):
    X, y, Xt, _ = small(outputs=2)
    draw = deep["posterior"].to_dataset().isel(chain=1, draw=7)
    weights = {name: jnp.asarray(draw[name].values) for name in DEEP.shapes(3)}
    f = deep["predictions"]["f"].isel(chain=1, draw=7)
    np.testing.assert_allclose(f, DEEP.forward(weights, jnp.asarray(Xt)), rtol=1e-4, atol=1e-5)
    batched = {name: w[None] for name, w in weights.items()}
    pointwise = log_likelihood(programs.network(DEEP), batched, X, y, temperature=0.2)["y"][0]
    np.testing.assert_allclose(deep["log_likelihood"]["y"].isel(chain=1, draw=7), pointwise, rtol=1e-4)
    np.testing.assert_allclose(draw["readout_norm"], np.mean(draw["v"] ** 2, axis=0), rtol=1e-5)


def test_kernel_scales_by_hand():
    """Two relu layers: κ(a, a, a) = a/2 on the diagonal, so that both traces can be written down."""
    net = FullyConnected((5, 3), "relu", weight_precision=(0.5, 2.0, 3.0), bias_precision=2.0)
    X = np.random.default_rng(0).normal(size=(6, 4))
    weights = net.sample_prior(jax.random.key(0), 4)
    first, second = (np.asarray(h) for h in net.features(weights, jnp.asarray(X)))
    below = (X**2).sum(1) / (0.5 * 4) + 0.5
    expected = [(first**2).mean(1).sum() / (below / 2).sum()]
    below = (first**2).sum(1) / (2.0 * 5) + 0.5
    expected.append((second**2).mean(1).sum() / (below / 2).sum())
    scales = kernel_scales(net, jnp.asarray(X, jnp.float32), [jnp.asarray(first), jnp.asarray(second)])
    np.testing.assert_allclose(scales, expected, rtol=1e-5)


@pytest.mark.long
def test_seeds_and_lean_trees():
    net, (X, y, Xt, _) = FullyConnected((4,)), small()
    one, same, other = (quick(net, X, y, Xt, seed=s)["predictions"]["f"].values for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    lean = quick(net, X, y)
    assert "predictions" not in lean
    assert not {"W1", "v", "test_loss"} & set(lean["posterior"].data_vars)


@pytest.mark.long
@pytest.mark.parametrize(
    ("sampler", "readout"),
    [
        ("mala", "marginal"),
        ("nuts", "explicit"),
        (lambda model: HMC(model, num_steps=5, trajectory_length=None), "explicit"),
    ],
    ids=["mala", "explicit", "callable"],
)
def test_other_samplers(sampler, readout):
    X, y, Xt, _ = small()
    net = FullyConnected((4,), "linear")
    posterior = quick(net, X, y, Xt, sampler=sampler, readout=readout, warmup=300, draws=600)
    f = posterior["predictions"]["f"].values
    mean, _, _ = exact_mixture(X, y, Xt, 4, 0.2)
    for i in range(4):
        assert az.rhat(f[..., i]) < 1.03
        assert abs(f[..., i].mean() - mean[i]) < 4.5 * az.mcse(f[..., i])


@pytest.mark.long
def test_the_unadjusted_sampler_of_the_reference_has_its_step_size_in_its_units():
    X, y, Xt, _ = small()
    net = FullyConnected((4,), weight_precision=(0.5, 3.0))
    named = quick(net, X, y, Xt, sampler="langevin", readout="explicit")
    scales = {"W1": 0.2 * 0.5, "v": 0.2 * 3.0}  # T λ
    made = quick(
        net, X, y, Xt, sampler=lambda model: Langevin(model, step_size=1e-3, scales=scales), readout="explicit"
    )
    np.testing.assert_array_equal(named["predictions"]["f"], made["predictions"]["f"])
    assert set(named["sample_stats"].data_vars) == {"accept_prob", "diverging", "lp", "num_steps", "step_size"}


def test_the_integrated_readout_averages_the_draws_of_the_function(linear):
    """f has the moments that f_mean and f_variance say, draw by draw; its average is the same with more noise."""
    posterior = linear[0]["predictions"].to_dataset()
    score = (posterior["f"] - posterior["f_mean"]) / np.sqrt(posterior["f_variance"])
    for moment, expected, spread in ((score, 0, 1), (score**2, 1, 2**0.5)):
        assert (abs(moment.mean(("chain", "draw")) - expected) < 4.5 * spread / 6000**0.5).all()


@pytest.mark.long
def test_a_chain_that_is_not_hamiltonian():
    X, y, Xt, _ = small()
    posterior = quick(FullyConnected((2,)), X, y, Xt, sampler=numpyro.infer.BarkerMH, warmup=300)
    assert posterior["predictions"]["f"].shape == (2, 20, 4)
    assert posterior.attrs["sampler"] == "BarkerMH"


@pytest.mark.long
def test_temperature_with_a_prior_is_part_of_the_posterior():
    """A linear network on two inputs: p(T | y) by quadrature over Q and T on a grid."""
    X, y = np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, 0.7]]), np.array([1.0, -2.0, 0.5])
    prior = dist.LogNormal(-1.0, 0.7)
    posterior = quick(FullyConnected((3,), "linear"), X, y, temperature=prior, warmup=500, draws=1500)
    draws = posterior["posterior"]["temperature"].transpose("chain", "draw").values
    q, T = np.exp(np.linspace(-5, 3, 300))[:, None], np.exp(np.linspace(-5, 4, 400))[None, :]
    k, U = np.linalg.eigh(X @ X.T / 2)
    A = q[..., None] * k + T[..., None]
    log_weight = -np.sum(np.log(A) + (U.T @ y) ** 2 / A, axis=-1) / 2 + gamma.logpdf(q, 1.5, scale=2 / 3) + np.log(q)
    log_weight += np.asarray(prior.log_prob(T)) + np.log(T)
    weight = np.exp(log_weight - log_weight.max())
    assert az.rhat(draws) < 1.01
    assert abs(draws.mean() - np.sum(weight * T) / weight.sum()) < 4 * az.mcse(draws)


@pytest.mark.long
def test_two_layers_biases_and_two_outputs_against_importance_sampling():
    """Draws from the prior, weighted by the likelihood: few examples at high temperature keep the weights even."""
    net = FullyConnected((4, 3), "erf", outputs=2, weight_precision=(0.5, 2.0, 1.0), bias_precision=2.0)
    X, y, Xt, _ = small(P=3, outputs=2)
    posterior = quick(net, X, y, Xt, temperature=1.0, warmup=400, draws=1000, chains=4)

    @jax.jit
    @jax.vmap
    def draw(key):
        weights = net.sample_prior(key, 3)
        log_likelihood = -jnp.sum((y - net.forward(weights, jnp.asarray(X))) ** 2) / 2
        f = net.forward(weights, jnp.asarray(Xt))
        return log_likelihood, jnp.concatenate([f.ravel(), f.ravel() ** 2, jnp.mean(weights["v"] ** 2, axis=0)])

    log_weights, values = (np.asarray(a, float) for a in draw(jax.random.split(jax.random.key(0), 400_000)))
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    expected = weights @ values
    error = np.sqrt(weights**2 @ (values - expected) ** 2)
    f = posterior["predictions"]["f"].values.reshape(4, 1000, 8)
    sampled = np.concatenate([f, f**2, posterior["posterior"]["readout_norm"].values], axis=-1)
    for i in range(sampled.shape[-1]):
        assert az.rhat(sampled[..., i]) < 1.01
        gap = sampled[..., i].mean() - expected[i]
        assert abs(gap) < 4 * np.hypot(az.mcse(sampled[..., i]), error[i])


def replaced(array, value):
    array = array.copy()
    array.flat[3] = value
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": lambda X: replaced(X, np.nan)}, r"X: got 1 NaN or infinite value, the first at index \(1, 0\)"),
        ({"y": lambda y: replaced(y, np.inf)}, r"y: got 1 NaN or infinite value"),
        ({"X": lambda X: X[:, 0]}, r"X: got 1 dimension, shape \(8,\), expected two"),
        ({"X": lambda X: X[:0], "y": lambda y: y[:0]}, r"X: got shape \(0, 3\), expected at least one example"),
        ({"X": lambda X: X[:5]}, r"y: got shape \(8,\), expected \(5,\)"),
        ({"X": lambda X: X.astype(str)[:, :1] + "a"}, "X: got text, expected numbers"),
        ({"X_test": lambda Xt: Xt[:, :2]}, "X_test: got 2 features, expected 3 as in the training set"),
        ({"X_test": lambda Xt: replaced(Xt, np.nan)}, "X_test: got 1 NaN or infinite value"),
        ({"X_test": lambda Xt: None}, "y_test: got targets without X_test"),
        ({"y_test": lambda yt: yt[:2]}, r"y_test: got shape \(2,\), expected \(4,\)"),
    ],
)
def test_bad_data_are_refused(change, message):
    data = dict(zip(("X", "y", "X_test", "y_test"), small(), strict=True))
    data |= {name: f(data[name]) for name, f in change.items()}
    with pytest.raises(ValueError, match=message):
        stpbnn.sample(FullyConnected((4,)), data.pop("X"), data.pop("y"), **data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature: got 0.0, expected a finite number greater than 0"),
        ({"temperature": -1}, "temperature: got -1"),
        ({"temperature": "hot"}, "temperature: got 'hot'"),
        ({"temperature": dist.Normal()}, "temperature: got a Normal that may fall below 0, and a variance is positive"),
        ({"sampler": "nutz"}, "did you mean 'nuts'"),
        ({"sampler": lambda model: 3}, "sampler: the callable returned 3, expected a NumPyro MCMCKernel"),
        ({"checkpoint": ""}, "checkpoint: got '', expected the path of a folder"),
        ({"checkpoint": 3}, "checkpoint: got 3, expected the path of a folder"),
        ({"block": 30, "draws": 20}, "block: got 30, expected at most the 20 draws"),
        ({"readout": "implicit"}, "did you mean 'explicit'"),
        ({"keep": "weight"}, "did you mean 'weights'"),
        ({"draws": 0}, "draws: got 0, expected an integer of at least 1"),
        ({"chains": 0}, "chains: got 0"),
        ({"warmup": -1}, "warmup: got -1"),
        ({"seed": 1.5}, "seed: got 1.5"),
        ({"seed": 2**70}, "and below 4294967296"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    X, y, _, _ = small()
    with pytest.raises(ValueError, match=message):
        stpbnn.sample(FullyConnected((4,)), X, y, **settings)


def test_only_networks_are_sampled():
    X, y, _, _ = small()
    with pytest.raises(ValueError, match=r"net: got 'erf', expected a stpbnn\.FullyConnected"):
        stpbnn.sample("erf", X, y)
