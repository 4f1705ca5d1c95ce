"""Activations against adaptive quadrature and Monte Carlo, exact derivatives, and the corners that lose digits."""

import math
import os
import subprocess
import sys
from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import cubature, quad
from scipy.special import erf, expit, ndtr
from scipy.stats import norm

from stpbnn import FullyConnected, activations, kernels
from stpbnn.activations import Activation
from stpbnn.cards.schema import BUILT_IN

FUNCTIONS = {
    "linear": lambda h: h,
    "erf": erf,
    "relu": lambda h: np.maximum(h, 0),
    "leaky_relu": lambda h: np.where(h > 0, h, 0.01 * h),
    "gelu": lambda h: h * ndtr(h),
    "sin": np.sin,
    "square": np.square,
    "tanh": np.tanh,
    "silu": lambda h: h * expit(h),
}
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


def expectation(g1, g2, a, b, c):
    """E[g1(h) g2(h')] by adaptive cubature in polar coordinates, where kinks at zero are rays; c² = ab is allowed."""
    angle = math.acos(c / (a * b) ** 0.5)

    def density(x):
        r, phi = x[:, 0], x[:, 1]
        return g1(a**0.5 * r * np.cos(phi)) * g2(b**0.5 * r * np.cos(phi - angle)) * r * np.exp(-(r**2) / 2)

    rays = sorted({-math.pi / 2, math.pi / 2, angle - math.pi / 2, angle + math.pi / 2 - 2 * math.pi * (angle > 0)})
    rays.append(rays[0] + 2 * math.pi)
    wedges = [(low, high) for low, high in pairwise(rays) if high - low > 1e-9]
    parts = [cubature(density, [0.0, low], [10.0, high], rtol=1e-11, atol=1e-12) for low, high in wedges]
    assert all(part.status == "converged" for part in parts)
    return sum(part.estimate for part in parts) / (2 * math.pi)


def average(g, a):
    """E[g(h)] by adaptive quadrature, with a kink at zero allowed."""
    return quad(lambda z: g(np.float64(a**0.5 * z)) * norm.pdf(z), -12, 12, points=[0], epsabs=1e-13, limit=200)[0]


@cache
def kernel_truth(name, a, b, c):
    return expectation(FUNCTIONS[name], FUNCTIONS[name], a, b, c)


@cache
def slope_truth(name, a, b, c):
    return expectation(SLOPES[name], SLOPES[name], a, b, c)


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
    value = activations.get(name).kernel(*(jnp.array(x, dtype) for x in (a, b, c)))
    assert value.dtype == dtype
    size = (average(lambda h: FUNCTIONS[name](h) ** 2, a) * average(lambda h: FUNCTIONS[name](h) ** 2, b)) ** 0.5
    np.testing.assert_allclose(value, kernel_truth(name, a, b, c), rtol=tolerance, atol=tolerance * size)


@every_activation
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES[:4] + CORNERS)
def test_derivative_in_the_covariance_is_the_kernel_of_the_slopes(name, a, b, c, precision):
    dtype, tolerance = precision
    slope = jax.grad(activations.get(name).kernel, argnums=2)(*(jnp.array(x, dtype) for x in (a, b, c)))
    expected = slope_truth(name, a, b, c)
    np.testing.assert_allclose(slope, expected, rtol=20 * tolerance, atol=1e-11)


@every_activation
@pytest.mark.parametrize(("a", "b", "c"), COVARIANCES)
def test_gradient_agrees_with_central_differences(name, a, b, c, float64):
    kernel = activations.get(name).kernel
    point, steps = jnp.array([a, b, c]), 1e-6 * min(a, b) * jnp.eye(3)
    gradient = jax.grad(lambda p: kernel(*p))(point)
    numeric = (kernel(*(point + steps).T) - kernel(*(point - steps).T)) / (2 * steps[0, 0])
    np.testing.assert_allclose(gradient, numeric, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("name", SMOOTH)
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


def along_inputs(name, dtype):
    """F(x) = E[σ(w·x) σ(w·y)] as a function of the input x, at fixed y."""
    y = jnp.array([0.6, 0.8], dtype)
    kernel = activations.get(name).kernel
    return y, jax.value_and_grad(lambda x: kernel(x @ x, y @ y, x @ y))


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
    root = jnp.array(scale**0.5, dtype)
    for x in (root * y, root * y * (1 + 1e-6), root * jnp.array([2.0, -1.0], dtype)):
        value, gradient = function(x)
        assert np.all(np.isfinite([value, *gradient]))


@every_activation
def test_small_inputs_keep_their_digits(name, precision):
    """κ(a, a, a) → σ'(0)² a for σ(0) = 0, to rounding, where a closed form could subtract equal numbers."""
    dtype, tolerance = precision
    a = jnp.array(1e-12, dtype)
    value = activations.get(name).kernel(a, a, a)
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


@every_activation
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


# Functions of the user's own


@pytest.mark.parametrize(
    ("name", "variance", "error"),
    [
        ("tanh", 1e-3, 1e-14),
        ("tanh", 10.0, 1e-10),
        ("tanh", 100.0, 6e-4),
        ("silu", 1e-3, 1e-14),
        ("silu", 10.0, 1e-11),
        ("silu", 100.0, 2e-5),
    ],
)
def test_accuracy_that_the_documentation_promises(name, variance, error, float64):
    a, sigma = jnp.array(variance), activations.get(name)
    expected = average(lambda h: FUNCTIONS[name](h) ** 2, variance)
    actual = abs(sigma.kernel(a, a, a) - expected)
    assert actual < error * expected + 1e-13
    assert actual <= sigma.kernel_error(a, a, a) + 1e-13 * expected


@pytest.mark.parametrize("kink", [0.37, 1.0])
def test_kinks_are_differentiated_and_their_error_is_estimated(kink, float64):
    """Relu with a shifted kink: slow convergence, said by the estimate, and derivatives in the variances that exist."""
    sigma = Activation("shifted", lambda h: jnp.maximum(h - kink, 0))
    a = jnp.array(2.0)
    square = quad(lambda h: (h - kink) ** 2 * norm.pdf(h, scale=2**0.5), kink, 20, epsabs=1e-13)[0]
    assert abs(sigma.kernel(a, a, a) - square) <= sigma.kernel_error(a, a, a) + 1e-13
    np.testing.assert_allclose(sigma.kernel(a, a, a), square, rtol=1e-3)
    # d/da E[(h−k)²₊] = P(h > k), along equal inputs
    along = jax.grad(lambda v: sigma.kernel(v, v, v))(a)
    np.testing.assert_allclose(along, norm.sf(kink, scale=2**0.5), rtol=0.1)
    # h independent of h': ∂κ/∂a = ½ E[σ''(h)] m(b), with σ'' a delta
    expected = norm.pdf(kink, scale=2**0.5) / 2 * float(sigma.mean(a))
    np.testing.assert_allclose(jax.grad(sigma.kernel)(a, a, 0 * a), expected, rtol=0.1)
    np.testing.assert_allclose(jax.grad(sigma.mean)(a), norm.pdf(kink, scale=2**0.5) / 2, rtol=0.1)


def test_quadrature_agrees_with_the_closed_forms(float64):
    """The same function with and without its kernel, on broadcast shapes and to second order."""
    gelu = activations.get("gelu")
    own = Activation("own", gelu.function, order=128)
    a, b = jnp.array([[0.1], [0.7]]), jnp.array([0.5, 0.0, 1.0])
    c = jnp.array([0.3, 1.0, -0.7]) * jnp.sqrt(a * b)
    np.testing.assert_allclose(own.kernel(a, b, c), gelu.kernel(a, b, c), rtol=1e-12, atol=1e-15)
    point = jnp.array([0.7, 1.0, -0.5])
    quadrature, closed = (jax.jit(jax.hessian(lambda p, k=k: k(*p)))(point) for k in (own.kernel, gelu.kernel))
    np.testing.assert_allclose(quadrature, closed, rtol=1e-10, atol=1e-12)


def test_a_function_that_is_not_zero_at_zero(float64):
    """Sigmoid: at a zero input κ = σ(0) m(b), ∂κ/∂c = σ'(0) E[σ'(h')] and ∂κ/∂a = ½ σ''(0) m(b)."""
    sigma = Activation("sigmoid", jax.nn.sigmoid, order=64)
    zero, b = jnp.array(0.0), jnp.array(2.0)
    np.testing.assert_allclose(sigma.mean(b), 0.5, rtol=1e-13)
    np.testing.assert_allclose(sigma.kernel(zero, b, zero), 0.25, rtol=1e-13)
    slope = average(lambda h: expit(h) * expit(-h), 2.0)
    da, db, dc = jax.grad(sigma.kernel, argnums=(0, 1, 2))(zero, b, zero)
    np.testing.assert_allclose([da, db, dc], [0, 0, slope / 4], rtol=1e-12, atol=1e-14)
    cosine = Activation("cosine", jnp.cos, order=64)
    np.testing.assert_allclose(jax.grad(cosine.kernel)(zero, b, zero), -0.5 * np.exp(-1), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(cosine.mean)(zero), -0.5, rtol=1e-12)


def test_equal_functions_make_equal_activations():
    assert Activation("mine", jnp.tanh, order=32) == Activation("mine", jnp.tanh, order=32)
    assert hash(Activation("mine", jnp.cos)) == hash(Activation("mine", jnp.cos))
    assert Activation("mine", jnp.tanh, order=32) != Activation("mine", jnp.tanh, order=64)


def test_activations_are_made_inside_compiled_functions(float64):
    value = jax.jit(lambda a: Activation("mine", jnp.arctan, order=64).kernel(a, a, a))(jnp.array(0.1))
    np.testing.assert_allclose(value, average(lambda h: np.arctan(h) ** 2, 0.1), rtol=1e-9)


@pytest.mark.parametrize("slope", [0.2, -1.0, 1.0])
def test_leaky_relu_of_any_slope(slope, float64):
    sigma = activations.leaky_relu(slope)
    leaky = expectation(*[lambda h: np.where(h > 0, h, slope * h)] * 2, 2.0, 0.5, -0.9)
    np.testing.assert_allclose(sigma.kernel(*jnp.array([2.0, 0.5, -0.9])), leaky, rtol=1e-11)
    np.testing.assert_allclose(sigma.mean(jnp.array(2.0)), (1 - slope) / np.pi**0.5, rtol=1e-14, atol=1e-15)
    assert sigma.name == f"leaky_relu({slope:g})"
    assert activations.leaky_relu(slope) == sigma


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda h: h if h > 0 else 0.0, "fails on an array .*truth value.*jnp.where"),
        (lambda h: math.tanh(h), "fails on an array .*write it entry by entry in jax.numpy"),
        (np.tanh, r"fails on an array \(TracerArray"),
        (lambda h: 1 + "h", "fails on an array"),
        (None, "fails on an array"),
        (lambda h: h.sum(), r"turns shape \(2, 6\) into \(\)"),
        (lambda h: h[..., None] * jnp.ones(2), r"into \(2, 6, 2\)"),
        (lambda h: h - h.mean(), "must not mix the entries"),
        (lambda h: jnp.cumsum(h).reshape(h.shape), "must not mix the entries"),
        (jnp.log, "its value at h = -0 is NaN or infinite"),
        (lambda h: jnp.sin(h) / h, "its value at h = -0 is NaN"),
        (lambda h: jnp.sqrt(jnp.abs(h)), "its derivative at h = -0 is NaN or infinite"),
        (lambda h: h > 0, "returns bool, expected real floating numbers"),
        (lambda h: h + 1j, "returns complex64, expected real"),
        (jnp.sign, "the derivative that JAX gives is not that of the function"),
        (lambda h: jax.lax.stop_gradient(jnp.tanh(h)), "derivative that JAX gives"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused(function, message):
    with pytest.raises(ValueError, match=r"activation 'mine'.*" + message):
        Activation("mine", function)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": lambda a, b, c: c}, "got a kernel without a mean, which is right for odd functions only"),
        ({"mean": lambda a: a}, "got a mean without a kernel"),
        ({"order": 1}, "order: got 1, expected an integer of at least 2"),
        ({"order": 12.5}, "order: got 12.5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Activation("mine", jnp.square, **settings)


def test_a_function_with_jumps_is_welcome_with_its_kernel():
    Activation("sign", jnp.sign, lambda a, b, c: 2 / jnp.pi * jnp.arcsin(c / jnp.sqrt(a * b)))


def test_registry_refuses_a_second_activation_of_the_same_name():
    for name in ("relu", "tanh"):
        impostor = Activation(name, jnp.arctan)
        with pytest.raises(ValueError, match=f"'{name}' is already registered"):
            activations.register(impostor)


def test_registered_activations_are_found_by_name(monkeypatch):
    monkeypatch.setattr(activations.registry, "_REGISTRY", {})
    mine = activations.register(Activation("mish", lambda h: h * jnp.tanh(jax.nn.softplus(h))))
    assert activations.get("mish") is FullyConnected((3,), "mish").sigma is mine
    assert "mish" in activations.available()


@pytest.mark.parametrize(
    ("name", "message"),
    [("rleu", "did you mean 'relu'"), ("softmax", "expected one of 'linear'"), (3, "got 3")],
)
def test_unknown_activation_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        activations.get(name)


RELU = lambda h: jnp.maximum(h, 0)  # noqa: E731


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"name": None}, "name: got None, expected a text"),
        ({"name": ""}, "name: got '', expected a text"),
        ({"name": 3}, "name: got 3, expected a text"),
        ({"function": "relu"}, r"the function fails on an array \(TypeError: 'str' object is not callable\)"),
        ({"kernel": "relu"}, "got the kernel 'relu', expected a function"),
        ({"kernel": lambda a, b, c: c, "mean": "m"}, "got the mean 'm', expected a function"),
        ({"kernel": lambda a, b, c: jnp.sum(c)}, r"the kernel gives .*shape=\(\).* expected .* of shape \(6, 2\)"),
        ({"kernel": lambda a, b, c: a}, r"the kernel gives .*shape=\(6, 1\)"),
        ({"kernel": lambda a, b, c: c[0]}, r"the kernel gives .*shape=\(2,\)"),
        ({"kernel": lambda a, b, c: 1.0}, r"the kernel gives .*shape=\(\)"),
        ({"kernel": lambda a, b, c: (c, c)}, r"the kernel gives \(.*act entry by entry"),
        ({"kernel": lambda a, b, c: c[:, :, 5]}, r"the kernel fails on arrays \(IndexError"),
        ({"kernel": lambda a, b: a}, r"the kernel fails on arrays \(TypeError"),
        ({"kernel": lambda a, b, c: c, "mean": lambda a: a.sum()}, r"the mean gives .* expected .* of shape \(6,\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    given = {"name": "mine", "function": RELU if "mean" in parts else jnp.tanh} | parts
    with pytest.raises(ValueError, match=message):
        Activation(**given)


def test_without_a_device_the_function_is_not_blamed():
    """And the activations of the library are made without one. A machine with a GPU has a device."""
    code = """
import jax.numpy as jnp, stpbnn
print([stpbnn.activations.get(name).odd for name in ("relu", "tanh", "silu")], stpbnn.FullyConnected((5,), "erf").depth)
activation, fit = lambda: stpbnn.Activation("mine", jnp.tanh), lambda: stpbnn.NNGPRegressor().fit([[0], [1]], [0, 1])
for make in (activation, fit):
    try:
        make()
    except Exception as error:
        print(type(error).__name__, error)
"""
    environment = os.environ | {"JAX_PLATFORMS": "cuda"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    built_in, *errors = done.stdout.splitlines()
    assert built_in == "[False, True, False] 1"
    for error in errors:
        assert error.startswith("RuntimeError JAX finds no device for JAX_PLATFORMS='cuda': ")
        assert "function" not in error
