"""Laws of the scales before the data, and the dual law, against SciPy and linear networks."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from posed import condition, predictive
from scale_integrals import prior_kernel, problem
from scipy.linalg import block_diag
from scipy.stats import multivariate_t

from stpbnn import FullyConnected
from stpbnn.scale import (
    Gamma,
    InverseGamma,
    dual_student_t,
)


@pytest.mark.parametrize("law", [Gamma(7.0), InverseGamma(4.0)])
def test_laws_are_normalised_with_mean_one_and_a_slope(law):
    u, h = np.linspace(-60, 60, 60_001), 1e-6
    weights = np.exp(-law.value(u) / 2) * (u[1] - u[0])
    assert abs(weights.sum() - 1) < 1e-10
    assert abs(weights @ np.exp(u) - 1) < 1e-10
    v = np.array([-0.7, 0.0, 1.3])
    np.testing.assert_allclose(law.slope(v), (law.value(v + h) - law.value(v - h)) / (2 * h), rtol=1e-7, atol=1e-8)
    assert abs(law.slope(np.array(law.centre))) < 1e-12


@pytest.mark.parametrize("size", [1.5, 1e5, 1e7, 1e9])
def test_laws_keep_their_digits_at_any_width(size):
    """−2 log p(u) against mpmath, from the peak to the far tails; the bulk is of width 1/√N."""
    with mpmath.workdps(50):
        N = mpmath.mpf(size)
        for u in [0.0, -1e-2, 0.3, 3.0, *np.array([-3.0, 1e-3, 1.0]) / np.sqrt(size)]:
            constant = 2 * mpmath.loggamma(N / 2) - N * mpmath.log(N / 2)
            exact = constant + N * (mpmath.exp(u) - mpmath.mpf(u))
            np.testing.assert_allclose(float(Gamma(size).value(np.array(u))), float(exact), rtol=1e-13)
            exact = constant + N * (mpmath.exp(-u) + mpmath.mpf(u))
            np.testing.assert_allclose(float(InverseGamma(size, False).value(np.array(u))), float(exact), rtol=1e-13)


@pytest.mark.parametrize("P", [1, 3])
def test_dual_law_is_the_characteristic_function_of_linear_networks(P):
    X, _, _ = problem(P=P)
    N, draws = 6, 400_000
    net = FullyConnected((N,), "linear", weight_precision=(0.5, 2.0))
    law = dual_student_t(net, X)
    rng = np.random.default_rng(2)
    h = X @ rng.normal(size=(draws, 5, N)) / np.sqrt(5 * 0.5)
    f = (h @ rng.normal(size=(draws, N, 1)))[..., 0] / np.sqrt(N * 2.0)
    for s in (np.full(P, 0.4), np.linspace(-1.5, 1.0, P)):
        sample = np.cos(f @ s)
        ratio = np.exp(law.log_prob(jnp.asarray(s)) - law.log_prob(jnp.zeros(P)))
        assert abs(sample.mean() - ratio) < 4 * sample.std() / np.sqrt(draws) + 1e-6


def test_dual_law_against_scipy():
    X, _, _ = problem(P=4)
    law = dual_student_t(FullyConnected((9,), "erf"), X)
    shape = 9 / 5 * np.linalg.inv(prior_kernel("erf", X, [1.0]))
    s = np.array([0.3, -1.0, 0.2, 0.5])
    np.testing.assert_allclose(law.log_prob(jnp.asarray(s)), multivariate_t.logpdf(s, shape=shape, df=5), rtol=1e-5)


@pytest.mark.parametrize("width", [1_000, 10**6, 10**8])
def test_dual_law_of_wide_networks_keeps_its_digits(width):
    """In single precision also, where the two gamma functions of NumPyro's density cancel."""
    P = 30
    law = dual_student_t(FullyConnected((width,), "linear"), np.sqrt(P) * np.eye(P))  # K_1 = 1
    s = np.linspace(-1, 1, P)
    with mpmath.workdps(40):
        nu, scale = mpmath.mpf(width - P), mpmath.mpf(width) / (width - P)
        expected = (
            mpmath.loggamma((nu + P) / 2) - mpmath.loggamma(nu / 2) - P * mpmath.log(nu * mpmath.pi * scale) / 2
            - (nu + P) / 2 * mpmath.log1p(mpmath.mpf(float(s @ s)) / scale / nu)
        )  # fmt: skip
    np.testing.assert_allclose(law.log_prob(jnp.asarray(s)), float(expected), rtol=1e-5)


@pytest.mark.parametrize(
    ("net", "X", "message"),
    [
        (FullyConnected((6,)), np.eye(6), "cannot be normalised"),
        (FullyConnected((9, 9)), np.eye(3), "hidden layers"),
        (FullyConnected((9,), outputs=2), np.eye(3), "2 outputs"),
        (FullyConnected((9,), bias_precision=1.0), np.eye(3), "output bias"),
        (FullyConnected((9,)), np.ones((3, 3)), "singular"),
        (FullyConnected((9,), "linear"), np.zeros((3, 3)), "singular"),
        (FullyConnected((9,)), np.ones(3), "two"),
        ("erf", np.eye(3), "net: got 'erf', expected a stpbnn.FullyConnected"),
    ],
)
def test_dual_law_refuses(net, X, message):
    with pytest.raises(ValueError, match=message):
        dual_student_t(net, X)


def test_several_layers_of_prior_scales_are_block_diagonal_in_independent_inputs():
    """Orthogonal inputs of a linear network: kernel, and with it the prediction, has no cross terms."""
    X = block_diag(np.ones((1, 2)), np.ones((1, 2)))
    law = predictive(condition(FullyConnected((5, 5), "linear"), X[:1], np.ones(1), 0.1), X, joint=True)
    assert abs(law.mean[1]) < 1e-14
    assert abs(law.covariance[0, 1]) < 1e-14
