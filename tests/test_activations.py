"""Dual kernels against adaptive quadrature, exact derivatives, and the corners where closed forms lose digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf
from scipy.stats import multivariate_normal, norm

from stpbnn import activations

FUNCTIONS = {"linear": lambda h: h, "erf": erf, "relu": lambda h: max(h, 0.0)}
SLOPES = {"linear": lambda h: 1.0, "erf": lambda h: 2 / np.pi**0.5 * np.exp(-(h**2)), "relu": lambda h: float(h > 0)}
COVARIANCES = [(1.0, 1.0, 0.3), (2.0, 0.5, -0.9), (0.1, 7.0, 0.0), (3.0, 3.0, 2.9), (1e-3, 1.0, 0.02)]


def expectation(g1, g2, a, b, c):
    """E[g1(h) g2(h')] by nested adaptive quadrature over whitened variables, kinks at zero told to the integrator."""
    spread = (b - c * c / a) ** 0.5

    def inner(z):
        h, centre = a**0.5 * z, c / a**0.5 * z
        kink = np.clip(-centre / spread, -8.9, 8.9)
        value, _ = quad(lambda w: g2(centre + spread * w) * norm.pdf(w), -9, 9, points=[kink], epsabs=1e-13, limit=200)
        return g1(h) * value * norm.pdf(z)

    return quad(inner, -9, 9, points=[0.0], epsabs=1e-12, limit=200)[0]


def test_every_registered_activation_is_tested_here():
    assert set(FUNCTIONS) == set(activations.available())


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES)
def test_kernel_is_the_gaussian_expectation(name, a, b, c, precision):
    dtype, tolerance = precision
    value = activations.get(name).kernel(*(jnp.array(x, dtype) for x in (a, b, c)))
    assert value.dtype == dtype
    expected = expectation(FUNCTIONS[name], FUNCTIONS[name], a, b, c)
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * (a * b) ** 0.5)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES[:4])
def test_derivative_in_the_covariance_is_the_kernel_of_the_slopes(name, a, b, c, precision):
    dtype, tolerance = precision
    slope = jax.grad(activations.get(name).kernel, argnums=2)(*(jnp.array(x, dtype) for x in (a, b, c)))
    if name == "relu":  # the probability of the positive quadrant
        expected = multivariate_normal.cdf([0, 0], [0, 0], [[a, c], [c, b]], abseps=1e-12)
    else:
        expected = expectation(SLOPES[name], SLOPES[name], a, b, c)
    np.testing.assert_allclose(slope, expected, rtol=20 * tolerance)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES)
def test_gradient_agrees_with_central_differences(name, a, b, c, float64):
    kernel = activations.get(name).kernel
    point = jnp.array([a, b, c])
    gradient = jax.grad(lambda p: kernel(*p))(point)
    for i in range(3):
        step = jnp.zeros(3).at[i].set(1e-6 * min(a, b))
        numeric = (kernel(*(point + step)) - kernel(*(point - step))) / (2 * step[i])
        np.testing.assert_allclose(gradient[i], numeric, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("variance", [0.5, 4.0])
def test_mean_is_the_gaussian_expectation(name, variance, precision):
    dtype, tolerance = precision
    sigma = activations.get(name)
    expected = 2**0.5 * 0  # odd
    if not sigma.odd:
        expected = quad(lambda z: FUNCTIONS[name](variance**0.5 * z) * norm.pdf(z), -9, 9, points=[0.0], epsabs=1e-13)[
            0
        ]
        np.testing.assert_allclose(sigma.mean(jnp.array(variance, dtype)), expected, rtol=tolerance)
    else:
        odd = [FUNCTIONS[name](h) + FUNCTIONS[name](-h) for h in (0.3, 1.7)]
        np.testing.assert_allclose(odd, expected, atol=1e-15)


def along_inputs(name, dtype):
    """F(x) = E[σ(w·x) σ(w·y)] as a function of the input x, at fixed y."""
    y = jnp.array([1.0, 2.0], dtype)
    kernel = activations.get(name).kernel
    return y, jax.value_and_grad(lambda x: kernel(x @ x, y @ y, x @ y))


# E[w σ'(w·x) σ(w·y)]: for relu at x = ty with t > 0 it is y/2, at t < 0 it is 0; for erf half the gradient of F(x, x)
@pytest.mark.parametrize(("stretch", "slope"), [(1.0, 0.5), (3.0, 0.5), (-1.0, 0.0)])
def test_relu_gradient_is_exact_at_equal_and_parallel_inputs(stretch, slope, precision):
    dtype, tolerance = precision
    y, function = along_inputs("relu", dtype)
    value, gradient = function(stretch * y)
    np.testing.assert_allclose(value, max(stretch, 0) * 5.0 / 2, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gradient, slope * y, rtol=tolerance, atol=tolerance)


def test_erf_gradient_is_exact_at_equal_inputs(precision):
    dtype, tolerance = precision
    y, function = along_inputs("erf", dtype)
    value, gradient = function(y)
    u = 2 * 5.0 / 11.0
    np.testing.assert_allclose(value, 2 / np.pi * np.arcsin(u), rtol=tolerance)
    # d/da (2/π) arcsin(2a/(1+2a)) · 2y · ½
    np.testing.assert_allclose(gradient, 2 / np.pi / (1 - u * u) ** 0.5 * 2 / 11.0**2 * y, rtol=10 * tolerance)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zero_norm_gives_zero_and_a_finite_gradient(name, precision):
    dtype, tolerance = precision
    y, function = along_inputs(name, dtype)
    value, gradient = function(jnp.zeros(2, dtype))
    assert value == 0
    # E[w σ'(0) σ(w·y)]; at the kink of relu the mean of the one-sided derivatives, σ'(0) = 1/2
    expected = {"linear": 1.0, "erf": 4 / np.pi / 11**0.5, "relu": 0.25}[name]
    np.testing.assert_allclose(gradient, expected * y, rtol=tolerance)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e15])
def test_extreme_norms_stay_finite(name, scale, precision):
    dtype, _ = precision
    y, function = along_inputs(name, dtype)
    root = jnp.array(scale**0.5, dtype)
    for x in (root * y, root * y * (1 + 1e-6), root * jnp.array([2.0, -1.0], dtype)):
        value, gradient = function(x)
        assert np.all(np.isfinite([value, *gradient]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_kernel_matrix_is_symmetric_and_positive_semidefinite(name, float64):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(12, 4))
    X = np.vstack([X, X[:2], -X[2:3], 2 * X[3:4], np.zeros((1, 4))])  # repeated, opposite, parallel, zero
    C = jnp.array(X @ X.T)
    variance = jnp.diag(C)
    K = np.array(activations.get(name).kernel(variance[:, None], variance[None, :], C))
    np.testing.assert_array_equal(K, K.T)
    assert np.linalg.eigvalsh(K).min() > -1e-13 * np.trace(K)


def test_registry_refuses_a_second_activation_of_the_same_name():
    impostor = activations.Activation("relu", jnp.tanh, activations.get("erf").kernel)
    with pytest.raises(ValueError, match="'relu' is already registered"):
        activations.register(impostor)


@pytest.mark.parametrize(
    ("name", "message"),
    [("rleu", "did you mean 'relu'"), ("softmax", "expected one of 'linear'"), (3, "got 3")],
)
def test_unknown_activation_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        activations.get(name)
