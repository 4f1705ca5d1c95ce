"""The iterative solver against NumPy's dense algebra and against the exact one."""

import warnings

import numpy as np
import pytest
from gaussian_averages import erf_kernel
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel

import stpbnn
from stpbnn import (
    FiniteWidthRegressor,
    FullyConnected,
    NNGPRegressor,
    ProportionalLimitRegressor,
    StudentTProcessRegressor,
)

RNG = np.random.default_rng(2)
P, N, T = 900, 60, 0.05
X, X_TEST = RNG.normal(size=(P, 8)), RNG.normal(size=(40, 8))
Y = np.sign(np.sin(X[:, 0]) + X[:, 1] * X[:, 2])
NET = FullyConnected((N,), "erf", bias_precision=4.0)
CLASSES = [NNGPRegressor, ProportionalLimitRegressor, FiniteWidthRegressor]


def kernel(A, B):
    """The kernel of one hidden layer of erf units, without the bias of the output."""
    bias = 1 / 4
    c, a, b = (A @ B.T / 8 + bias, *(np.sum(S**2, axis=1) / 8 + bias for S in (A, B)))
    return erf_kernel(c, a, b)


@pytest.fixture(scope="module")
def fits():
    return {kind: kind(NET, temperature=T, solver="iterative").fit(X, Y) for kind in CLASSES}


def test_the_saddle_point_is_that_of_dense_algebra(fits):
    k, U = np.linalg.eigh(kernel(X, X))
    y, ones = U.T @ Y, U.sum(axis=0)

    def action(u):
        m = np.exp(u) * k + T
        inverse = np.sum(y**2 / m) - 0.25 * np.sum(y * ones / m) ** 2 / (1 + 0.25 * np.sum(ones**2 / m))
        return N * (np.exp(u) - u) + np.log(m).sum() + np.log1p(0.25 * np.sum(ones**2 / m)) + inverse

    exact = minimize_scalar(action, bounds=(-2, 4), method="bounded", options={"xatol": 1e-10})
    model = fits[ProportionalLimitRegressor]
    errors = model.numerical_errors_
    assert model.solver_ == "iterative"
    assert model.converged_
    assert errors.dimension < P
    assert model.order_parameters_[0] == pytest.approx(np.exp(exact.x), rel=1e-3)
    assert abs(model.action_ - exact.fun) < 6 * errors.log_evidence + 1e-3
    A = np.exp(exact.x) * kernel(X, X) + 0.25 + T * np.eye(P)
    k_test = np.exp(exact.x) * kernel(X_TEST, X) + 0.25
    explained = np.sum(k_test * np.linalg.solve(A, k_test.T).T, axis=1)
    std = np.sqrt(np.exp(exact.x) * np.diag(kernel(X_TEST, X_TEST)) + 0.25 - explained)
    law = model.predictive(X_TEST)
    assert np.abs((law.mean - k_test @ np.linalg.solve(A, Y)) / std).max() < 1e-2
    np.testing.assert_allclose(law.std, std, rtol=0.05)


@pytest.mark.parametrize("kind", CLASSES)
def test_it_finds_what_the_exact_solver_finds(kind, fits):
    model, exact = fits[kind], kind(NET, temperature=T, solver="exact").fit(X, Y)
    errors = model.numerical_errors_
    assert exact.numerical_errors_ is None
    assert (exact.solver_, model.solver_) == ("exact", "iterative")
    np.testing.assert_allclose(model.order_parameters_, exact.order_parameters_, rtol=1e-3)
    missed = model.log_marginal_likelihood_ - exact.log_marginal_likelihood_
    assert abs(missed) < 1e-3 * abs(exact.log_marginal_likelihood_)
    assert abs(missed) < 5 * errors.log_evidence + 1e-5 * abs(exact.log_marginal_likelihood_)
    law, truth = model.predictive(X_TEST), exact.predictive(X_TEST)
    assert np.abs((law.mean - truth.mean) / truth.std).max() < 1e-2
    np.testing.assert_allclose(law.std, truth.std, rtol=0.05)
    np.testing.assert_allclose(model.predict(X_TEST), law.mean, rtol=1e-12)
    joint = model.predictive(X_TEST[:5], joint=True, noise=True).covariance
    np.testing.assert_allclose(joint, exact.predictive(X_TEST[:5], joint=True, noise=True).covariance, atol=5e-3)


def test_several_outputs_at_infinite_width():
    Y2 = np.column_stack([Y, X[:, 3]])
    net = FullyConnected((N,), "erf", bias_precision=4.0, outputs=2)
    exact, model = (NNGPRegressor(net, temperature=0.3, solver=way).fit(X, Y2) for way in ("exact", "iterative"))
    assert model.log_marginal_likelihood_ == pytest.approx(exact.log_marginal_likelihood_, rel=1e-3)
    np.testing.assert_allclose(model.predict(X_TEST), exact.predict(X_TEST), atol=1e-3)
    assert model.predictive(X_TEST).std.shape == (40, 2)


@pytest.mark.parametrize("noise", ["scale", "gaussian"])
def test_a_t_process_on_any_kernel(noise):
    given = {"temperature": 0.1, "noise": noise, "optimizer": None, "normalize_y": True}
    kernel = RBF(2.0) + WhiteKernel(0.01)
    exact, model = (
        StudentTProcessRegressor(kernel, solver=way, **given).fit(X, 3 + Y) for way in ("exact", "iterative")
    )
    missed = model.log_marginal_likelihood_ - exact.log_marginal_likelihood_
    assert abs(missed) < 5 * model.numerical_errors_.log_evidence
    assert model.numerical_errors_.dimension < P
    law, truth = model.predictive(X_TEST, noise=True), exact.predictive(X_TEST, noise=True)
    assert np.abs((law.mean - truth.mean) / truth.std).max() < 1e-3
    np.testing.assert_allclose(law.std, truth.std, rtol=0.02)
    np.testing.assert_allclose(model.predict(X_TEST), exact.predict(X_TEST), atol=1e-3)
    joint, whole = (one.predictive(X_TEST[:4], joint=True).covariance for one in (model, exact))
    assert np.abs(joint - whole).max() < 0.02 * whole.max()


def test_the_error_of_a_t_process_knows_how_large_its_targets_are():
    """What the space misses of y·A⁻¹y counts by (ν + P) / (ν − 2 + y·A⁻¹y)."""
    missed = []
    for size in (0.03, 4.0):
        rng = np.random.default_rng(2)
        places = rng.normal(size=(700, 2))
        y = size * (np.sin(places[:, 0]) + 0.1 * rng.normal(size=700))
        settings = {"temperature": 0.01, "optimizer": None, "normalize_y": False, "noise": "scale"}
        exact, model = (
            StudentTProcessRegressor(RBF(1.0), solver=way, **settings).fit(places, y) for way in ("exact", "iterative")
        )
        gap = model.log_marginal_likelihood_ - exact.log_marginal_likelihood_
        missed.append(abs(gap) / model.numerical_errors_.log_evidence)
    assert min(missed) > 0.2
    assert max(missed) < 3


class Distance(RBF):
    """One minus half the distance: a covariance of no more than two points."""

    def __call__(self, X, Y=None, eval_gradient=False):
        return 1 - cdist(X, X if Y is None else Y) / 2


def test_a_t_process_names_a_kernel_that_is_not_positive(monkeypatch):
    """The first inputs do not show it."""
    monkeypatch.setattr("stpbnn.regressors.learnable_kernel.LOOKED_AT", 1)
    model = StudentTProcessRegressor(Distance(), temperature=0.1, optimizer=None, solver="iterative")
    with pytest.raises(ValueError, match=r"kernel: .*not positive semidefinite on the training inputs"):
        model.fit(X[:200], Y[:200])


def test_a_kernel_of_low_rank():
    """A linear network of eight inputs: nearly all eigenvalues are zero."""
    net = FullyConnected((N,), "linear")
    exact, model = (
        ProportionalLimitRegressor(net, temperature=T, solver=way).fit(X, Y) for way in ("exact", "iterative")
    )
    assert model.numerical_errors_.dimension < P
    np.testing.assert_allclose(model.order_parameters_, exact.order_parameters_, rtol=2e-3)
    assert model.log_marginal_likelihood_ == pytest.approx(exact.log_marginal_likelihood_, rel=1e-4)
    np.testing.assert_allclose(model.predictive(X_TEST).std, exact.predictive(X_TEST).std, rtol=1e-3)


def spread_out(rng):
    return 30 * rng.normal(size=(700, 4))


def repeated(rng):
    return np.repeat(rng.normal(size=(100, 3)), 7, axis=0)


@pytest.mark.parametrize(
    ("inputs", "T"),
    [
        (lambda rng: rng.normal(size=(700, 5)), 0.01),
        (spread_out, 1.0),
        (spread_out, 0.01),
        (repeated, 0.01),
    ],
    ids=["five inputs", "spread out", "a whole space", "repeated"],
)
def test_the_error_of_the_log_evidence_covers_what_is_missed(inputs, T):
    """By NumPy's factorisation: small eigenvalues beside large ones, rounding, repeated inputs."""
    missed, net = [], FullyConnected((N,), "relu", bias_precision=1.0)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        X = inputs(rng)
        y = np.tanh(X[:, 0]) + 0.1 * rng.normal(size=len(X))
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            model = NNGPRegressor(net, temperature=T, solver="iterative").fit(X, y)
        C = X @ X.T / X.shape[1] + 1
        size = np.sqrt(np.outer(np.diag(C), np.diag(C)))
        u = np.clip(C / size, -1, 1)
        A = size / (2 * np.pi) * (u * (np.pi - np.arccos(u)) + np.sqrt(1 - u**2)) + 1 + T * np.eye(len(X))
        factor = np.linalg.cholesky(A)
        half = np.linalg.solve(factor, y)
        exact = -np.log(np.diag(factor)).sum() - half @ half / 2 - len(y) / 2 * np.log(2 * np.pi)
        missed.append((model.log_marginal_likelihood_ - exact) / model.numerical_errors_.log_evidence)
    assert np.sqrt(np.mean(np.square(missed))) < 2.5


def test_a_file_knows_the_solver(fits, tmp_path):
    model = fits[ProportionalLimitRegressor]
    stpbnn.save(model, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    assert again.solver_ == "iterative"
    assert again.numerical_errors_ == model.numerical_errors_
    np.testing.assert_array_equal(again.predict(X_TEST), model.predict(X_TEST))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (NNGPRegressor(NET, temperature=0, solver="iterative"), "temperature=0"),
        (NNGPRegressor(NET, temperature=np.ones(P), solver="iterative"), "an array"),
        (NNGPRegressor(NET, trend="linear", solver="iterative"), "trend='linear'"),
        (ProportionalLimitRegressor(NET, optimizer="fmin_l_bfgs_b", solver="iterative"), "learn with solver='exact'"),
        (ProportionalLimitRegressor(FullyConnected((9, 9), "erf"), solver="iterative"), "2 hidden layers"),
        (ProportionalLimitRegressor(FullyConnected((9,), "relu"), solver="iterative"), "mean='drop'"),
        (FiniteWidthRegressor(FullyConnected((9, 9)), closure="global", solver="iterative"), "2 hidden layers"),
        (ProportionalLimitRegressor(NET, solver="fast"), "solver: got 'fast'"),
        (StudentTProcessRegressor(RBF(), solver="iterative"), "optimizer='fmin_l_bfgs_b'"),
        (StudentTProcessRegressor(RBF(), optimizer=None, noise="robust", solver="iterative"), "noise='robust'"),
    ],
)
def test_what_the_iterative_solver_cannot_do_is_refused(model, message):
    with pytest.raises(ValueError, match=message) as refusal:
        model.fit(X, Y)
    assert "solver" in str(refusal.value)


def test_what_needs_factors_is_refused(fits):
    model = fits[ProportionalLimitRegressor]
    calls = [model.leave_one_out, model.posterior_kernel, lambda: model.predict_gradient(X_TEST)]
    for call in [*calls, lambda: model.log_marginal_likelihood(eval_gradient=True)]:
        with pytest.raises(ValueError, match="solver='exact'"):
            call()
    assert model.log_marginal_likelihood() == model.log_marginal_likelihood_


def test_auto_factorises_small_sets_and_what_the_other_cannot_do(monkeypatch):
    monkeypatch.setattr("stpbnn.regressors.solver.LARGEST_EXACT", 50)
    few = X[:60]
    assert NNGPRegressor(NET).fit(X[:40], Y[:40]).solver_ == "exact"
    assert NNGPRegressor(NET).fit(few, Y[:60]).solver_ == "iterative"
    assert NNGPRegressor(NET, trend="constant").fit(few, Y[:60]).solver_ == "exact"


def law_of_new_targets(model, temperature, X, y, new, solver):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of what is not reached at low temperatures
        warnings.filterwarnings("ignore", r".* negative and taken as zero: the iterative solver does not tell")
        model = clone(model).set_params(temperature=temperature, solver=solver).fit(X, y)
        return model, model.predictive(new, noise=True).std


@pytest.mark.parametrize("temperature", [1e-4, 1e-2])
@pytest.mark.parametrize("rough", [True, False])
def test_the_error_of_standard_deviations_covers_what_it_is(rough, temperature):
    """Against a factorised kernel, at training inputs; where a tenth is not reached `converged_` is False."""
    kernel = StudentTProcessRegressor(Matern(3.0, nu=1.5), optimizer=None)
    model = kernel if rough else ProportionalLimitRegressor(FullyConnected((20,), "erf", bias_precision=4.0))
    few, y, at = X[:700], Y[:700], X[:200]
    found, std = law_of_new_targets(model, temperature, few, y, at, "iterative")
    _, exact = law_of_new_targets(model, temperature, few, y, at, "exact")
    error = found.numerical_errors_.std
    assert np.sqrt(np.mean((std / exact - 1) ** 2)) < 1.2 * error + 1e-6  # of a sample of sixteen
    assert not (found.converged_ and error >= 0.1)
    assert found.converged_ == (temperature > 1e-3)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("temperature", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize(
    "model",
    [
        NNGPRegressor(FullyConnected((60,), "erf", bias_precision=4.0)),
        NNGPRegressor(FullyConnected((60,), "relu", bias_precision=4.0)),
        ProportionalLimitRegressor(FullyConnected((20,), "erf", bias_precision=4.0)),
        ProportionalLimitRegressor(FullyConnected((500,), "erf", bias_precision=4.0)),
        StudentTProcessRegressor(RBF(3.0), optimizer=None),
        StudentTProcessRegressor(Matern(3.0, nu=1.5), optimizer=None),
    ],
)
def test_the_error_of_standard_deviations_covers_at_low_temperatures(model, temperature, seed):
    """At training inputs, and within a factor of two at others."""
    rng = np.random.default_rng(seed)
    X, new = rng.normal(size=(P, 8)), rng.normal(size=(200, 8))
    y = np.sign(np.sin(X[:, 0]) + X[:, 1] * X[:, 2])
    for points, factor in ((X[:200], 1.2), (new, 2.5)):
        found, std = law_of_new_targets(model, temperature, X, y, points, "iterative")
        _, exact = law_of_new_targets(model, temperature, X, y, points, "exact")
        assert np.sqrt(np.mean((std / exact - 1) ** 2)) < factor * found.numerical_errors_.std + 1e-6
        assert not (found.converged_ and found.numerical_errors_.std >= 0.1)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_beyond_the_tolerance_are_said(monkeypatch, kind):
    monkeypatch.setattr("stpbnn.scale.iterated.MOST", 64)
    monkeypatch.setattr("stpbnn.scale.iterated.FEWEST", 64)
    with pytest.warns(ConvergenceWarning, match="the iterative solver reached"):
        model = kind(NET, temperature=1e-4, solver="iterative").fit(X, Y)
    assert not model.converged_
    assert model.numerical_errors_.mean > 1e-2


def test_memory_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("stpbnn._memory.available", lambda: 2**20)
    with pytest.raises(
        ValueError, match=r"P = 900 examples, whose Krylov space take about .* are free here; take fewer"
    ):
        NNGPRegressor(NET, solver="iterative").fit(X, Y)
