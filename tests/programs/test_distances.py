"""Derivatives of kernels of the distance, against their values at x = x' on paper and mpmath elsewhere."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from stpbnn.programs import distance

# name: k(r) in a module's functions, −k''(0) of those that have it
PROFILES = {
    "squared exponential": (lambda r, m: m.exp(-(r**2) / 2), 1.0),
    "Matern 3/2": (lambda r, m: (1 + 3**0.5 * r) * m.exp(-(3**0.5) * r), 3.0),
    "Matern 5/2": (lambda r, m: (1 + 5**0.5 * r + 5 * r**2 / 3) * m.exp(-(5**0.5) * r), 5 / 3),
    "rational quadratic": (lambda r, m: 1 / (1 + r**2 / 2), 1.0),
}
LENGTHSCALE = np.array([0.5, 2.0])
HALF = {"float32": 2e-3, "float64": 1e-6}  # half of the digits


def kernel(profile):
    return lambda x, z, scale=LENGTHSCALE: profile(distance(x[None], z[None], scale)[0, 0], jnp)


@pytest.mark.parametrize(("profile", "curvature"), PROFILES.values(), ids=PROFILES.keys())
def test_second_derivatives_where_inputs_coincide(precision, profile, curvature):
    """Mixed and pure ones, forward over reverse and reverse over reverse; values and first derivatives are exact."""
    k, x, expected = kernel(profile), jnp.array([1.0, -0.3]), np.diag(curvature / LENGTHSCALE**2)

    @jax.jit
    def found(x):
        slope = jax.grad(k, 0)
        return jax.jacfwd(slope, 1)(x, x), jax.jacrev(slope, 1)(x, x), jax.hessian(k)(x, x), jax.value_and_grad(k)(x, x)

    forward, reverse, pure, (value, slope) = found(x)
    for mixed in (forward, reverse, -pure):
        np.testing.assert_allclose(mixed, expected, rtol=HALF[precision[0].name], atol=1e-12)
    assert float(value) == 1.0
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("profile", "curvature"), PROFILES.values(), ids=PROFILES.keys())
def test_derivatives_of_inputs_apart(profile, curvature):
    x, z = [1.0, -0.3], [0.6, 0.4]

    def truth(*v):
        r = mpmath.sqrt(sum(((v[i] - v[i + 2]) / LENGTHSCALE[i]) ** 2 for i in range(2)))
        return profile(r, mpmath)

    orders = [[tuple(int(n == i) + int(n == j + 2) for n in range(4)) for j in range(2)] for i in range(2)]
    with mpmath.workdps(40):
        expected = [[float(mpmath.diff(truth, (*x, *z), order)) for order in row] for row in orders]
    found = jax.jit(jax.jacfwd(jax.grad(kernel(profile), 0), 1))(jnp.array(x), jnp.array(z))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_length_scales_meet_exact_zeros():
    """Second derivatives in the length scales alone leave the diagonal of exp(−r) as it is, at one."""
    X = jnp.array([[0.0], [1.0]])

    def matrix(scale):
        return jnp.exp(-distance(X, X, scale))

    value, slope = jax.jit(lambda scale: jax.jvp(jax.jacfwd(matrix), (scale,), (1.0,)))(0.5)
    np.testing.assert_array_equal(jnp.diagonal(value), 0.0)
    np.testing.assert_array_equal(jnp.diagonal(slope), 0.0)
    np.testing.assert_allclose(slope[0, 1], np.exp(-2.0) * (0.5**-4 - 2 * 0.5**-3), rtol=1e-12)


def test_derivative_observations():
    """The variance of a slope, 1/ℓ² before, given two values of the function around it."""
    k = kernel(PROFILES["squared exponential"][0])
    x, X = jnp.zeros(2), jnp.array([[-0.1, 0.0], [0.1, 0.0]])
    cross = jax.jit(jax.vmap(lambda z: jax.grad(k)(x, z)[0]))(X)
    prior = jax.jit(jax.jacfwd(jax.grad(k, 0), 1))(x, x)[0, 0]
    K = np.exp(-((np.asarray(X)[:, None, 0] - np.asarray(X)[None, :, 0]) ** 2) / 2 / 0.25) + 1e-4 * np.eye(2)
    variance = prior - cross @ np.linalg.solve(K, cross)
    u = 0.1 / 0.5
    exact = 4 - (2 * (u / 0.5) * np.exp(-(u**2) / 2)) ** 2 / 2 / (1 + 1e-4 - np.exp(-2 * u**2))
    assert float(variance) == pytest.approx(exact, rel=1e-2)
