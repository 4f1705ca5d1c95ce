"""Several hidden layers of the adaptive kernel: units by drawing, exact linear networks, sampled ones, bad input."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_cases import cases
from scipy.special import erf

import stpbnn
from stpbnn import AdaptiveKernelRegressor, FiniteWidthRegressor, FullyConnected, NNGPRegressor
from stpbnn.adaptive.below import LayerBelow, modes, move_below
from stpbnn.adaptive.fields import Averages, Problem
from stpbnn.adaptive.layers import Lower, Upper, Whole, backward, features
from stpbnn.adaptive.neuron import Drive, Readout, log_weight, moments_of_clusters, posterior_readout
from stpbnn.adaptive.search import Start, _Walkers


def data(P=10, N0=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N0)), rng.normal(size=P), rng.normal(size=(7, N0))


def felt(rng, P=3, K=2):
    half = rng.normal(size=(P, P)) / 2
    fields = jnp.asarray(rng.normal(size=(1, P))), jnp.asarray((half @ half.T)[None, :, None])
    return Drive(*fields, jnp.asarray(2.0), jnp.asarray(rng.normal(size=(K, P)) / 2))


def test_a_unit_above_by_drawing_its_readouts(float64):
    """E exp(a·x − xRx/2) over v and u of x = v σ(g) + Σ u_k φ_k g, and the moments of the share v σ(g) under it."""
    rng = np.random.default_rng(3)
    drive, root, z = felt(rng), rng.normal(size=(3, 3)), rng.normal(size=(1, 1, 3))
    there = features(Upper(jax.lax.erf), jnp.asarray(z), jnp.asarray(root), drive.modes)
    readout, *_ = posterior_readout(there, drive)
    moments = moments_of_clusters(there, readout, there[:, :1], drive.precision)
    g = root @ z[0, 0]
    v, u = np.split(rng.standard_normal((400_000, 3)) / np.sqrt(2), [1], axis=1)
    own = v * erf(g)
    x = own + u @ (np.asarray(drive.modes) * g)
    a, R = np.asarray(drive.field[0]), np.asarray(drive.response[0, :, 0])
    weights = np.exp(x @ a - np.einsum("mp,pq,mq->m", x, R, x) / 2)
    none = float(log_weight(lambda z: 0 * z, jnp.zeros_like(there), drive)[0][0])
    value = float(log_weight(lambda z: features(Upper(jax.lax.erf), z, jnp.asarray(root), drive.modes), z, drive)[0][0])
    assert value - none == pytest.approx(np.log(weights.mean()), abs=0.01)
    weights /= weights.sum()
    np.testing.assert_allclose(moments.second[0, 0], (own.T * weights) @ own, atol=0.01)
    np.testing.assert_allclose(moments.mean[0], weights @ own, atol=0.01)
    np.testing.assert_allclose(moments.kernel[0, 0] @ a, weights @ own, atol=0.01)


def test_a_unit_below_by_drawing_its_readouts(float64):
    """Moments of x = Σ u_k φ_k σ(h), in the prior and in the fields, at the features where a move ends."""
    rng = np.random.default_rng(4)
    drive, root, z = felt(rng), jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=(1, 1, 2)))
    position, prior, second, mean, lost = move_below(Lower(jnp.tanh), jax.random.key(0), z, root, drive, jnp.int32(2))
    shares = np.asarray(drive.modes) * np.tanh(np.asarray(root) @ np.asarray(position[0, 0]))
    u = rng.standard_normal((400_000, 2)) / np.sqrt(2)
    x, signal = u @ shares, u @ np.asarray(drive.modes)
    a, R = np.asarray(drive.field[0]), np.asarray(drive.response[0, :, 0])
    weights = np.exp(x @ a - np.einsum("mp,pq,mq->m", x, R, x) / 2)
    weights /= weights.sum()
    np.testing.assert_allclose(prior, shares.T @ shares / 2, rtol=1e-9)
    np.testing.assert_allclose(second, (x.T * weights) @ x, atol=0.02)
    np.testing.assert_allclose(mean, weights @ x, atol=0.02)
    assert float(lost) == pytest.approx(((signal**2).mean(axis=0) - weights @ signal**2).sum(), abs=0.02)


def test_backward_signals_and_their_modes(float64):
    """E[v² σ'σ'^T] of two units by NumPy; three modes hold what a matrix of rank two is."""
    rng = np.random.default_rng(5)
    z, root, w, m = rng.normal(size=(2, 1, 4)), rng.normal(size=(4, 4)), rng.uniform(size=2), rng.normal(size=2)
    readout = Readout(jnp.asarray(w.reshape(2, 1, 1, 1, 1)), jnp.asarray(m.reshape(2, 1, 1)), jnp.zeros(2))
    there = features(Upper(jnp.tanh), jnp.asarray(z), jnp.asarray(root), jnp.ones((0, 4)))
    found = np.asarray(backward(Upper(jnp.tanh), jnp.asarray(z), jnp.asarray(root), there, readout).slopes)
    slopes = 1 / np.cosh(z[:, 0] @ root.T) ** 2
    np.testing.assert_allclose(found, slopes.T * (w + m**2) @ slopes / 2, rtol=1e-12)
    problem = Problem(np.ones(4), root, np.eye(4), Upper(jnp.tanh), 0.1, 5, 3.0)
    kept = np.asarray(modes(problem, LayerBelow(found, m)), dtype=float)
    np.testing.assert_allclose((kept.T @ kept)[:4, :4] / 3, 0.8 * found, atol=1e-6)  # of four of five units


@pytest.mark.parametrize("bias_precision", [None, 4.0])
@pytest.mark.parametrize("widths", [(3, 3), (4, 2), (2, 5), (2, 5, 3), (3, 4, 2, 3)])
def test_a_network_as_one_cluster_has_the_features_of_the_network(widths, bias_precision):
    precisions = (2.0, 0.5, 3.0)[: len(widths) - 1]
    net = FullyConnected(widths, "erf", weight_precision=(1.0, *precisions, 1.0), bias_precision=bias_precision)
    weights = {name: np.asarray(w) for name, w in net.sample_prior(jax.random.key(0), n_features=2).items()}
    X = np.random.default_rng(0).normal(size=(5, 2))
    blocks, root = [weights[f"W{layer + 1}"].T for layer in range(len(widths))], X / np.sqrt(2)
    if bias_precision:
        blocks = [np.column_stack([block, weights[f"b{layer + 1}"]]) for layer, block in enumerate(blocks)]
        root = np.column_stack([root, np.full(5, 0.5)])
    z = [np.full((max(widths), block.shape[1]), 9.0) for block in blocks]  # what is free has no part in it
    for filled, block in zip(z, blocks, strict=True):
        filled[: len(block)] = block
    sigma = Whole(jax.lax.erf, precisions, widths, 0.5 if bias_precision else 0.0)
    found = features(sigma, jnp.asarray(np.column_stack(z[::-1]))[None], jnp.asarray(root), None)[0]
    np.testing.assert_allclose(found.T, net.features(weights, X)[-1], rtol=1e-5, atol=1e-6)


def test_the_second_role_of_a_unit_has_no_bias(float64):
    z, root, modes_ = np.ones((1, 1, 3)), np.array([[0.5, 1.0, 2.0], [0.5, -1.0, 3.0]]), np.array([[1.0, 2.0]])
    found = features(Upper(jax.lax.erf, 0.5), jnp.asarray(z), jnp.asarray(root), jnp.asarray(modes_))
    np.testing.assert_allclose(found[0], [erf([3.5, 2.5]), [3.0, 4.0]], rtol=1e-12)


@pytest.mark.long
def test_wide_networks_are_infinite_ones():
    """Widths that differ, precisions and biases of both layers."""
    X, y, Xt = data()
    net = FullyConnected((10**6, 3 * 10**5), "erf", weight_precision=(0.5, 2.0, 1.5), bias_precision=2.0)
    limit = NNGPRegressor(net, temperature=0.1).fit(X, y).predictive(Xt, joint=True)
    model = AdaptiveKernelRegressor(net, temperature=0.1, particles=512, max_iter=24, random_state=0).fit(X, y)
    law = model.predictive(Xt, joint=True)
    np.testing.assert_allclose(law.mean, limit.mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(law.covariance, limit.covariance, rtol=1e-3, atol=1e-3)
    assert np.isnan(model.log_marginal_likelihood_)


@pytest.fixture(scope="module", params=cases([((4, 2, 3),)], [(4, 2, 3), (4, 3)]))
def whole(request):
    """A linear network of two or three layers as one cluster, with biases, and its exact posterior."""
    X, y, Xt = data(P=6)
    precisions = (0.5, 2.0, 1.5, 0.7)[: len(request.param) + 1]
    net = FullyConnected(request.param, "linear", weight_precision=precisions, bias_precision=2.0)
    settings = {"temperature": 0.2, "particles": 512, "max_iter": 140, "random_state": 1}
    return AdaptiveKernelRegressor(net, cluster="auto" if net.depth > 2 else 3, **settings).fit(X, y), net, X, y, Xt


def test_a_cluster_that_is_the_network_is_exact(whole):
    """Mean and variance of the mixture over both order parameters."""
    model, net, X, y, Xt = whole
    truth, error = FiniteWidthRegressor(net, temperature=0.2).fit(X, y).predictive(Xt), model.standard_error(Xt)
    law = model.predictive(Xt, joint=True)
    assert model.converged_
    assert (np.abs(law.mean - truth.mean) < 5 * error.mean + 1e-3).all()
    assert (np.abs(law.variance - truth.variance) < 5 * error.variance + 0.01 * truth.variance).all()
    assert (error.mean < 0.1 * truth.std).all()
    np.testing.assert_allclose(model.predictive(Xt).variance, law.variance, rtol=1e-9)
    np.testing.assert_array_equal(model.systematic_error(Xt).mean, 0)


@pytest.mark.long
def test_log_evidence_of_a_cluster_that_is_the_network(whole):
    model, net, X, y, _ = whole
    exact = FiniteWidthRegressor(net, temperature=0.2).fit(X, y)
    assert model.log_marginal_likelihood_ == pytest.approx(exact.log_marginal_likelihood_, abs=0.1)


def test_the_file_predicts_the_same(whole, tmp_path):
    model, *_, Xt = whole
    stpbnn.save(model, tmp_path / "model.npz")
    loaded = stpbnn.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(Xt), model.predict(Xt))
    np.testing.assert_array_equal(loaded.standard_error(Xt).variance, model.standard_error(Xt).variance)


@pytest.mark.long
@pytest.mark.parametrize(("widths", "bias_precision"), [((40, 40), None), ((160, 160), None), ((120, 40), 2.0)])
def test_single_units_of_linear_networks(widths, bias_precision, tmp_path):
    """The mixture is exact; it differs from its saddle point by a relative 1/N."""
    rng = np.random.default_rng(1)
    X, Xt = rng.normal(size=(30, 40)), rng.normal(size=(9, 40))
    y = X @ rng.normal(size=40) / 3
    net, N = FullyConnected(widths, "linear", bias_precision=bias_precision), min(widths)
    exact = FiniteWidthRegressor(net, temperature=0.1).fit(X, y).predictive(Xt)
    model = AdaptiveKernelRegressor(net, temperature=0.1, random_state=0).fit(X, y)
    law, error = model.predictive(Xt, joint=True), model.standard_error(Xt)
    assert model.converged_
    assert (np.abs(law.mean - exact.mean) < 5 * error.mean + 0.5 / N * exact.std).all()
    np.testing.assert_allclose(law.variance, exact.variance, rtol=0.02 + 1 / N)
    np.testing.assert_allclose(model.predictive(Xt).variance, law.variance, rtol=0.02)
    stpbnn.save(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(stpbnn.load(tmp_path / "model.npz").predict(Xt), model.predict(Xt))


@pytest.mark.long
@pytest.mark.parametrize("widths", [(4, 5), (3, 4, 3)])
def test_two_outputs_of_a_network_that_is_one_cluster(widths):
    """Mean and variance of both, against the mixture over matrices of order parameters."""
    X, y, Xt = data(P=5)
    Y, net = np.column_stack([y, np.roll(y, 2)]), FullyConnected(widths, "linear", outputs=2)
    truth = FiniteWidthRegressor(net, temperature=0.2, random_state=0).fit(X, Y).predictive(Xt)
    model = AdaptiveKernelRegressor(net, temperature=0.2, cluster="auto", particles=4096, random_state=0).fit(X, Y)
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert model.converged_
    assert (np.abs(law.mean - truth.mean) < 5 * error.mean + 0.02 * truth.std).all()
    assert (np.abs(law.variance - truth.variance) < 5 * error.variance + 0.02 * truth.variance).all()


@pytest.mark.long
@pytest.mark.parametrize("widths", [(4, 4), (4, 4, 4)])
def test_a_cluster_that_is_the_network_against_sampling(widths):
    """Replica exchange is the reference: variances of Hamiltonian chains of 2,000 draws differ by a tenth."""
    X, _, Xt = data()
    y = 2 * np.random.default_rng(1).normal(size=10)
    net = FullyConnected(widths, "erf")
    settings = {"sampler": "tempered", "warmup": 1000, "draws": 8000, "chains": 4, "progress": False}
    posterior = stpbnn.sample(net, X, y, temperature=0.1, X_test=Xt, **settings)
    f = posterior["predictions"]["f_mean"]
    assert float(az.rhat(f).max()) < 1.01
    variance = f.var(("chain", "draw")) + posterior["predictions"]["f_variance"].mean(("chain", "draw"))
    settings = {"temperature": 0.1, "particles": 4096, "max_iter": 800, "random_state": 0}
    model = AdaptiveKernelRegressor(net, cluster=4, **settings).fit(X, y)
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert model.converged_
    assert (np.abs(law.mean - f.mean(("chain", "draw")).values) < 5 * np.hypot(error.mean, az.mcse(f).values)).all()
    np.testing.assert_allclose(law.variance, variance, rtol=0.1)


@pytest.mark.parametrize(
    ("residual", "covariance", "lost"), [(1.0, 1.0, False), (1.0, 1e7, True), (1.0, np.nan, True), (100.0, 1.0, True)]
)
def test_residuals_and_covariances_beyond_all_bounds_are_no_solution(residual, covariance, lost):
    """Times the targets, and times the kernel of infinite width: of two layers G can run away where K_w does not."""
    K, T = np.eye(4), 0.1
    walkers = _Walkers(Problem(np.ones(4), K, K, jnp.tanh, T, 5, 1.0), 64, 0, Start(K, K))
    walkers._approach(walkers.populations[0], residual * np.ones(4) / T, Averages(K, covariance * K, np.zeros(4)))
    assert bool(walkers.lost) is lost


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (
            FullyConnected((5, 5, 7)),
            {},
            r"got 1 for 3 hidden layers and 1 output, expected one of 7, auto",
        ),
        (FullyConnected((5, 6), outputs=2), {}, r"got 1 for 2 hidden layers and 2 .* one of 6, auto"),
        (FullyConnected((5, 6)), {"cluster": 2}, "cluster: got 2 for 2 hidden layers .* one of 1, 6, auto"),
        (FullyConnected((6, 6)), {"second_start": True}, "second_start: got True for 2 hidden layers"),
    ],
)
def test_what_is_not_known_of_deep_networks_is_refused(net, settings, message):
    X, y, _ = data()
    with pytest.raises(ValueError, match=message):
        AdaptiveKernelRegressor(net, **settings).fit(X, y if net.outputs == 1 else np.column_stack([y, y]))
