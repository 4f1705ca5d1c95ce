"""Activations against adaptive quadrature and Monte Carlo, exact derivatives, and the corners that lose digits."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_averages import FUNCTIONS, average, expectation
from quick_cases import cases
from scipy.special import expit, ndtr
from scipy.stats import norm

from stpbnn import FullyConnected, activations, kernels
from stpbnn.cards.network_table import BUILT_IN

# at a kink the mean of the one-sided slopes
SLOPES = {
    "linear": np.ones_like,
    "erf": lambda h: 2 / np.pi**0.5 * np.exp(-(h**2)),
    "relu": lambda h: np.heaviside(h, 0.5),
    "leaky_relu": lambda h: 0.01 + 0.99 * np.heaviside(h, 0.5),
    "gelu": lambda h: ndtr(h) + h * norm.pdf(h),
    "sin": np.cos,
    "square": lambda h: 2 * h,
    "tanh": lambda h: 1 - np.tanh(h) ** 2,
    "silu": lambda h: expit(h) * (1 + h * expit(-h)),
}


COVARIANCES = [(1.0, 1.0, 0.3), (2.0, 0.5, -0.9), (0.1, 7.0, 0.0), (3.0, 3.0, 2.9), (1e-3, 1.0, 0.02)]


CORNERS = [(2.0, 2.0, 2.0), (1.0, 4.0, -2.0)]  # equal inputs, opposite directions


SMOOTH = sorted(set(FUNCTIONS) - {"relu", "leaky_relu"})


every_activation = pytest.mark.parametrize("name", FUNCTIONS)


@cache
def kernel_truth(name, a, b, c):
    return expectation(FUNCTIONS[name], FUNCTIONS[name], a, b, c)


@cache
def slope_truth(name, a, b, c):
    return expectation(SLOPES[name], SLOPES[name], a, b, c)


@cache
def kernel(name):
    """The compiled dual kernel, as the library uses it: one program for all that is tried."""
    return jax.jit(activations.get(name).kernel)


@cache
def slopes(name):
    return jax.jit(jax.grad(activations.get(name).kernel, argnums=(0, 1, 2)))


def test_every_registered_activation_is_tested_here():
    assert set(FUNCTIONS) == set(activations.available())
    assert set(BUILT_IN) <= set(activations.available())


@every_activation
def test_function_and_its_oddness(name, precision):
    dtype, tolerance = precision
    h = np.linspace(-4, 4, 41).astype(dtype)
    sigma = activations.get(name)
    np.testing.assert_allclose(sigma.function(jnp.array(h)), FUNCTIONS[name](h), rtol=tolerance, atol=tolerance)
    assert sigma.odd == np.allclose(FUNCTIONS[name](h), -FUNCTIONS[name](-h), atol=1e-12)


@every_activation
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES + CORNERS)
def test_kernel_is_the_gaussian_expectation(name, a, b, c, precision):
    dtype, tolerance = precision
    value = kernel(name)(*np.array([a, b, c], dtype))
    assert value.dtype == dtype
    size = (average(lambda h: FUNCTIONS[name](h) ** 2, a) * average(lambda h: FUNCTIONS[name](h) ** 2, b)) ** 0.5
    np.testing.assert_allclose(value, kernel_truth(name, a, b, c), rtol=tolerance, atol=tolerance * size)


@every_activation
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES[:4] + CORNERS)
def test_derivative_in_the_covariance_is_the_kernel_of_the_slopes(name, a, b, c, precision):
    dtype, tolerance = precision
    expected = slope_truth(name, a, b, c)
    np.testing.assert_allclose(slopes(name)(*np.array([a, b, c], dtype))[2], expected, rtol=20 * tolerance, atol=1e-11)


@every_activation
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES)
def test_gradient_agrees_with_central_differences(name, a, b, c, float64):
    point, steps = np.array([a, b, c]), 1e-6 * min(a, b) * np.eye(3)
    numeric = (kernel(name)(*(point + steps).T) - kernel(name)(*(point - steps).T)) / (2 * steps[0, 0])
    np.testing.assert_allclose(slopes(name)(*point), numeric, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("name", cases(set(SMOOTH) - {"silu", "gelu"}, SMOOTH))
def test_second_derivatives_at_equal_inputs(name, float64):
    """Price's theorem twice; derivatives of σ by JAX, integrals by the trapezoidal rule."""
    sigma = activations.get(name)
    hessian = jax.jit(jax.hessian(lambda p: sigma.kernel(*p)))
    derivative = [sigma.function]
    for _ in range(4):
        derivative.append(jax.grad(derivative[-1]))
    derivatives = jax.jit(jax.vmap(lambda h: tuple(g(h) for g in derivative)))
    z = np.linspace(-12, 12, 2001)
    for variance in (0.5, 3.0):
        d = [np.array(values) for values in derivatives(jnp.array(variance**0.5 * z))]
        aa, ab, ac = (np.trapezoid(p * norm.pdf(z), z) for p in (d[4] * d[0] / 4, d[2] ** 2 / 4, d[3] * d[1] / 2))
        expected = [[aa, ab, ac], [ab, aa, ac], [ac, ac, 4 * ab]]
        np.testing.assert_allclose(hessian(jnp.full(3, variance)), expected, rtol=1e-9, atol=1e-11)


@every_activation
@pytest.mark.parametrize("variance", [0.5, 4.0])
def test_mean_is_the_gaussian_expectation(name, variance, precision):
    dtype, tolerance = precision
    sigma = activations.get(name)
    if not sigma.odd:  # odd ones: above
        mean, slope = jax.value_and_grad(sigma.mean)(jnp.array(variance, dtype))
        np.testing.assert_allclose(mean, average(FUNCTIONS[name], variance), rtol=tolerance)
        expected = average(lambda h: SLOPES[name](h) * h, variance) / (2 * variance)
        np.testing.assert_allclose(slope, expected, rtol=20 * tolerance)


@cache
def between(name):
    return jax.jit(jax.value_and_grad(lambda x, y: activations.get(name).kernel(x @ x, y @ y, x @ y)))


def along_inputs(name, dtype):
    """F(x) = E[σ(w·x) σ(w·y)] and its gradient as a function of the input x, at fixed y."""
    y = np.array([0.6, 0.8], dtype)
    return y, lambda x: between(name)(x, y)


# the gradient is E[w σ'(w·x) σ(w·y)], along y where x and y are parallel; there h = w·y has variance 1
@every_activation
@pytest.mark.parametrize("stretch", [1.0, 3.0, -1.0, 0.0])
def test_gradient_is_exact_at_equal_parallel_and_zero_inputs(name, stretch, precision):
    dtype, tolerance = precision
    y, function = along_inputs(name, dtype)
    value, gradient = function(stretch * y)
    sigma, slope = FUNCTIONS[name], SLOPES[name]
    expected = average(lambda h: sigma(stretch * h) * sigma(h), 1.0)
    along = average(lambda h: slope(stretch * h) * sigma(h) * h, 1.0)
    if not stretch:
        assert value == 0
    loose = 1 + 10 * (name == "square")  # a difference of large numbers
    size = abs(expected) + abs(along)
    np.testing.assert_allclose(value, expected, rtol=10 * tolerance, atol=tolerance * size)
    np.testing.assert_allclose(gradient, along * y, rtol=10 * tolerance, atol=loose * tolerance * size)


@every_activation
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e15])
def test_extreme_norms_stay_finite(name, scale, precision):
    dtype, _ = precision
    y, function = along_inputs(name, dtype)
    root = dtype.type(scale**0.5)
    for x in (root * y, root * y * dtype.type(1 + 1e-6), root * np.array([2.0, -1.0], dtype)):
        value, gradient = function(x)
        assert np.all(np.isfinite([value, *gradient]))


@every_activation
def test_small_inputs_keep_their_digits(name, precision):
    """κ(a, a, a) → σ'(0)² a for σ(0) = 0, to rounding, where a closed form could subtract equal numbers."""
    dtype, tolerance = precision
    value = kernel(name)(*np.full(3, 1e-12, dtype))
    expected = average(lambda h: FUNCTIONS[name](h) ** 2, 1e-12)
    np.testing.assert_allclose(value, expected, rtol=10 * tolerance, atol=1e-20)


@every_activation
def test_kernel_matrix_is_symmetric_and_positive_semidefinite(name, float64):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(12, 4))
    X = np.vstack([X, X[:2], -X[2:3], 2 * X[3:4], np.zeros((1, 4))])  # repeated, opposite, parallel, zero
    C = jnp.array(X @ X.T)
    variance, kernel = jnp.diag(C), activations.get(name).kernel
    K = np.array(kernel(variance[:, None], variance[None, :], C))
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_array_equal(np.diag(K), kernel(variance, variance, variance))
    assert np.linalg.eigvalsh(K).min() > -1e-13 * np.trace(K)


@every_activation
def test_prior_covariance_of_real_networks(name):
    """E[f f^T] = κ(C)/λ_1 at every width, for one hidden layer."""
    net = FullyConnected((3,), name, weight_precision=(0.5, 2.0))
    X = jnp.array([[1.0, 0.0, 1.0], [0.6, -0.8, 0.3]])
    keys = jax.random.split(jax.random.key(3), 40_000)
    f = np.asarray(jax.vmap(lambda key: net.forward(net.sample_prior(key, 3), X))(keys))
    products = np.einsum("si,sj->sij", f, f)
    error = products.std(axis=0) / len(f) ** 0.5
    expected = kernels.nngp(net.sigma, net.prior, kernels.input_gram(net.prior, X)).entries
    assert np.all(np.abs(products.mean(axis=0) - expected) < 4 * error)


@pytest.mark.parametrize("name", cases(set(FUNCTIONS) - {"silu", "gelu", "leaky_relu"}, FUNCTIONS))
def test_renormalised_kernels_compile_and_differentiate_twice(name, float64):
    net = FullyConnected((5, 6), name, bias_precision=4.0)
    X = np.random.default_rng(2).normal(size=(3, 3))
    gram = kernels.input_gram(net.prior, jnp.array(np.vstack([X, X[:1], -X[1:2], 2 * X[2:], 0 * X[:1]])))

    def total(Q):
        return jnp.sum(direction * kernels.renormalised(net.sigma, net.prior, gram, Q).entries)

    direction = np.random.default_rng(3).normal(size=(7, 7))
    Q = jnp.array([0.7, 1.3])
    steps = 1e-5 * jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    gradient, hessian = jax.jit(jax.vmap(lambda q: (jax.grad(total)(q), jax.hessian(total)(q))))(Q + steps)
    np.testing.assert_allclose(hessian[0], (gradient[1:3] - gradient[3:]) / 2e-5, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(hessian[0], hessian[0].T, rtol=1e-9, atol=1e-9)
