"""Processes derived from networks: chains over their scales against quadrature, exact draws, and bad input."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from stpbnn import FullyConnected
from stpbnn.samplers import diagnose, sample_process
from stpbnn.samplers.process_posterior import function_given

T, DF, WIDTHS = 0.2, 5.0, (4, 6)
RNG = np.random.default_rng(1)
X, y, X_test, y_test = RNG.normal(size=(6, 3)), 1.5 * RNG.normal(size=6), RNG.normal(size=(2, 3)), RNG.normal(size=2)
GROUPS = {
    "posterior",
    "predictions",
    "log_likelihood",
    "posterior_predictive",
    "sample_stats",
    "observed_data",
    "constant_data",
    "predictions_constant_data",
}
SETTINGS = {"temperature": T, "X_test": X_test, "y_test": y_test, "warmup": 300, "draws": 1000, "progress": False}


@pytest.fixture(scope="module")
def student():
    return sample_process(FullyConnected((7,), "linear"), X, y, process="student-t", df=DF, **SETTINGS)


@pytest.fixture(scope="module")
def deep():
    return sample_process(FullyConnected(WIDTHS, "linear"), X, y, process="finite-width", **SETTINGS)


def quadrature(weights, scales):
    """Posterior mean and variance of scale and function of a linear network's kernel times each of some scales."""
    K, k, kk = X @ X.T / 3, X_test @ X.T / 3, np.sum(X_test**2, axis=1) / 3
    evidence, means, variances = [], [], []
    for s in scales:
        A = s * K + T * np.eye(6)
        evidence.append(stats.multivariate_normal.pdf(y, cov=A))
        means.append(s * k @ np.linalg.solve(A, y))
        variances.append(s * kk - np.einsum("ij,ij->i", s * k, np.linalg.solve(A, s * k.T).T))
    p = weights * np.array(evidence)
    p, means = p / p.sum(), np.array(means)
    mean = p @ means
    return {"mean": mean, "variance": p @ (np.array(variances) + (means - mean) ** 2), "weights": p}


def assert_close(draws, expected):
    """Hold the mean over draws (chain, draw, ...) against a number, in Monte Carlo standard errors."""
    assert float(np.max(az.rhat(draws))) < 1.01
    z = (draws.mean(("chain", "draw")).to_numpy() - expected) / az.mcse(draws).to_numpy()
    assert np.max(np.abs(z)) < 4


def assert_function(posterior, truth):
    """Mean and variance of f: by its moments given the scales, and by its draws."""
    predictions = posterior["predictions"]
    f, mean, variance = (predictions[name] for name in ("f", "f_mean", "f_variance"))
    for each in (f, mean):
        assert_close(each, truth["mean"])
    assert_close((f - truth["mean"]) ** 2, truth["variance"])
    assert_close((mean - truth["mean"]) ** 2 + variance, truth["variance"])


def test_student_t_process_is_that_of_quadrature(student):
    r = np.exp(np.linspace(-5, 6, 800))
    truth = quadrature(r * stats.invgamma.pdf(r, DF / 2, scale=(DF - 2) / 2), r)
    assert diagnose(student).attrs["converged"]
    p, log_r = truth["weights"], np.log(r)
    assert_close(np.log(student["posterior"]["r"]), p @ log_r)
    assert_close((np.log(student["posterior"]["r"]) - p @ log_r) ** 2, p @ (log_r - p @ log_r) ** 2)
    assert_function(student, truth)


@pytest.mark.long
def test_deep_process_of_finite_width_is_that_of_quadrature(deep):
    u = np.linspace(-5, 3, 120)
    logs = np.stack([axis.ravel() for axis in np.meshgrid(u, u, indexing="ij")])
    laws = [stats.gamma(N / 2, scale=2 / N) for N in WIDTHS]
    prior = np.prod([np.exp(q) * law.pdf(np.exp(q)) for law, q in zip(laws, logs, strict=True)], axis=0)
    sums, back = np.unique(logs.sum(axis=0).round(9), return_inverse=True)  # all that the kernel depends on
    total = np.bincount(back, prior)
    truth = quadrature(total, np.exp(sums))
    weights = prior * (truth["weights"] / total)[back]
    assert diagnose(deep).attrs["converged"]
    for layer, q in enumerate(logs):
        assert_close(np.log(deep["posterior"]["Q"].isel(layer=layer)), weights @ q)
    assert_function(deep, truth)


@pytest.mark.parametrize(
    ("process", "scale", "dims", "more"),
    [
        ("student", "r", (), {"process": "student-t", "df": DF}),
        pytest.param("deep", "Q", ("layer",), {"process": "finite-width"}, marks=pytest.mark.long),
    ],
)
def test_tree_is_that_of_a_network_with_scales_in_place_of_weights(process, scale, dims, more, request):
    posterior = request.getfixturevalue(process)
    assert set(posterior.children) == GROUPS
    assert set(posterior["predictions"].data_vars) == {"f", "f_mean", "f_variance", "eigenmode"}
    assert set(posterior["posterior"].data_vars) == {scale, "train_loss", "test_loss"}
    assert posterior["posterior"][scale].dims == ("chain", "draw", *dims)
    assert {"lp", "energy", "diverging", "num_steps"} <= set(posterior["sample_stats"].data_vars)
    assert posterior["predictions"]["f"].dtype == np.float64
    assert posterior.attrs["verdict"].startswith("converged")
    expected = {"sampler": "nuts", "temperature": T, "precision": "float64", "stopped": "draws", "draws": 1000} | more
    assert {key: posterior.attrs[key] for key in expected} == expected
    assert ("df" in posterior.attrs) == ("df" in more)


def test_draws_of_a_function_have_its_conditional_law(float64):
    """Mean and covariance at training and test points, with the inverse written out."""
    points = np.vstack([X, X_test])
    K = points @ points.T / 3  # of rank three
    A = K[:6, :6] + T * np.eye(6)
    mean, covariance = K[:, :6] @ np.linalg.solve(A, y), K - K[:, :6] @ np.linalg.solve(A, K[:6])
    keys = jax.random.split(jax.random.key(0), 20_000)
    found = jax.jit(jax.vmap(lambda key: function_given(key, jnp.asarray(K), jnp.asarray(y), T)))(keys)
    np.testing.assert_allclose(found[0][0], mean, rtol=1e-9)
    np.testing.assert_allclose(found[1][0], np.diag(covariance), rtol=1e-9)
    f = np.asarray(found[2])
    sd = np.sqrt(np.diag(covariance))
    assert np.max(np.abs(f.mean(axis=0) - mean) / sd) < 4.5 / np.sqrt(20_000)
    spread = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / 20_000)  # of the entries of the sample covariance
    assert np.max(np.abs(np.cov(f.T) - covariance) / spread) < 4.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process": "student"}, "process: got 'student'"),
        ({"df": 2.0}, "df: got 2.0, expected a finite number greater than 2"),
        ({"df": None}, "df: got None, expected a finite number greater than 2"),
        ({"process": "finite-width"}, "df: got 5.0 for the process 'finite-width', which has no degrees of freedom"),
        ({"net": FullyConnected((5,), outputs=2), "y": np.zeros((6, 2))}, "net: got 2 outputs, expected one"),
        ({"temperature": 0}, "temperature: got 0"),
        ({"draws": 0}, "draws: got 0"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"net": FullyConnected((5,)), "X": X, "y": y, "process": "student-t", "df": 5.0} | changes
    with pytest.raises(ValueError, match=message):
        sample_process(**arguments)
