"""Local kernel renormalisation: dense formulas, the fully-connected network of one position, random real networks."""

import jax
import numpy as np
import pytest
from regression_data import images
from scipy.linalg import expm, sqrtm
from scipy.optimize import minimize

from stpbnn import Convolutional, FullyConnected
from stpbnn.kernels import patch_kernels
from stpbnn.scale import LocalProblem, pose
from stpbnn.scale.local_action import of_invariant_measure, of_wishart
from stpbnn.scale.local_minima import best_multiples
from stpbnn.scale.local_posterior import ACCURACY

N, T, BIAS = 12, 0.2, 0.25


def network(channels=N, activation="erf", **settings):
    settings = {"kernel_size": (1, 1), "image": (2, 2, 1), "weight_precision": (0.7, 1.3)} | settings
    return Convolutional((channels,), activation=activation, **settings)


@pytest.fixture(scope="module")
def problem():
    X, y = images(15)
    with jax.enable_x64(True):
        return LocalProblem.of(network(bias_precision=1 / BIAS), X, y, T)


@pytest.fixture(scope="module")
def dense(problem):
    """-2 log p of the formulas, with all kernels as they are, as a function of Q."""
    K, y = patch_kernels(problem.net, problem.X) / (1.3 * 4), problem.y

    def data(Q):
        A = np.einsum("ij,ijpq->pq", Q, K) + BIAS + T * np.eye(len(y))
        return np.linalg.slogdet(A)[1] + y @ np.linalg.solve(A, y)

    return data


@pytest.mark.parametrize("exponents", [of_invariant_measure(N, 4), of_wishart(N, 4), of_wishart(3, 4)])
def test_action_gradient_and_curvature_are_those_of_the_dense_formula(problem, dense, exponents):
    action = problem._action(lambda *_: exponents)
    L = np.linalg.cholesky(np.cov(np.random.default_rng(1).standard_normal((4, 9))))[:, : len(exponents)]
    z, h = action.coordinates([L]), 1e-4

    def value(z):
        (L,) = action.factors(z)
        return N * np.sum(L**2) - 2 * np.log(np.diag(L)) @ exponents + dense(L @ L.T)

    at, directions = action.at(z), np.eye(len(z))
    slopes = [(value(z + h * v) - value(z - h * v)) / (2 * h) for v in directions]
    curvatures = [(action.at(z + h * v).gradient - action.at(z - h * v).gradient) / (2 * h) for v in directions]
    assert at.value == pytest.approx(value(z), rel=1e-12)
    assert at.gradient == pytest.approx(np.array(slopes), abs=1e-5)
    assert action.hessian(at) == pytest.approx(np.array(curvatures), abs=1e-4)


def test_the_minimum_is_that_of_a_search_over_all_entries(problem, dense):
    def value(entries):
        root = entries.reshape(4, 4)
        Q = root @ root.T
        return N * (np.trace(Q) - np.linalg.slogdet(Q)[1]) + dense(Q)

    best = min((minimize(value, scale * np.eye(4).ravel(), tol=1e-10) for scale in (0.3, 1, 3)), key=lambda f: f.fun)
    point = problem.saddle_points()[0]
    assert point.converged
    assert point.action == pytest.approx(best.fun, abs=1e-6)
    root = best.x.reshape(4, 4)
    assert point.order_parameters == pytest.approx(root @ root.T, abs=1e-3)


def test_one_position_is_a_fully_connected_layer():
    X, y = images(12, seed=3)
    image = network(30, image=(1, 1, 4), bias_precision=2.0)
    flat = FullyConnected((30,), weight_precision=(0.7, 1.3), bias_precision=2.0)
    with jax.enable_x64(True):
        local, plain = LocalProblem.of(image, X, y, T), pose(flat, X, y, T)
        here, there = local.saddle_points()[0], plain.saddle_points()[0]
        laws = [
            p.conditioned(at).law(X[:3] + 0.1, joint=True, noise=False) for p, at in ((local, here), (plain, there))
        ]
    assert here.order_parameters.item() == pytest.approx(there.order_parameters.item(), rel=1e-10)
    assert here.action == pytest.approx(there.action, rel=1e-10)
    assert here.log_evidence == pytest.approx(there.log_evidence, rel=1e-10)
    assert laws[0].mean == pytest.approx(laws[1].mean, rel=1e-10)
    assert laws[0].covariance == pytest.approx(laws[1].covariance, abs=1e-10)


def test_multiples_of_the_unit_matrix_have_one_scale(problem, dense):
    scales = np.exp(np.linspace(-2, 3, 20001))
    found = best_multiples(problem._saddle)[0].order_parameters[0]
    near = min(scales, key=lambda q: 4 * N * (q - np.log(q)) + dense(q * np.eye(4)))
    assert found == pytest.approx(near, rel=1e-3)


def test_interpolation_at_zero_temperature():
    X, y = images(6, seed=4)
    with jax.enable_x64(True):
        problem = LocalProblem.of(network(40), X, y, 0.0)
        point = problem.saddle_points()[0]
        law = problem.conditioned(point).law(X, joint=False, noise=False)
    assert point.converged
    assert law.mean == pytest.approx(y, abs=1e-8)
    assert law.std == pytest.approx(0, abs=1e-6)
    K = patch_kernels(problem.net, X) / (1.3 * 4)
    A = np.einsum("ij,ijpq->pq", point.order_parameters, K)
    alpha = np.linalg.solve(A, y)
    balance = np.einsum("pq,ijpq->ij", np.linalg.inv(A) - np.outer(alpha, alpha), K)
    assert 40 * (np.eye(4) - np.linalg.inv(point.order_parameters)) + balance == pytest.approx(0, abs=1e-6)


def random_networks(channels, X, count, seed=0):
    """Outputs of linear networks drawn from the prior, whose windows are the two rows of an image."""
    rng, windows = np.random.default_rng(seed), X.reshape(-1, 2, 2)
    W, v = rng.standard_normal((count, 2, channels)), rng.standard_normal((count, 2, channels))
    h = np.einsum("pik,nka->npia", windows, W) / np.sqrt(0.7 * 2)
    return np.einsum("npia,nia->np", h, v) / np.sqrt(1.3 * channels * 2)


@pytest.mark.parametrize("channels", [2, 9])
def test_posterior_of_a_linear_network_is_that_of_random_networks(channels):
    X, y = images(4, seed=5)
    net, seen = network(channels, "linear", kernel_size=(1, 2), stride=(1, 2)), slice(3)
    f = random_networks(channels, X, 50_000)
    log_p = -np.sum((y[seen] - f[:, seen]) ** 2, axis=1) / (2 * T) - 3 / 2 * np.log(2 * np.pi * T)
    p = np.exp(log_p)
    evidence, error = np.log(p.mean()), p.std() / p.mean() / np.sqrt(len(p))
    w = p / p.sum()
    mean = w @ f[:, 3]
    error_of_mean = np.sqrt(np.sum((w * (f[:, 3] - mean)) ** 2))
    with jax.enable_x64(True):
        problem = LocalProblem.of(net, X[seen], y[seen], T)
        posterior = problem.posterior(0)
        law = problem.mixture(posterior, X[3:], noise=False, joint=False)
    assert posterior.error < problem.accuracy
    assert abs(posterior.log_evidence - evidence) < 4 * np.hypot(error, posterior.error)
    assert abs(law.mean[0] - mean) < 4 * np.hypot(error_of_mean, law.std[0] / np.sqrt(500))


def test_fluctuations_about_the_saddle_point_give_the_evidence_of_wide_networks(problem):
    point, posterior = problem.saddle_points()[0], problem.posterior(0)
    assert point.log_evidence == pytest.approx(posterior.log_evidence, abs=4 * posterior.error + 1 / N)


def test_the_evidence_at_the_saddle_point_has_the_fluctuations_of_all_entries(float64):
    """Laplace's approximation in log Q by differences of the action, at few channels, where Q is far from one."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((10, 4)), 2 * rng.standard_normal(10)
    net = Convolutional((3,), (1, 1), image=(2, 2, 1), weight_precision=(0.7, 1.3), bias_precision=0.5)
    point = LocalProblem.of(net, X, y, 0.01).saddle_points()[0]
    C = np.einsum("pi,qj->ijpq", X, X) / 0.7 + 2.0
    norm = np.einsum("iipp->ip", C)
    K = 2 / np.pi * np.arcsin(2 * C / np.sqrt((1 + 2 * norm)[:, None, :, None] * (1 + 2 * norm)[None, :, None, :]))
    root = np.real(sqrtm(point.order_parameters))
    rows, columns = np.triu_indices(4)
    basis = np.zeros((10, 4, 4))
    basis[range(10), rows, columns] = basis[range(10), columns, rows] = np.where(rows == columns, 1, 0.5**0.5)

    def action(x):
        Q = root @ expm(np.tensordot(x, basis, 1)) @ root
        A = np.tensordot(Q, K, 2) / (1.3 * 4) + 2.0 + 0.01 * np.eye(10)
        data = np.linalg.slogdet(A)[1] + y @ np.linalg.solve(A, y)
        return 3 * (np.trace(Q) - np.linalg.slogdet(Q)[1]) + data

    steps = 1e-3 * np.eye(10)
    differences = [[action(a + b) - action(a - b) - action(b - a) + action(-a - b) for a in steps] for b in steps]
    log_det = np.linalg.slogdet(np.array(differences) / 4e-6)[1]
    expected = (12 - action(np.zeros(10)) - 10 * np.log(2 * np.pi) + 10 * np.log(3) - log_det) / 2
    assert point.action == pytest.approx(action(np.zeros(10)), rel=1e-9)
    assert point.log_evidence == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("channels", [8, 12])
def test_the_evidence_of_few_degrees_of_freedom_is_as_good_as_its_error(float64, channels):
    """Linear networks of three positions, of eight seeds, against 40,000 readouts of the prior."""
    rng = np.random.default_rng(102)
    X, y = rng.standard_normal((4, 6)), 0.3 * rng.standard_normal(4)
    net = Convolutional((channels,), (1, 2), 1, "same", activation="linear", image=(1, 3, 2))
    problem = LocalProblem.of(net, X, y, 0.3)
    K = np.asarray(patch_kernels(net, X))
    v = rng.standard_normal((40_000, 3, channels))
    A = np.tensordot(v @ v.transpose(0, 2, 1) / channels, K, ((1, 2), (0, 1))) / 3 + 0.3 * np.eye(4)
    log_w = -(np.linalg.slogdet(A)[1] + np.linalg.solve(A, y[:, None])[..., 0] @ y + 4 * np.log(2 * np.pi)) / 2
    w = np.exp(log_w - log_w.max())
    exact, error = log_w.max() + np.log(w.mean()), w.std() / w.mean() / 200
    found = [problem.posterior(seed) for seed in range(8)]
    off = np.array([each.log_evidence - exact for each in found])
    assert all(each.error < ACCURACY for each in found)
    assert abs(off.mean()) < 4 * np.hypot(off.std(ddof=1) / np.sqrt(8), error)
    assert np.sqrt((off**2).mean()) < 2 * np.hypot(np.mean([each.error for each in found]), error)
