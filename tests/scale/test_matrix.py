"""The matrix order parameter of several outputs: against dense algebra, one-output solutions and exact evidence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, sqrtm
from scipy.stats import multivariate_normal, wishart

from stpbnn.scale.matrix import local_terms, matrix_saddle_points
from stpbnn.scale.one_scale import saddle_points_of_scale
from stpbnn.scale.resolvent import Resolvent

pytestmark = pytest.mark.usefixtures("float64")


def problem(P=10, D=3, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(P, 2 * P))
    return X @ X.T / (2 * P), scale * rng.normal(size=(P, D)) @ rng.normal(size=(D, D))


def saddle_points(K, y, width, temperature, bias=0.0):
    return matrix_saddle_points(Resolvent.spectral(K, y, temperature, bias), np.atleast_1d(np.asarray(width, float)))


def dense_action(K, y, width, temperature, bias):
    """S(Q) as it is written in THEORY section 4, with the full PD by PD matrix; vec stacks the outputs."""
    P, D = y.shape

    def action(Q):
        A = jnp.kron(Q, K) + jnp.kron(jnp.eye(D), bias * jnp.ones((P, P)) + temperature * jnp.eye(P))
        v = y.T.ravel()
        prior = width * (jnp.trace(Q) - jnp.linalg.slogdet(Q)[1])
        return prior + jnp.linalg.slogdet(A)[1] + v @ jnp.linalg.solve(A, v)

    return action


@pytest.mark.parametrize("bias", [0.0, 0.5])
@pytest.mark.parametrize(("width", "temperature", "scale"), [(5, 0.1, 1.0), (50, 1e-4, 10.0), (1000, 1.0, 0.01)])
def test_minimum(width, temperature, scale, bias):
    K, y = problem(scale=scale)
    point = saddle_points(K, y, width, temperature, bias)[0]
    Q = point.order_parameters
    action = dense_action(K, y, width, temperature, bias)
    assert point.converged
    assert point.residual < 1e-10
    np.testing.assert_allclose(point.action, action(Q), rtol=1e-11)
    root = np.real(sqrtm(Q))
    gradient = root @ np.array(jax.grad(action)(jnp.array(Q))) @ root
    np.testing.assert_allclose((gradient + gradient.T) / 2 / width, 0, atol=1e-9 * np.abs(Q).max())
    rng = np.random.default_rng(1)
    for _ in range(10):  # a minimum in every direction
        X = rng.normal(size=(3, 3)) * 0.05
        assert action(root @ expm(X + X.T) @ root) > point.action


def test_hessian_in_the_invariant_coordinates():
    K, y = problem()
    V, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    q = np.array([0.5, 1.0, 2.5])
    local = local_terms(Resolvent.spectral(K, y, 0.1, 0.3), q, V, np.array([7.0]))
    action = dense_action(K, y, 7.0, 0.1, 0.3)
    root = V * np.sqrt(q)

    def moved(X):
        return action(root @ jax.scipy.linalg.expm((X + X.T) / 2) @ root.T)

    np.testing.assert_allclose(local.value, action((V * q) @ V.T), rtol=1e-12)
    np.testing.assert_allclose(local.gradient, jax.jit(jax.grad(moved))(jnp.zeros((3, 3))), rtol=1e-8, atol=1e-9)
    h = 1e-3
    rng = np.random.default_rng(3)
    for _ in range(4):
        E = rng.normal(size=(3, 3))
        E = E + E.T
        numeric = (moved(h * E) - 2 * moved(0 * E) + moved(-h * E)) / h**2
        np.testing.assert_allclose(np.einsum("ab,abcd,cd", E, local.hessian, E), numeric, rtol=1e-4)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_one_output_is_the_scalar_case(bias):
    K, y = problem(D=1)
    point = saddle_points(K, y, 8, 0.1, bias)[0]
    one = saddle_points_of_scale(Resolvent.tridiagonal(K, y, 0.1, bias), np.array([8.0]))[0]
    np.testing.assert_allclose(point.order_parameters, [one.order_parameters], rtol=1e-10)


def test_outputs_that_do_not_mix_give_a_diagonal_matrix():
    """y_d^T A_d^{-1} K A_e^{-1} y_e = 0 for d ≠ e: here targets along different eigenvectors of K."""
    K, _ = problem()
    U = np.linalg.eigh(K)[1]
    y = np.stack([3 * U[:, -1], 2 * U[:, -2] + U[:, -3], U[:, -4]], axis=1)
    Q = saddle_points(K, y, 6, 0.1)[0].order_parameters
    np.testing.assert_allclose(Q - np.diag(np.diag(Q)), 0, atol=1e-9)
    for d in range(3):
        one = saddle_points_of_scale(Resolvent.tridiagonal(K, y[:, [d]], 0.1), np.array([6.0]))[0]
        np.testing.assert_allclose(Q[d, d], one.order_parameters[0], rtol=1e-8)


def test_evidence_approaches_the_average_over_the_prior():
    """Q ~ Wishart(N, 1/N), importance-free Monte Carlo of the marginal likelihood, P = 2 and D = 2."""
    K, y = problem(P=2, D=2)
    errors = []
    for N in (10, 40):
        draws = wishart.rvs(N, np.eye(2) / N, size=40_000, random_state=0)
        A = np.einsum("sab,pq->sapbq", draws, K).reshape(-1, 4, 4) + 0.3 * np.eye(4)
        white = np.linalg.solve(np.linalg.cholesky(A), y.T.ravel()[:, None])[..., 0]
        log_det = np.linalg.slogdet(A)[1]
        likelihood = np.exp(-(np.sum(white**2, axis=1) + log_det + 4 * np.log(2 * np.pi)) / 2)
        exact, error = np.log(likelihood.mean()), likelihood.std() / likelihood.mean() / 200
        found = saddle_points(K, y, N, 0.3)[0].log_evidence
        errors.append((abs(found - exact), error))
    assert errors[0][0] < 0.15
    assert errors[1][0] < max(errors[0][0] / 2, 4 * errors[1][1])


def test_wide_networks_have_the_unit_matrix():
    K, y = problem()
    point = saddle_points(K, y, 10**7, 0.1)[0]
    np.testing.assert_allclose(point.order_parameters, np.eye(3), atol=1e-4)
    expected = sum(multivariate_normal.logpdf(column, cov=K + 0.1 * np.eye(10)) for column in y.T)
    np.testing.assert_allclose(point.log_evidence, expected, rtol=1e-4)
