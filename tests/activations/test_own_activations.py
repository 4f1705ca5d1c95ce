"""Activations of one's own by quadrature, the registry, and what is refused."""

import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_averages import FUNCTIONS, average, expectation
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from stpbnn import FullyConnected, activations
from stpbnn.activations import Activation


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
