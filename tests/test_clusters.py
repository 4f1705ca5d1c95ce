"""Clusters of hidden units: n = N against exact and sampled posteriors, the doubling of n, bad input."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf
from scipy.stats import sem
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn import AdaptiveKernelRegressor, FiniteWidthRegressor, FullyConnected
from stpbnn.adaptive import RowSpace, Start, doubled, doubling, posed
from stpbnn.adaptive.fields import Averages, Problem
from stpbnn.adaptive.neuron import Drive, log_weight, moments_of_clusters, posterior_readout
from stpbnn.adaptive.search import ROUND, SETTLING, _Walkers, solve
from stpbnn.adaptive.settled import checked, monte_carlo_error, moved, summary


def data(P=10, N0=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N0)), rng.normal(size=P), rng.normal(size=(7, N0))


@pytest.mark.parametrize("number", [False, True])
@pytest.mark.parametrize("D", [1, 2])
def test_weight_and_moments_of_a_cluster_by_drawing_its_readouts(float64, D, number):
    """Two units and three examples: E exp(a·x − xRx/2) over readouts, and moments of x under it, by drawing."""
    rng, n, P, N = np.random.default_rng(2), 2, 3, 5.0
    half = rng.normal(size=(D * P, D * P)) / 2
    R, a, h = half @ half.T, rng.normal(size=(D, P)), rng.normal(size=(1, n, P))
    fields = Drive(jnp.asarray(a / np.sqrt(N)), jnp.asarray(R.reshape(D, P, D, P) / N), jnp.asarray(2.0))
    if number:
        R, fields = 0.5 * np.eye(D * P), fields._replace(response=jnp.asarray(0.5 / N))
    readout, *_ = posterior_readout(jnp.asarray(erf(h)), fields)
    moments = moments_of_clusters(jnp.asarray(erf(h)), readout, jnp.asarray(erf(h)), fields.precision)
    v = rng.standard_normal((200_000, n, D)) / np.sqrt(2.0)
    x = np.einsum("mid,ip->mdp", np.concatenate([v, -v]), erf(h[0])).reshape(-1, D * P) / np.sqrt(N)
    weights = np.exp(x @ a.ravel() - np.einsum("mp,pq,mq->m", x, R, x) / 2)
    value = float(
        log_weight(jax.lax.erf, jnp.asarray(h), fields)[0][0] - log_weight(jax.lax.erf, jnp.zeros_like(h), fields)[0][0]
    )
    assert value == pytest.approx(np.log(weights.mean()), abs=0.02)
    weights /= weights.sum()
    second = (x.T * weights) @ x * N / n
    np.testing.assert_allclose(blocks(moments.second), second, atol=0.03 * np.abs(second).max())
    np.testing.assert_allclose(np.ravel(moments.mean), np.sqrt(N / n) * weights @ x, atol=0.03 * np.sqrt(second.max()))
    np.testing.assert_allclose(
        blocks(moments.kernel) @ a.ravel() * n / N, weights @ x, atol=0.03 * np.sqrt(second.max())
    )


def blocks(kernel):
    D, _, P, _ = kernel.shape
    return np.asarray(kernel).transpose(0, 2, 1, 3).reshape(D * P, D * P)


@pytest.fixture(scope="module")
def whole():
    """A linear network as one cluster, with biases, and the exact posterior."""
    X, y, Xt = data()
    net = FullyConnected((4,), "linear", weight_precision=(0.5, 2.0), bias_precision=2.0)
    settings = {"temperature": 0.1, "particles": 512, "max_iter": 140, "random_state": 0}
    return AdaptiveKernelRegressor(net, cluster=4, **settings).fit(X, y), net, X, y, Xt


def test_a_cluster_that_is_the_network_is_exact(whole):
    """The mixture over the order parameter: mean, variance and joint law."""
    model, net, X, y, Xt = whole
    exact = FiniteWidthRegressor(net, temperature=0.1).fit(X, y)
    law, error, truth = model.predictive(Xt, joint=True), model.standard_error(Xt), exact.predictive(Xt)
    assert model.converged_
    assert (np.abs(law.mean - truth.mean) < 5 * error.mean + 1e-3).all()
    assert (np.abs(law.variance - truth.variance) < 5 * error.variance + 0.01 * truth.variance).all()
    assert (error.mean < 0.1 * truth.std).all()
    np.testing.assert_allclose(model.predictive(Xt).variance, law.variance, rtol=1e-9)
    np.testing.assert_array_equal(model.systematic_error(Xt).mean, 0)


@pytest.mark.long
def test_log_evidence_of_a_cluster_that_is_the_network(whole):
    model, net, X, y, _ = whole
    exact = FiniteWidthRegressor(net, temperature=0.1).fit(X, y)
    assert model.log_marginal_likelihood_ == pytest.approx(exact.log_marginal_likelihood_, abs=0.1)


def test_the_file_of_a_cluster_predicts_the_same(whole, tmp_path):
    model, *_, Xt = whole
    stpbnn.save(model, tmp_path / "model.npz")
    loaded = stpbnn.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(Xt), model.predict(Xt))
    np.testing.assert_array_equal(loaded.standard_error(Xt).variance, model.standard_error(Xt).variance)
    assert (loaded.cluster_, loaded.converged_, loaded.particle_bias_) == (4, True, model.particle_bias_)


@pytest.mark.parametrize(("D", "bias"), [(1, 0.0), (1, 2.0), (2, 2.0)])
def test_what_tells_that_a_network_has_settled_is_its_error_at_training_inputs(D, bias):
    """Units whose sum u is Gaussian: K and G by conditioning u on y, the error by conditioning f, u with its bias."""
    rng, P, T = np.random.default_rng(0), 4, 0.3
    half, y = rng.normal(size=(D * P, D * P)), rng.normal(size=D * P) + 3
    u, noise = half @ half.T, np.kron(np.eye(D), np.full((P, P), bias)) + T * np.eye(D * P)
    f, gain = u + noise - T * np.eye(D * P), np.linalg.inv(u + noise)
    problem = Problem(y, np.eye(P), np.eye(P), jnp.tanh, T, 3, 1.0, bias, cluster=3)
    found = summary(problem, Averages(u @ gain @ noise, u - u @ gain @ u, np.zeros(D * P)))
    truth = [np.mean((y - f @ gain @ y) ** 2), np.mean(np.diag(f - f @ gain @ f))]
    np.testing.assert_allclose(found, truth, rtol=1e-8)


def populations(mean, error, size=4):
    """Return numbers of populations, of that mean and standard error of the mean, SciPy's."""
    rows = np.linspace(-1, 1, size)[:, None] * np.ones(2)
    return np.asarray(mean) + rows * error / sem(rows[:, 0])


@pytest.mark.parametrize(("change", "told"), [(0.9, False), (1.1, True)])
def test_a_prediction_moves_where_it_changes_by_more_than_its_standard_error(change, told):
    """Standard errors of 0.03 and 0.04, together 0.05; either of two numbers may move; half a per cent never counts."""
    here, before = populations([1, 1], 0.03), populations([1, 1 - 0.05 * change], 0.04)
    assert moved(here, before) == told
    assert not moved(100 + here / 10, 100 + before / 10)


def test_the_error_of_a_fit_is_that_of_its_populations_and_what_half_of_the_particles_change():
    """sem(rows)², and of δ² what is beyond twice the noise of δ: 1 + 4 of it, for two of half the particles."""
    whole = populations([1, 1], 0.1)
    for change, more in ((0.3, 0.0), (1.0, 1.0 - 4 * 0.01 * (1 + 4))):
        halved = np.full((2, 2), 1 + change)
        np.testing.assert_allclose(monte_carlo_error(whole, halved), np.sqrt(0.01 + more), rtol=1e-9)
    np.testing.assert_allclose(monte_carlo_error(whole, np.empty((0, 2))), 0.1, rtol=1e-9)


@pytest.mark.parametrize(
    ("drift", "halved", "failed"),
    [
        (3.9, 0.0, []),
        (4.1, 0.0, ["drift"]),
        (0.0, 2.9, []),
        (0.0, 3.1, ["particles"]),
        (4.1, 3.1, ["drift", "particles"]),
    ],
)
def test_searches_that_drift_or_depend_on_the_particles_have_not_settled(drift, halved, failed):
    """In standard errors of the difference between halves of a round, and between fewer particles and the rest."""
    error = 0.01
    change = populations([drift * error, 0], error)
    rows = np.stack([1 - change / 2, 1 + change / 2], axis=1) + populations([0, 0], error)[:, None]
    spread = sem(rows.mean(axis=1), axis=0)
    fewer = rows.mean(axis=(0, 1)) + halved * spread * np.sqrt(1 + 2 * 4 / 2)
    found = checked(np.concatenate([rows, np.broadcast_to(fewer, (2, 2, 2))]), 4)
    assert found[2] == failed
    assert found[:2] == (pytest.approx(drift), pytest.approx(halved, abs=1e-9))


@pytest.mark.parametrize(
    ("changes", "sizes"), [((0, 0, 0), [2, 1]), ((1, 0, 0), [4, 2, 1]), ((1, 1, 1), [12, 4, 2, 1])]
)
def test_clusters_double_while_the_prediction_moves(monkeypatch, changes, sizes):
    """Searches that settle at numbers that move, or do not, from one size to the next."""
    X, y, _ = data(P=3)
    net = FullyConnected((12,), "linear")
    problem = posed(net, X, y, 0.5, RowSpace.of(net.prior, X), reaction=True)
    start = Start(problem.kernel, problem.kernel)
    settled = solve(problem, start, 16, 0, 12)._replace(failed=())
    at = dict(zip((1, 2, 4, 12), np.cumsum((0, *changes)), strict=True))
    monkeypatch.setattr(doubling, "solve", lambda here, *_: settled._replace(tilt=here.cluster))
    monkeypatch.setattr(doubling, "summary", lambda here, _: [1.0 + at[here.cluster], 1.0])
    found = doubled(problem, start, particles=16, seed=0, max_iter=12, fits=lambda cluster: True)
    assert [each.tilt for each in found] == sizes


def test_clusters_that_do_not_fit_into_memory_do_not_count_as_settled():
    X, y, _ = data(P=3)
    net = FullyConnected((3,), "linear")
    problem = posed(net, X, y, 0.5, RowSpace.of(net.prior, X), reaction=True)
    start = Start(problem.kernel, problem.kernel)
    found = doubled(problem, start, particles=16, seed=0, max_iter=12, fits=lambda cluster: cluster < 3)
    assert [each.whole.cluster for each in found] == [1]
    assert "clusters" in found[0].failed


@pytest.mark.parametrize("second_start", [False, True])
def test_a_second_start_does_not_settle_what_memory_has_cut_short(monkeypatch, second_start):
    """Clusters of one unit fit into memory, no larger ones: whichever start is taken, the size has not been settled."""
    X, y, _ = data(P=3)
    monkeypatch.setattr("stpbnn.regressors.adaptive_kernel.fits", lambda needed: False)
    settings = {"temperature": 0.5, "particles": 64, "max_iter": 140, "random_state": 0}
    model = AdaptiveKernelRegressor(FullyConnected((4,)), cluster="auto", second_start=second_start, **settings)
    with pytest.warns(ConvergenceWarning, match="memory"):
        model.fit(X, y)
    assert (model.clusters_, model.converged_) == ([1], False)
    assert "clusters" in model.failed_checks_


def test_after_a_search_that_is_lost_larger_clusters_are_tried(monkeypatch):
    X, y, _ = data(P=3)
    net, solved = FullyConnected((4,), "linear"), doubling.solve
    problem = posed(net, X, y, 0.5, RowSpace.of(net.prior, X), reaction=True)
    monkeypatch.setattr(doubling, "solve", lambda *given: solved(*given)._replace(failed=("lost",)))
    found = doubled(problem, Start(problem.kernel, problem.kernel), 16, 0, 12, lambda _: True)
    assert [each.whole.cluster for each in found] == [4, 2, 1]


def test_the_network_is_exact_where_chains_from_the_prior_are_stuck():
    """Four units, strong signal, cold: such chains agree with each other, half above the exact variance."""
    X, y, Xt = data()
    net = FullyConnected((4,), "linear")
    fitted = FiniteWidthRegressor(net, temperature=0.02).fit(X, 3 * y)
    exact = fitted.predictive(Xt)
    settings = {"temperature": 0.02, "particles": 1024, "max_iter": 140, "random_state": 0}
    model = AdaptiveKernelRegressor(net, cluster=4, **settings).fit(X, 3 * y)
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert (model.converged_, model.failed_checks_) == (True, ())
    assert error.variance.mean() < 0.05 * exact.variance.mean()
    assert (np.abs(law.mean - exact.mean) < 5 * error.mean).all()
    assert (np.abs(law.variance - exact.variance) < 5 * error.variance + 0.01 * exact.variance).all()
    assert law.variance.mean() == pytest.approx(exact.variance.mean(), rel=0.02)
    assert model.log_marginal_likelihood_ == pytest.approx(fitted.log_marginal_likelihood_, abs=0.3)


def test_populations_of_the_network_start_apart():
    X, y, _ = data(P=3)
    net = FullyConnected((2,), "erf")
    problem = posed(net, X, y, 0.5, RowSpace.of(net.prior, X), reaction=True).resized(2)
    walkers = _Walkers(problem, 64, 0, Start(problem.kernel, problem.kernel))
    places = [np.unique(np.asarray(each.position)[:, 0, 0]) for each in walkers.populations]
    assert len(np.unique(np.concatenate(places))) == sum(map(len, places))


def test_modes_of_the_network_have_their_weights():
    """One unit, cold, with two modes of weights 0.62 and 0.38, the larger one narrow; truth by quadrature over w."""
    rng = np.random.default_rng(239)
    X, y, Xt, T = 3 * rng.normal(size=(8, 2)), rng.choice([-1.0, 1.0], size=8), 3 * rng.normal(size=(5, 2)), 0.001
    grid = np.linspace(-6, 6, 601)
    w = np.stack(np.meshgrid(grid[grid >= 0], grid, indexing="ij"), axis=-1).reshape(-1, 2)
    s = erf(w @ X.T / np.sqrt(2))
    square, signal = (s**2).sum(axis=1), s @ y
    log_p = signal**2 / (2 * T * (T + square)) - np.log1p(square / T) / 2 - (w**2).sum(axis=1) / 2
    p = np.exp(log_p - log_p.max())
    exact = p / p.sum() @ (erf(w @ Xt.T / np.sqrt(2)) * (signal / (T + square))[:, None])
    net = FullyConnected((1,), "erf")
    model = AdaptiveKernelRegressor(net, temperature=T, particles=2048, random_state=0).fit(X, y)
    error = model.standard_error(Xt).mean
    assert 0 < error[2] < 0.05  # the modes predict -0.25 and -0.04 there
    assert abs(model.predict(Xt)[2] - exact[2]) < 4 * error[2]


@pytest.fixture(scope="module")
def narrow():
    """As many inputs as their dimension and few units: those that tilt never relax, alone or in pairs."""
    rng = np.random.default_rng(0)
    X, y, Xt = rng.normal(size=(20, 20)), rng.normal(size=20), rng.normal(size=(7, 20))
    net = FullyConnected((6,), "linear")
    return net, X, y, Xt, FiniteWidthRegressor(net, temperature=0.05).fit(X, y).predictive(Xt)


def test_particles_that_are_stuck_do_not_count_as_settled(narrow):
    net, X, y, *_ = narrow
    settings = {"temperature": 0.05, "particles": 256, "max_iter": 140, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match=r"its units hardly move \(autocorrelation 0\.9"):
        model = AdaptiveKernelRegressor(net, cluster=2, **settings).fit(X, y)
    assert not model.converged_
    assert "stuck" in model.failed_checks_


@pytest.mark.filterwarnings("ignore:the self-consistent kernel has not settled")  # in so few moves
def test_after_clusters_that_are_stuck_comes_the_network(narrow):
    net, X, y, Xt, exact = narrow
    settings = {"temperature": 0.05, "particles": 256, "max_iter": 60, "random_state": 0}
    model = AdaptiveKernelRegressor(net, cluster="auto", **settings).fit(X, y)
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert model.clusters_ == [1, 6]
    assert "stuck" not in model.failed_checks_
    assert (np.abs(law.mean - exact.mean) < 5 * error.mean + 0.05 * exact.std).all()
    assert law.variance.mean() == pytest.approx(exact.variance.mean(), rel=0.1)


def cold(N, T=1e-4):
    """Return a linear network of few units, whose posterior fits ten targets to a hundredth, its data, and T."""
    rng = np.random.default_rng(10 + N)
    X, y, Xt = rng.normal(size=(10, 4)), rng.normal(size=10), rng.normal(size=(7, 4))
    return FullyConnected((N,), "linear"), X, y, Xt, T


@pytest.mark.parametrize("N", [2, 8])
def test_the_weight_of_a_cold_network_keeps_its_digits_in_single_precision(N):
    """log|w|/2 + c w c/2 and its gradient, in double precision: c is of order 1/T, and most of c w c cancels."""
    net, X, y, _, T = cold(N)
    root = RowSpace.of(net.prior, X).root
    z = np.random.default_rng(0).normal(size=(50, N, root.shape[1]))
    values, gradients = [], []
    for h in z @ root.T:
        w = np.linalg.inv(np.eye(N) + h @ h.T / (N * T))
        m = w @ h @ y / (np.sqrt(N) * T)
        values.append(np.linalg.slogdet(w)[1] / 2 + m @ h @ y / (2 * np.sqrt(N) * T))
        gradients.append((np.outer(m, y - m @ h / np.sqrt(N)) / (np.sqrt(N) * T) - w @ h / (N * T)) @ root)
    single = [jnp.asarray(x, jnp.float32) for x in (root, y[None] / (np.sqrt(N) * T), 1 / (N * T), 1.0, z)]
    value, gradient = log_weight(lambda z: z @ single[0].T, single[4], Drive(*single[1:4]))
    np.testing.assert_allclose(value - value[0], np.array(values) - values[0], atol=0.05)
    np.testing.assert_allclose(gradient, gradients, atol=2e-3 * np.abs(gradients).max())


@pytest.mark.long
@pytest.mark.parametrize("N", [4, 5, 8])
def test_a_cold_network_is_exact(N):
    """Single precision left moves of eight units refused, nine in ten."""
    net, X, y, Xt, T = cold(N)
    exact = FiniteWidthRegressor(net, temperature=T).fit(X, y).predictive(Xt)
    model = AdaptiveKernelRegressor(net, cluster=N, temperature=T, particles=1024, random_state=0).fit(X, y)
    assert model.converged_
    assert model.acceptance_ > 0.4
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert (np.abs(law.mean - exact.mean) < 5 * error.mean + 1e-3 * exact.std).all()
    assert (np.abs(law.variance - exact.variance) < 5 * error.variance + 5e-3 * exact.variance).all()


def test_a_search_of_few_moves_is_stuck_where_particles_do_not_move_on(narrow):
    """Twelve moves of averages, and a correlation time of more than nine of them."""
    net, X, y, *_ = narrow
    problem = posed(net, X, y, 0.05, RowSpace.of(net.prior, X), reaction=True).resized(2)
    for seed in range(4):
        found = solve(problem, Start(problem.kernel, problem.kernel), 256, seed, 24)
        assert found.autocorrelation > 0.7
        assert "stuck" in found.failed


def test_numbers_of_a_fit_may_be_large_where_its_fields_are_known():
    """Targets far from the prior, where K_w is a thousand times that of infinite width: exact all the same."""
    X, y, Xt = data(P=6)
    net = FullyConnected((6,), "linear")
    exact = FiniteWidthRegressor(net, temperature=5e4).fit(X, 1e5 * y).predictive(Xt)
    settings = {"particles": 512, "max_iter": 140, "random_state": 0}
    model = AdaptiveKernelRegressor(net, temperature=5e4, cluster=6, **settings).fit(X, 1e5 * y)
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert model.converged_
    assert (np.abs(law.mean - exact.mean) < 5 * error.mean + 1e-3 * exact.std).all()


def test_a_network_of_huge_inputs_says_that_it_has_not_settled_and_predicts():
    """Inputs a million times too large saturate all units, whose particles hardly move: few moves do not hide it."""
    X, y, _ = data(P=6)
    settings = {"temperature": 0.3, "particles": 64, "max_iter": 12, "random_state": 0}
    with pytest.warns(ConvergenceWarning):
        model = AdaptiveKernelRegressor(FullyConnected((6,)), cluster=6, **settings).fit(1e6 * X, y)
    law = model.predictive(1e6 * X)
    assert np.isfinite(law.mean).all()
    assert (law.variance > 0).all()


def test_a_search_for_larger_clusters_does_not_wait_for_those_that_are_stuck(narrow):
    net, X, y, *_ = narrow
    problem = posed(net, X, y, 0.05, RowSpace.of(net.prior, X), reaction=True)
    start = Start(problem.kernel, problem.kernel)
    found = [solve(problem, start, 64, 0, 200, *ends) for ends in ((), (("lost", "stuck"),))]
    assert all("stuck" in each.failed for each in found)
    assert [each.moves for each in found] == [200, SETTLING + ROUND]


@pytest.mark.filterwarnings("ignore:the self-consistent kernel has not settled")  # with so few particles
@pytest.mark.parametrize("net", [FullyConnected((3,), "linear"), FullyConnected((2, 4), "linear")])
def test_the_network_comes_at_once_where_it_comes_next_in_any_case(net):
    X, y, _ = data(P=3)
    model = AdaptiveKernelRegressor(net, temperature=0.5, cluster="auto", particles=16, max_iter=60, random_state=0)
    assert model.fit(X, y).clusters_ == [net.widths[-1]]


@pytest.mark.long
def test_clusters_are_doubled_until_the_prediction_stays():
    """A network that is wide for its few examples: two sizes, that agree."""
    X, y, Xt = data()
    net = FullyConnected((400,), "erf")
    model = AdaptiveKernelRegressor(net, temperature=0.5, cluster="auto", particles=512, random_state=0).fit(X, y)
    assert model.converged_
    assert model.clusters_ == [1, 2]
    assert model.cluster_ == 2
    shift, error = model.systematic_error(Xt), model.standard_error(Xt)
    assert (shift.mean > 0).all()
    assert shift.mean.max() < 5 * error.mean.max()
    total = model.generalization_error_systematic_error(Xt, np.zeros(7))
    assert total.total < 0.02 * model.generalization_error(Xt, np.zeros(7)).total


@pytest.mark.long
@pytest.mark.parametrize(("activation", "N", "outputs"), [("erf", 6, 1), ("relu", 6, 1), ("erf", 5, 2)])
def test_a_cluster_that_is_the_network_against_sampling(activation, N, outputs):
    X, _, Xt = data(P=8)
    Y = 2 * np.random.default_rng(1).normal(size=(8, outputs)).squeeze()
    net = FullyConnected((N,), activation, outputs=outputs, bias_precision=2.0)
    posterior = stpbnn.sample(net, X, Y, temperature=0.1, X_test=Xt, warmup=500, draws=2000, chains=4, progress=False)[
        "predictions"
    ]
    f = posterior["f_mean"]
    assert float(az.rhat(f).max()) < 1.01
    variance = (f.var(("chain", "draw")) + posterior["f_variance"].mean(("chain", "draw"))).values
    settings = {"temperature": 0.1, "particles": 4096, "max_iter": 800, "random_state": 0}
    model = AdaptiveKernelRegressor(net, cluster=N, **settings).fit(X, Y)
    law, error = model.predictive(Xt), model.standard_error(Xt)
    assert model.converged_
    assert (np.abs(law.mean - f.mean(("chain", "draw")).values) < 5 * np.hypot(error.mean, az.mcse(f).values)).all()
    assert (np.abs(law.variance - variance) < 5 * error.variance + 0.05 * variance).all()


def test_bad_clusters_are_refused_or_rounded():
    X, y, _ = data()
    net = FullyConnected((6,), "erf")
    with pytest.raises(ValueError, match="cluster: got 0"):
        AdaptiveKernelRegressor(net, cluster=0).fit(X, y)
    with pytest.raises(ValueError, match="cluster: got 7 units, expected at most 6"):
        AdaptiveKernelRegressor(net, cluster=7).fit(X, y)
    with pytest.raises(ValueError, match="cluster: got 2 with reaction=False, expected 1"):
        AdaptiveKernelRegressor(net, cluster=2, reaction=False).fit(X, y)
    with pytest.raises(ValueError, match="cluster: got 1 with reaction=False, expected 1 of several units"):
        AdaptiveKernelRegressor(FullyConnected((1,)), reaction=False).fit(X, y)
    wide = FullyConnected((10**9,), "erf")
    with pytest.raises(ValueError, match=r"particles: got 4096, in clusters of 1000000000, whose features take"):
        AdaptiveKernelRegressor(wide, cluster=10**9).fit(X, y)
    settings = {"temperature": 1.0, "particles": 64, "max_iter": 12, "random_state": 0}
    with pytest.warns(UserWarning, match="cluster: got 4, no divisor of the width 6; 3 is taken"):
        model = AdaptiveKernelRegressor(net, cluster=4, **settings).fit(X, y)
    assert model.cluster_ == 3
