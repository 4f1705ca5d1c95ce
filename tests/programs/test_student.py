"""The multivariate t against scipy, and mpmath where scipy loses digits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import stats

from stpbnn.programs.student import MultivariateStudentT

RNG = np.random.default_rng(0)


def problem(size):
    root = RNG.normal(size=(size, size))
    return root @ root.T / size + np.eye(size), RNG.normal(size=size), RNG.normal(size=size)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [1, 7, 300])
@pytest.mark.parametrize("df", [0.5, 2.001, 5.0, 90.0, 1e5])
def test_log_density(size, df):
    shape, loc, y = problem(size)
    law = MultivariateStudentT(df, loc, jnp.linalg.cholesky(shape))
    np.testing.assert_allclose(law.log_prob(y), stats.multivariate_t.logpdf(y, loc, shape, df=df), rtol=1e-10)


def exact(df, size, squared):
    """Log density and its slope in ν for a unit scale matrix, to 40 digits."""

    def density(nu):
        normaliser = mpmath.loggamma((nu + size) / 2) - mpmath.loggamma(nu / 2) - size * mpmath.log(nu * mpmath.pi) / 2
        return normaliser - (nu + size) / 2 * mpmath.log1p(mpmath.mpf(squared) / nu)

    with mpmath.workdps(40):
        return float(density(mpmath.mpf(df))), float(mpmath.diff(density, mpmath.mpf(df)))


@pytest.mark.parametrize("df", [3.0, 1e3, 1e5, 1e6, 1e8])
def test_many_degrees_of_freedom(precision, df):
    """No loss of digits where both gamma functions are huge: absolute error 1e-3 in single precision."""
    dtype, tolerance = precision
    y = np.random.default_rng(1).normal(size=300).astype(dtype)

    def density(nu):
        return MultivariateStudentT(nu, jnp.zeros(300, dtype), jnp.eye(300, dtype=dtype)).log_prob(y)

    value, slope = jax.value_and_grad(density)(jnp.asarray(df, dtype))
    expected, expected_slope = exact(df, 300, float(np.sum(np.asarray(y, np.float64) ** 2)))
    assert abs(value - expected) < 100 * tolerance
    assert abs(slope - expected_slope) < 100 * tolerance * max(1 / df, abs(expected_slope))


def test_batches():
    """One density for each pair of a law and a value."""
    tril = np.linalg.cholesky(np.stack([problem(3)[0] for _ in range(4)])).astype(np.float32)
    df, y = np.array([3.0, 4.0, 5.0, 6.0], np.float32), RNG.normal(size=(2, 4, 3)).astype(np.float32)
    together = MultivariateStudentT(df, jnp.zeros((4, 3)), tril).log_prob(y)
    alone = [
        [stats.multivariate_t.logpdf(y[i, j], None, tril[j] @ tril[j].T, df=df[j]) for j in range(4)] for i in (0, 1)
    ]
    np.testing.assert_allclose(together, alone, rtol=2e-5)
