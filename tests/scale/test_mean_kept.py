"""Two order parameters for activations with a mean: against dense automatic differentiation and the exact mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal, norm

from stpbnn.scale.mean_kept import stationary_points
from stpbnn.scale.one_scale import saddle_points_of_scale
from stpbnn.scale.resolvent import Resolvent

pytestmark = pytest.mark.usefixtures("float64")


def relu_problem(P=12, N0=7, seed=0, scale=1.0):
    """K̃ and m of one relu layer, written out in numpy, and targets."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(P, N0)), scale * (1 + rng.normal(size=P))
    C = X @ X.T / N0
    a = np.diag(C)
    u = np.clip(C / np.sqrt(np.outer(a, a)), -1, 1)
    K = np.sqrt(np.outer(a, a)) / (2 * np.pi) * (u * (np.pi - np.arccos(u)) + np.sqrt(1 - u * u))
    m = np.sqrt(a / (2 * np.pi))
    return K - np.outer(m, m), m, y


def stationary(K, y, m, width, temperature, bias=0.0):
    return stationary_points(Resolvent.tridiagonal(K, np.stack([y, m], axis=1), temperature, bias), width)


def dense_action(K, m, y, width, temperature, bias):
    """S(q, Q) as it is written in THEORY section 4, in plain JAX."""

    def action(q, Q):
        A = Q * K + jnp.outer(m, m) / (1 + q) + bias + temperature * jnp.eye(len(y))
        return width * (-q * Q + jnp.log(1 + q)) + jnp.linalg.slogdet(A)[1] + y @ jnp.linalg.solve(A, y)

    return action


@pytest.mark.parametrize("bias", [0.0, 0.5])
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 5.0])
@pytest.mark.parametrize("width", [2, 15, 1000])
def test_stationary_point(width, temperature, bias):
    K, m, y = relu_problem()
    point = stationary(K, y, m, width, temperature, bias)[0]
    at = (point.conjugate, point.order_parameters[0])
    action = dense_action(K, m, y, width, temperature, bias)
    assert point.converged
    assert point.residual < 1e-11
    np.testing.assert_allclose(point.action, action(*at), rtol=1e-10)
    gradient = np.array(jax.grad(action, (0, 1))(*at)) * [1, at[1]]
    np.testing.assert_allclose(gradient / (width * (1 + at[1])), 0, atol=1e-10)
    np.testing.assert_allclose(point.hessian, np.array(jax.hessian(action, (0, 1))(*at)), rtol=1e-7, atol=1e-7)


def test_without_a_mean_it_is_the_odd_action():
    K, _, y = relu_problem()
    point = stationary(K, y, np.zeros(12), 15, 0.1)[0]
    resolvent = Resolvent.tridiagonal(K, y[:, None], 0.1)
    u = np.log(saddle_points_of_scale(resolvent, np.array([15.0]))[0].order_parameters)[0]
    terms = resolvent.at(np.array([u]))
    np.testing.assert_allclose(point.order_parameters, np.exp(u), rtol=1e-10)
    np.testing.assert_allclose(point.action, 15 * (np.exp(u) - u) + terms.value[0] - 15, rtol=1e-10)
    np.testing.assert_allclose(point.conjugate, np.exp(-u) - 1, rtol=1e-8, atol=1e-10)
    fluctuation = np.log(15 / (15 * np.exp(u) + terms.curvature[0])) / 2
    np.testing.assert_allclose(point.log_evidence, fluctuation - (point.action + 12 * np.log(2 * np.pi)) / 2)


def test_evidence_approaches_that_of_the_exact_mixture():
    """THEORY (3.3): f | a, Q ~ N(a m, Q K̃), Q = (a² + g)/N, integrated on a grid; the error falls with N."""
    K, m, y = relu_problem(P=6)
    errors = []
    for N in (20, 80, 320):
        a, da = np.linspace(-6, 6, 241, retstep=True)
        spread = np.sqrt(2 * N)
        g, dg = np.linspace(max(1e-3, N - 1 - 9 * spread), N - 1 + 12 * spread, 401, retstep=True)
        A, G = np.meshgrid(a, g, indexing="ij")
        Q = (A**2 + G) / N
        k, U = np.linalg.eigh(K)
        rotated = (U.T @ y)[:, None, None] - (U.T @ m)[:, None, None] * A
        variance = Q * k[:, None, None] + 0.1
        log_likelihood = norm.logpdf(rotated, scale=np.sqrt(variance)).sum(axis=0)
        density = np.exp(log_likelihood) * norm.pdf(A) * chi2.pdf(G, N - 1)
        exact = np.log(density.sum() * da * dg)
        point = stationary(K, y, m, N, 0.1)[0]
        errors.append(abs(point.log_evidence - exact))
    assert errors[0] < 0.1
    assert errors[2] < errors[1] / 2 < errors[0] / 4


def test_wide_networks_have_unit_scales_and_the_gaussian_evidence():
    K, m, y = relu_problem()
    point = stationary(K, y, m, 10**7, 0.1)[0]
    np.testing.assert_allclose([point.order_parameters[0], 1 / (1 + point.conjugate)], 1, atol=1e-5)
    expected = multivariate_normal.logpdf(y, cov=K + np.outer(m, m) + 0.1 * np.eye(12))
    np.testing.assert_allclose(point.log_evidence, expected, rtol=1e-5)
