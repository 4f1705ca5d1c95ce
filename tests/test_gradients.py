"""Gradients of predictions against finite differences of means and joint covariances."""

import mpmath
import numpy as np
import pytest
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Exponentiation,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)

from stpbnn import FullyConnected, NNGPKernel, NNGPRegressor, ProportionalLimitRegressor, StudentTProcessRegressor

RNG = np.random.default_rng(4)
P, N0, T = 9, 2, 0.3
X, Y = RNG.normal(size=(P, N0)), RNG.normal(size=(P, 2)) + 2
NEW = RNG.normal(size=(2, N0))
STEP = 1e-3
ERF = FullyConnected((8,), "erf", bias_precision=2.0)
PROCESS = {"temperature": T, "optimizer": None}


def differences(model, x, step=STEP):
    """Fourth-order central differences of the mean, and second-order ones of the covariance of f around x."""
    e = step * np.eye(N0)
    points = np.vstack([x + c * direction for direction in e for c in (1, -1, 2, -2)])
    mean = model.predict(points)
    mean = mean.reshape(N0, 4, *mean.shape[1:])
    gradient = (8 * (mean[:, 0] - mean[:, 1]) - (mean[:, 2] - mean[:, 3])) / (12 * step)
    weights = np.kron(np.eye(N0), [8, -8, -1, 1]) / (12 * step)
    return gradient, np.einsum("ai,ij...,bj->ab...", weights, model.predict(points, return_cov=True)[1], weights)


SMOOTH = [
    NNGPRegressor(ERF, temperature=T),
    NNGPRegressor(FullyConnected((8, 8), "erf", weight_precision=(1.0, 2.0, 3.0)), temperature=T, trend="linear"),
    NNGPRegressor(FullyConnected((8,), "erf", outputs=2), temperature=T),
    NNGPRegressor(FullyConnected((8,), "tanh"), temperature=T),
    ProportionalLimitRegressor(ERF, temperature=T),
    ProportionalLimitRegressor(FullyConnected((8, 9), "erf"), temperature=T),
    StudentTProcessRegressor(ConstantKernel(2.0) * RBF([1.5, 0.7]), **PROCESS),
    StudentTProcessRegressor(RBF(1.5) * DotProduct(0.5) + Exponentiation(DotProduct(1.0), 2), **PROCESS),
    StudentTProcessRegressor(RationalQuadratic(1.2, 0.8) * NNGPKernel(ERF), normalize_y=True, **PROCESS),
    StudentTProcessRegressor(Matern(1.1, nu=2.5), noise="gaussian", trend="constant", **PROCESS),
]


@pytest.mark.parametrize("model", SMOOTH)
def test_gradients_are_those_of_the_joint_law(model):
    two = isinstance(model, NNGPRegressor) and model.network.outputs == 2
    model.fit(X, Y if two else Y[:, 0])
    mean, covariance = model.predict_gradient(NEW)
    for i, x in enumerate(NEW):
        gradient, spread = differences(model, x)
        np.testing.assert_allclose(mean[i], gradient, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(covariance[i], spread, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("regressor", [NNGPRegressor, ProportionalLimitRegressor])
def test_relu_has_a_gradient_too(regressor):
    """The covariance from the expectation over the gate of one unit: half of the prior's precision."""
    net = FullyConnected((8,), "relu")
    model = regressor(net, temperature=T).fit(X, Y[:, 0])
    mean, covariance = model.predict_gradient(NEW)
    for i, x in enumerate(NEW):
        np.testing.assert_allclose(mean[i], differences(model, x, 1e-4)[0], rtol=1e-6, atol=1e-7)
        _, spread = differences(model, x, 3e-4)
        np.testing.assert_allclose(covariance[i], spread, rtol=0.02, atol=1e-3)
    if regressor is NNGPRegressor:  # E[1(h > 0)] / N_0, given nothing
        K, cross = NNGPKernel(net)(X), 1e-5
        slopes = np.array(
            [(NNGPKernel(net)(NEW + cross * e, X) - NNGPKernel(net)(NEW - cross * e, X)) for e in np.eye(N0)]
        )
        slopes = slopes.transpose(1, 0, 2) / (2 * cross)
        explained = np.einsum("aip,pq,ajq->aij", slopes, np.linalg.inv(K + T * np.eye(P)), slopes)
        np.testing.assert_allclose(covariance, np.eye(N0) / (2 * N0) - explained, rtol=1e-6, atol=1e-8)


def test_a_linear_network_has_one_gradient():
    """Exact: Bayesian linear regression."""
    model = NNGPRegressor(FullyConnected((5,), "linear"), temperature=T).fit(X, Y[:, 0])
    inverse = np.linalg.inv(X.T @ X / T + N0 * np.eye(N0))
    mean, covariance = model.predict_gradient(NEW)
    np.testing.assert_allclose(mean, np.tile(inverse @ X.T @ Y[:, 0] / T, (2, 1)), rtol=1e-8)
    np.testing.assert_allclose(covariance, np.tile(inverse, (2, 1, 1)), rtol=1e-8)


def test_gradients_to_the_last_digits():
    """The arcsine kernel of erf units, differentiated in fifty digits."""
    model = NNGPRegressor(ERF, temperature=T).fit(X, Y[:, 0])

    def kernel(*coordinates):
        x, z = coordinates[:N0], coordinates[N0:]
        a, C, c = (mpmath.fdot(u, v) / N0 + 0.5 for u, v in ((x, x), (x, z), (z, z)))
        return 2 / mpmath.pi * mpmath.asin(2 * C / mpmath.sqrt((1 + 2 * a) * (1 + 2 * c))) + 0.5

    with mpmath.workdps(50):
        x, first = NEW[0].tolist(), np.eye(2 * N0, dtype=int)[:N0]
        slopes = [[mpmath.diff(kernel, (*x, *z), tuple(n)) for z in X.tolist()] for n in first.tolist()]
        second = [[mpmath.diff(kernel, (*x, *x), tuple(m + np.roll(n, N0))) for n in first] for m in first]
    slopes, second = np.array(slopes, dtype=float), np.array(second, dtype=float)
    A = NNGPKernel(ERF)(X) + T * np.eye(P)
    mean, covariance = model.predict_gradient(NEW[:1])
    np.testing.assert_allclose(mean[0], slopes @ np.linalg.solve(A, Y[:, 0]), rtol=1e-9)
    np.testing.assert_allclose(covariance[0], second - slopes @ np.linalg.solve(A, slopes.T), rtol=1e-9)


def test_white_noise_has_no_part_in_the_gradient():
    kernel = 2.0 * RBF([1.5, 0.7])
    white = StudentTProcessRegressor(kernel + WhiteKernel(0.1), **PROCESS).fit(X, Y[:, 0])
    other = StudentTProcessRegressor(kernel, temperature=T + 0.1, optimizer=None).fit(X, Y[:, 0])
    for ours, theirs in zip(white.predict_gradient(NEW), other.predict_gradient(NEW), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_rough_and_unknown_kernels_are_refused():
    for kernel in (Matern(1.0, nu=0.5), ExpSineSquared(3.0, 20.0)):
        model = StudentTProcessRegressor(kernel, **PROCESS).fit(X, Y[:, 0])
        with pytest.raises(ValueError, match="expected kernels whose derivatives are known"):
            model.predict_gradient(NEW)
    model = ProportionalLimitRegressor(FullyConnected((9,), outputs=2), temperature=T).fit(X, Y)
    with pytest.raises(ValueError, match="network: got a FullyConnected of 2 output"):
        model.predict_gradient(NEW)
