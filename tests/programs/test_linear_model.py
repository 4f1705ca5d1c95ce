"""The evidence of a linear layer against scipy's Gaussian density, differences of it, and long-hand regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from stpbnn.programs.linear_model import design, factorised_design, log_evidence, log_normal

SHAPES = {"tall": (9, 4), "square": (6, 6), "wide": (5, 8)}


def problem(shape, outputs):
    P, N = SHAPES[shape]
    rng = np.random.default_rng(P)
    return rng.normal(size=(P, N)), rng.normal(size=(P,) if outputs == 1 else (P, outputs))


def reference(features, y, precision, bias_variance, temperature):
    P, N = features.shape
    cov = features @ features.T / (precision * N) + bias_variance + temperature * np.eye(P)
    return sum(stats.multivariate_normal.logpdf(column, cov=cov) for column in y.reshape(P, -1).T)


@pytest.mark.parametrize("bias_variance", [0.0, 0.7])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_density_and_gradient(shape, outputs, bias_variance):
    """In float64 to rounding; the gradient, in features, targets and temperature, by central differences of scipy's."""
    features, y = problem(shape, outputs)
    arguments = [features, y, np.array(0.3)]

    def scipy_density(features, y, temperature):
        return reference(features, y, 2.0, bias_variance, temperature)

    def density(features, y, temperature):
        return log_evidence(features, y, 2.0, bias_variance, temperature)

    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(density, argnums=(0, 1, 2)))(*map(jnp.asarray, arguments))
    np.testing.assert_allclose(value, scipy_density(*arguments), rtol=1e-12)
    for which, slope in enumerate(gradient):
        differences = np.empty_like(arguments[which])
        for index in np.ndindex(differences.shape):
            moved = [[a.copy() for a in arguments] for _ in range(2)]
            moved[0][which][index] += 1e-5
            moved[1][which][index] -= 1e-5
            differences[index] = (scipy_density(*moved[0]) - scipy_density(*moved[1])) / 2e-5
        np.testing.assert_allclose(slope, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_is_its_members(shape):
    P, N = SHAPES[shape]
    batch = jnp.asarray(np.random.default_rng(0).normal(size=(3, P, N)), jnp.float32)
    y = jnp.ones((P, 1), jnp.float32)
    density = jax.value_and_grad(log_normal)
    together = jax.jit(jax.vmap(density, in_axes=(0, None, None)))(batch, y, jnp.float32(0.1))
    for i in range(3):
        alone = jax.jit(density)(batch[i], y, jnp.float32(0.1))
        np.testing.assert_allclose(together[0][i], alone[0], rtol=1e-5)
        np.testing.assert_allclose(together[1][i], alone[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("P", "N"), [(500, 100), (100, 500), (300, 300)])
def test_single_precision_keeps_the_energy(P, N):
    """At T = 0.01 rounding moves the log density by far less than the energy error that a sampler tolerates."""
    rng = np.random.default_rng(0)
    hidden = np.tanh(rng.normal(size=(P, 20)) @ rng.normal(size=(20, N)) / 4 + 1.0)
    y = np.sign(rng.normal(size=P))
    single = log_evidence(jnp.asarray(hidden, jnp.float32), jnp.asarray(y), 1.0, 0.0, 0.01)
    assert single.dtype == jnp.float32
    exact = reference(hidden.astype(np.float32).astype(float), y, 1.0, 0.0, 0.01)
    assert abs(float(single) - exact) < 1e-5 * abs(exact) + 0.02


@pytest.mark.parametrize("shape", SHAPES)
def test_conditional_law(shape):
    """Mean and covariance of the coefficients by the textbook formula; draws within Monte Carlo error of both."""
    features, y = problem(shape, 2)
    with jax.enable_x64(True):
        Psi = np.asarray(design(jnp.asarray(features), 0.5, 0.3))
        law = factorised_design(jnp.asarray(Psi), 0.2)
        other = np.random.default_rng(1).normal(size=(4, Psi.shape[1]))
        mean, variance = law.coefficients(jnp.asarray(y))[1], law.variance(jnp.asarray(other))
        keys = jax.random.split(jax.random.key(0), 20_000)
        draws = np.asarray(jax.jit(jax.vmap(lambda key: law.draw(key, jnp.asarray(y))))(keys))
    covariance = np.linalg.inv(Psi.T @ Psi / 0.2 + np.eye(Psi.shape[1]))
    expected = covariance @ Psi.T @ y / 0.2
    np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(variance, np.einsum("ij,jk,ik->i", other, covariance, other), rtol=1e-9)
    scale = np.sqrt(np.diag(covariance))[:, None]
    assert np.all(np.abs(draws.mean(0) - expected) < 4.5 * scale / 20_000**0.5)
    for column in range(2):
        deviation = (draws[:, :, column] - expected[:, column]) / scale.T
        correlation = covariance / (scale * scale.T)
        assert np.all(np.abs(deviation.T @ deviation / 20_000 - correlation) < 4.5 * np.sqrt(2 / 20_000))
