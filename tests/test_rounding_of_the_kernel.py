"""Kernels so smooth, and noise so small, that r times the rounding of K is of the size of T: right, or said so."""

import mpmath
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, DotProduct

from stpbnn import StudentTProcessRegressor
from stpbnn.scale.resolvent import Resolvent

X = np.array([1.0, 3.0, 5.0, 6.0, 7.0, 8.0])[:, None]
Y = X[:, 0] * np.sin(X[:, 0])


def exact(length, T, df=5):
    """Log evidence of noise beside the scale: a trapezoidal rule over log r, with determinants, in 60 digits."""
    with mpmath.workdps(60):
        x, y = ([mpmath.mpf(float(v)) for v in array] for array in (X[:, 0], Y))
        K = mpmath.matrix([[mpmath.exp(-((a - b) ** 2) / (2 * mpmath.mpf(length) ** 2)) for b in x] for a in x])
        k, U = mpmath.eigsy(K)
        squares = [v**2 for v in U.T * mpmath.matrix(y)]
        half, noise = mpmath.mpf(df) / 2, mpmath.mpf(T)
        constant = half * mpmath.log(half - 1) - mpmath.loggamma(half) - len(x) * mpmath.log(2 * mpmath.pi) / 2

        def density(u):
            A = [mpmath.exp(u) * value + noise for value in k]
            data = mpmath.fsum(mpmath.log(a) + q / a for a, q in zip(A, squares, strict=True))
            return mpmath.exp(constant - half * u - (half - 1) * mpmath.exp(-u) - data / 2)

        step = mpmath.mpf(1) / 16
        return float(mpmath.log(step * mpmath.fsum(density(step * i) for i in range(-80, 1000))))


@pytest.mark.parametrize(
    ("length", "T"), [(30.0, 1e-2), (30.0, 1e-4), (30.0, 1e-6), (3.0, 1e-2), (1.0, 1e-6), (10.0, 1.0)]
)
def test_evidence_is_right_or_not_converged(length, T):
    model = StudentTProcessRegressor(RBF(length), df=5.0, temperature=T, noise="gaussian", optimizer=None)
    expected = exact(length, T)
    if length == 30.0:
        with pytest.warns(ConvergenceWarning, match="rounding of the kernel counts"):
            model.fit(X, Y)
        assert not model.converged_
        assert abs(model.log_marginal_likelihood_ - expected) < 0.05  # of -121: eigenvalues of 1e-15 are no zeros
    else:
        model.fit(X, Y)
        assert model.converged_
        assert abs(model.log_marginal_likelihood_ - expected) < 0.01


@pytest.mark.parametrize(
    ("T", "mean", "std", "tolerance"), [(1e-2, -3.93283, 0.09329, 1e-4), (1e-4, -3.44604, 0.02063, 1e-2)]
)
def test_predictions_at_scales_at_which_rounding_counts(T, mean, std, tolerance):
    """Mean and standard deviation in 80 digits."""
    model = StudentTProcessRegressor(RBF(30.0), df=5.0, temperature=T, noise="gaussian", optimizer=None)
    with pytest.warns(ConvergenceWarning, match="rounding of the kernel counts"):
        model.fit(X, Y)
    np.testing.assert_allclose(model.predict([[4.0]], return_std=True), [[mean], [std]], atol=tolerance)


@pytest.mark.parametrize("P", [4, 10, 100, 400])
@pytest.mark.parametrize("offset", [0, 100])
def test_eigenvalues_of_singular_kernels_are_zeros(P, offset):
    inputs = np.random.default_rng(P).normal(size=(P, 2)) + offset
    K = DotProduct(1.0)(inputs)
    for temperature in (0.0, 0.1):
        assert np.count_nonzero(Resolvent.spectral(K, np.ones((P, 1)), temperature).eigenvalues) == 3
