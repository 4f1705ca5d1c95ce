"""The self-consistent neuron against quadrature, exact linear networks, infinite width and sampled networks."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conformance import checks
from quick_cases import cases
from scipy.integrate import quad
from scipy.optimize import root
from scipy.special import erf
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn import AdaptiveKernelRegressor, FiniteWidthRegressor, FullyConnected, NNGPRegressor
from stpbnn.adaptive.neuron import Drive, log_weight, posterior_readout
from stpbnn.adaptive.particles import move


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # few moves, for speed
@checks(
    AdaptiveKernelRegressor(temperature=1.0, particles=512, max_iter=12),
    long=(  # 200 examples again and again, or shapes of their own
        "check_regressors_train(readonly_memmap=True,X_dtype=float32)",
        "check_regressors_train",
        "check_regressors_train(readonly_memmap=True)",
        "check_regressor_data_not_an_array",
        "check_regressor_multioutput",
        "check_fit_idempotent",
        "check_non_transformer_estimators_n_iter",
        "check_estimators_dtypes",
        "check_methods_subset_invariance",
        "check_positive_only_tag_during_fit",
        "check_fit_check_is_fitted",
    ),
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def data(P=15, N0=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N0)), rng.normal(size=P), rng.normal(size=(7, N0))


def drive(D=1, P=3, precision=2.0, seed=0):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(D * P, D * P)) / 3
    response = (half @ half.T).reshape(D, P, D, P)
    return Drive(jnp.asarray(rng.normal(size=(D, P)) / 2), jnp.asarray(response), jnp.asarray(precision))


@pytest.mark.parametrize("number", [False, True])
@pytest.mark.parametrize("D", [1, 2])
def test_weight_of_a_unit_is_the_integral_over_its_readout(float64, D, number):
    """∫ dv N(v; 0, 1/λ) exp(v a·σ − v v σRσ/2) and the first two moments of v, by a sum over a fine grid."""
    fields, h = drive(D), np.random.default_rng(1).normal(size=(4, 3))
    R = np.asarray(fields.response)
    if number:
        R, fields = 0.7 * np.eye(3 * D).reshape(R.shape), fields._replace(response=jnp.asarray(0.7))
    value, gradient = log_weight(jax.lax.erf, jnp.asarray(h)[:, None], fields)
    readout, *_ = posterior_readout(jnp.asarray(erf(h))[:, None], fields)
    line = np.linspace(-8, 8, 401)
    v = np.stack(np.meshgrid(*[line] * D), axis=-1).reshape(-1, D)
    a, log_norms = np.asarray(fields.field), []
    for i, features in enumerate(erf(h)):
        pull = np.einsum("p,dpeq,q->de", features, R, features)
        density = np.exp(-(v**2).sum(axis=1) + v @ (a @ features) - np.einsum("nd,de,ne->n", v, pull, v) / 2)
        first, second = density @ v / density.sum(), (v.T * density) @ v / density.sum()
        log_norms.append(np.log(density.sum()))
        np.testing.assert_allclose(readout.mean[i, 0], first, rtol=1e-9)
        np.testing.assert_allclose(
            readout.covariance[i, 0, :, 0], second - np.outer(first, first), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(readout.tilt[i], first @ a @ features, rtol=1e-9)
    np.testing.assert_allclose(value - value[0], np.array(log_norms) - log_norms[0], rtol=1e-9)
    for i in range(3):
        shift = 1e-5 * np.eye(3)[i]
        ends = [log_weight(jax.lax.erf, jnp.asarray(h + sign * shift)[:, None], fields)[0] for sign in (1, -1)]
        np.testing.assert_allclose(gradient[:, 0, i], (ends[0] - ends[1]) / 2e-5, rtol=1e-7, atol=1e-9)


def test_moves_sample_the_tilted_law(float64):
    """Moments of one input's pre-activation, C = 1, by quadrature over it; the twins stay normal."""
    fields = Drive(jnp.array([[1.5]]), jnp.full((1, 1, 1, 1), 0.3), jnp.array(1.0))
    one = jnp.ones((1, 1))
    position, seen, twins = jax.random.normal(jax.random.key(0), (4000, 1, 1)), [], []
    for i in range(25):
        moved = move(jnp.tanh, jax.random.key(i + 1), position, one, fields, jnp.int32(2))
        position = moved.position
        if i >= 5:
            seen.append([float(jnp.mean(position**2)), float(moved.moments.kernel[0, 0, 0, 0])])
            twins.append(float(jnp.mean(moved.twin**2)))

    def density(h):
        w = 1 / (1 + 0.3 * np.tanh(h) ** 2)
        return np.exp(-h * h / 2 + w * (1.5 * np.tanh(h)) ** 2 / 2) * np.sqrt(w), w

    norm, square, kernel = (
        quad(lambda h, g=g: density(h)[0] * g(h), -10, 10)[0]
        for g in (lambda h: 1, lambda h: h * h, lambda h: density(h)[1] * np.tanh(h) ** 2)
    )
    seen = np.array(seen)
    error = seen.std(axis=0, ddof=1) / np.sqrt(len(seen)) * 1.5  # moves are nearly independent
    assert (np.abs(seen.mean(axis=0) - np.array([square, kernel]) / norm) < 4 * error).all()
    assert abs(np.mean(twins) - 1) < 4 * np.sqrt(2 / (20 * 4000))


@pytest.mark.long
@pytest.mark.parametrize("reaction", [False, True])
def test_one_example_has_a_fixed_point_by_quadrature(reaction):
    """P = 1, erf: K and G from integrals over h on a grid, solved by scipy; prediction where the features differ."""
    x, y, T, N = np.array([[1.0, -0.5]]), np.array([2.5]), 0.2, 6
    C = (x @ x.T)[0, 0] / 2
    h = np.linspace(-12, 12, 20_001)
    sigma = erf(h)

    def others(G):
        """The variance of all units, and of all but one: Gaussians with the moments of a unit in its field."""
        if not reaction:
            return G, G
        whole = root(lambda s: s - 1 / (N / G - 1 / (T + (1 - 1 / N) * s[0])) * N, [G], tol=1e-12).x[0]
        return whole, (1 - 1 / N) * whole

    def unit(K, G):
        R = 1 / (T + others(G)[1])
        a = y[0] / (K + T - T * R * K / N) if reaction else y[0] / (K + T)
        w = 1 / (1 + sigma**2 * R / N)
        density = np.sqrt(w) * np.exp(-h * h / (2 * C) + w * (a * sigma) ** 2 / (2 * N))
        density /= density.sum()
        new = density @ (w * sigma**2)
        first = density @ (w * a * sigma**2)
        return new, new + (density @ (w * a * sigma**2) ** 2 - first**2) / N, a

    K, G = root(lambda k: np.array(unit(*k)[:2]) - k, [0.3, 0.4], tol=1e-12).x
    net = FullyConnected((N,), "erf")
    model = AdaptiveKernelRegressor(
        net, temperature=T, particles=4096, max_iter=160, reaction=reaction, random_state=0
    ).fit(x, y)
    assert model.converged_
    np.testing.assert_allclose(model.kernel_, [[K]], rtol=0.01)
    mean, std = model.predict(x, return_std=True)
    adapted = others(G)[0]
    error = model.standard_error(x)
    assert abs(mean[0] - K * unit(K, G)[2]) < 5 * error.mean[0] + 1e-4
    assert abs(std[0] ** 2 - adapted * T / (adapted + T)) < 5 * error.variance[0] + 1e-4


@pytest.mark.parametrize("bias_precision", cases([2.0], [None, 2.0]))
def test_linear_networks_are_nearly_exact(bias_precision):
    """The mixture over the order parameter is exact; with reaction terms what is left is of order 1/N²."""
    X, y, Xt = data()
    net = FullyConnected((30,), "linear", weight_precision=(0.5, 2.0), bias_precision=bias_precision)
    exact = FiniteWidthRegressor(net, temperature=0.1).fit(X, 3 * y).predictive(Xt)
    limit = NNGPRegressor(net, temperature=0.1).fit(X, 3 * y).predictive(Xt)
    model = AdaptiveKernelRegressor(net, temperature=0.1, particles=2048, random_state=0).fit(X, 3 * y)
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert model.converged_
    assert (np.abs(law.mean - exact.mean) < 5 * error.mean + 0.2 * np.abs(limit.mean - exact.mean).max()).all()
    scale = np.abs(limit.variance - exact.variance).max()
    assert (np.abs(law.variance - exact.variance) < 5 * error.variance + 0.2 * scale).all()
    assert np.abs(limit.mean - exact.mean).max() > 10 * error.mean.max()


@pytest.mark.parametrize("activation", cases(["relu"], ["erf", "relu"]))
def test_wide_networks_are_infinite_ones(activation):
    X, y, Xt = data()
    net = FullyConnected((10**6,), activation, weight_precision=(0.5, 2.0), bias_precision=2.0)
    limit = NNGPRegressor(net, temperature=0.1).fit(X, y).predictive(Xt, joint=True)
    model = AdaptiveKernelRegressor(net, temperature=0.1, particles=1024, max_iter=60, random_state=0).fit(X, y)
    law = model.predictive(Xt, joint=True)
    np.testing.assert_allclose(law.mean, limit.mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(law.covariance, limit.covariance, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.predict(Xt, return_std=True)[1] ** 2, np.diag(law.covariance), rtol=1e-6)


@pytest.mark.long
def test_small_erf_network_against_sampling():
    """NUTS over the weights; the theory leaves out 1/N², and predicts better than infinite width."""
    X, y, Xt = data(P=8)
    net = FullyConnected((20,), "erf")
    posterior = stpbnn.sample(
        net, X, 2 * y, temperature=0.1, X_test=Xt, warmup=200, draws=400, chains=4, progress=False
    )
    f = posterior["predictions"]["f_mean"]
    assert float(az.rhat(f).max()) < 1.02
    sampled, error = f.mean(("chain", "draw")).values, az.mcse(f).values
    model = AdaptiveKernelRegressor(net, temperature=0.1, random_state=0).fit(X, 2 * y)
    limit = NNGPRegressor(net, temperature=0.1).fit(X, 2 * y).predict(Xt)
    gap = np.abs(model.predict(Xt) - sampled)
    assert (gap < 4 * np.hypot(error, model.standard_error(Xt).mean) + 0.05).all()
    assert np.linalg.norm(gap) < 0.5 * np.linalg.norm(limit - sampled)


@pytest.mark.long
def test_two_outputs_of_a_small_network_against_sampling():
    """The outputs share the hidden units: both means follow, and the readout's second moments with them."""
    X, _, Xt = data(P=8)
    Y = 2 * np.random.default_rng(1).normal(size=(8, 2))
    net = FullyConnected((20,), "erf", outputs=2, bias_precision=2.0)
    settings = {"warmup": 200, "draws": 400, "chains": 4, "progress": False}
    posterior = stpbnn.sample(net, X, Y, temperature=0.1, X_test=Xt, **settings)["predictions"]
    f = posterior["f_mean"]
    assert float(az.rhat(f).max()) < 1.02
    sampled, error = f.mean(("chain", "draw")).values, az.mcse(f).values
    variance = (f.var(("chain", "draw")) + posterior["f_variance"].mean(("chain", "draw"))).values
    model = AdaptiveKernelRegressor(net, temperature=0.1, particles=2048, random_state=0).fit(X, Y)
    law, limit = model.predictive(Xt), NNGPRegressor(net, temperature=0.1).fit(X, Y).predictive(Xt)
    gap = np.abs(law.mean - sampled)
    assert (gap < 4 * np.hypot(error, model.standard_error(Xt).mean) + 0.05).all()
    assert np.linalg.norm(gap) < 0.2 * np.linalg.norm(limit.mean - sampled)
    assert np.linalg.norm(law.variance - variance) < 0.3 * np.linalg.norm(limit.variance - variance)
    joint = model.predictive(Xt, joint=True)
    np.testing.assert_allclose(joint.variance, law.variance, rtol=1e-9)
    assert joint.covariance.shape == (7, 7, 2)
    assert model.kernel_.shape == (2, 2, 8, 8)
    total = model.generalization_error_standard_error(Xt, sampled).total
    assert 0 < total < model.generalization_error(Xt, sampled).total


@pytest.mark.long
def test_log_evidence_of_linear_networks():
    """Exact by the mixture over the order parameter; the Bethe free energy leaves out less than 1/N of the gap."""
    X, y, _ = data()
    for N, bias in ((10, None), (30, 2.0)):
        net = FullyConnected((N,), "linear", weight_precision=(0.5, 2.0), bias_precision=bias)
        models = [
            AdaptiveKernelRegressor(net, temperature=0.3, particles=4096, random_state=seed).fit(X, y)
            for seed in range(3)
        ]
        found = [model.log_marginal_likelihood_ for model in models]
        error = np.std(found, ddof=1) / np.sqrt(3)
        exact = FiniteWidthRegressor(net, temperature=0.3).fit(X, y).log_marginal_likelihood_
        limit = NNGPRegressor(net, temperature=0.3).fit(X, y).log_marginal_likelihood_
        assert abs(np.mean(found) - exact) < 5 * error + abs(limit - exact) / N
        assert 5 * error < abs(limit - exact)


@pytest.mark.long
def test_log_evidence_of_small_networks_by_drawing_from_the_prior():
    """log E exp(−|y − f|²/2T) over a million networks of eight erf units."""
    rng = np.random.default_rng(0)
    X, y, N, T = rng.normal(size=(3, 2)), np.array([1.5, -1.0, 0.5]), 8, 0.3
    W = rng.standard_normal((1_000_000, N, 2), dtype=np.float32) / np.sqrt(2)
    v = rng.standard_normal((1_000_000, N), dtype=np.float32) / np.sqrt(N)
    f = np.einsum("mn,mnp->mp", v, erf(W @ X.T.astype(np.float32)))
    density = np.exp(-((f - y) ** 2).sum(axis=1, dtype=float) / (2 * T)) / (2 * np.pi * T) ** 1.5
    drawn, error = np.log(density.mean()), density.std() / density.mean() / np.sqrt(len(density))
    net = FullyConnected((N,), "erf")
    found = AdaptiveKernelRegressor(net, temperature=T, random_state=0).fit(X, y).log_marginal_likelihood_
    limit = NNGPRegressor(net, temperature=T).fit(X, y).log_marginal_likelihood_
    assert abs(found - drawn) < 4 * error + 0.2 * abs(limit - drawn)


@pytest.mark.long
def test_two_starts_meet():
    X, y, _ = data()
    net = FullyConnected((20,), "erf")
    model = AdaptiveKernelRegressor(net, temperature=0.1, second_start=True, random_state=0).fit(X, y)
    first, second = model.fixed_points_
    assert {first.start, second.start} == {"prior", "tilted"}
    assert first.converged
    assert second.converged
    assert first.log_evidence >= second.log_evidence > first.log_evidence - 0.5
    np.testing.assert_allclose(first.readout_second_moment, second.readout_second_moment, rtol=0.03)
    assert model.log_marginal_likelihood_ == first.log_evidence


@pytest.mark.long
def test_standard_errors_are_the_spread_over_seeds():
    X, y, Xt = data()
    net = FullyConnected((20,), "erf")
    settings = {"temperature": 0.1, "particles": 256}
    models = [AdaptiveKernelRegressor(net, random_state=seed, **settings).fit(X, y) for seed in range(12)]
    spread = np.std([m.predict(Xt) for m in models], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([m.standard_error(Xt).mean ** 2 for m in models], axis=0))
    ratio = np.sqrt(np.mean((spread / claimed) ** 2))
    assert 0.65 < ratio < 1.5


def test_seeds_repeat_and_differ(tmp_path):
    X, y, Xt = data()
    net = FullyConnected((20,), "relu")
    settings = {"temperature": 0.1, "particles": 256, "max_iter": 60}
    first, again, other = (AdaptiveKernelRegressor(net, random_state=s, **settings).fit(X, y) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.predict(Xt), again.predict(Xt))
    assert np.abs(first.predict(Xt) - other.predict(Xt)).max() > 0
    stpbnn.save(first, tmp_path / "model.npz")
    loaded = stpbnn.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(Xt), first.predict(Xt))
    assert loaded.readout_second_moment_ == first.readout_second_moment_


def test_bad_input_is_refused_and_trouble_reported():
    X, y, _ = data()
    with pytest.raises(ValueError, match="temperature: got 0, expected a number greater than 0"):
        AdaptiveKernelRegressor(temperature=0).fit(X, y)
    with pytest.raises(ValueError, match="for 3 hidden layers and 1 output, expected one of 5, auto"):
        AdaptiveKernelRegressor(FullyConnected((5, 5, 5))).fit(X, y)
    with pytest.raises(ValueError, match="particles: got 3"):
        AdaptiveKernelRegressor(particles=3).fit(X, y)
    with pytest.warns(UserWarning, match="particles: got 28 for 15 examples, expected at least 30"):
        AdaptiveKernelRegressor(FullyConnected((10**6,)), temperature=1.0, particles=28, random_state=0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="has not settled"):
        model = AdaptiveKernelRegressor(
            FullyConnected((2,), "linear"), temperature=1e-3, particles=64, max_iter=12, random_state=0
        ).fit(X, 1000 * y)
    assert not model.converged_
