"""A matrix a layer in the nested closure: against dense algebra, one output, and networks that have one closure."""

import numpy as np
import pytest
from posed import saddle_points
from regression_data import data
from scipy.linalg import expm, sqrtm

from stpbnn import FullyConnected, ProportionalLimitRegressor
from stpbnn.scale.deep import Layered
from stpbnn.scale.deep_outputs import DeepOutputs

pytestmark = pytest.mark.usefixtures("float64")


def nested_erf(C, scales, bias=0.0):
    """K^R of two hidden layers of erf units in NumPy."""
    for q in scales:
        a = 1 + 2 * np.diag(C)
        C = q * 2 / np.pi * np.arcsin(2 * C / np.sqrt(np.outer(a, a))) + bias
    return C


def problem(outputs=2, P=7):
    rng = np.random.default_rng(3)
    return rng.normal(size=(P, 4)), 1.5 * rng.normal(size=(P, outputs)) @ rng.normal(size=(outputs, outputs))


def test_minimum_over_scales_and_eigenvectors():
    """S = Σ_a N (w − log w) + log det A_a + (y v_a)^T A_a^{-1} y v_a rises in every direction, and is flat there."""
    (X, y), widths = problem(), (6, 9)
    point = saddle_points(FullyConnected(widths, "erf", outputs=2), X, y, 0.1)[0]
    first, second = point.order_parameters
    np.testing.assert_allclose(first @ second, second @ first, atol=1e-12)
    V = np.linalg.eigh(first)[1]
    w = np.array([np.diag(V.T @ W @ V) for W in point.order_parameters]).T

    def action(log_w, angle):
        turned, total = V @ expm(angle * np.array([[0, 1], [-1, 0]])), 0.0
        for a in range(2):
            A = nested_erf(X @ X.T / 4, np.exp(log_w[a])) + 0.1 * np.eye(len(X))
            target = y @ turned[:, a]
            total += np.linalg.slogdet(A)[1] + target @ np.linalg.solve(A, target)
            total += widths @ (np.exp(log_w[a]) - log_w[a])
        return total

    assert point.converged
    np.testing.assert_allclose(point.action, action(np.log(w), 0.0), rtol=1e-12)
    rng, h = np.random.default_rng(0), 1e-4
    for _ in range(6):
        step, angle = rng.normal(size=(2, 2)), rng.normal()
        up, down = action(np.log(w) + h * step, h * angle), action(np.log(w) - h * step, -h * angle)
        assert abs(up - down) / (2 * h) < 1e-5
        assert action(np.log(w) + 0.05 * step, 0.05 * angle) > point.action


def test_evidence_has_the_fluctuations_of_both_matrices():
    """Laplace's approximation in log Q_1 and log Q_2, by differences of the action over all of their entries."""
    X, y = problem(P=6)
    widths, C = (6, 9), X @ X.T / 4
    point = saddle_points(FullyConnected(widths, "erf", outputs=2, bias_precision=2.0), X, y, 0.1)[0]
    W1, W2 = point.order_parameters
    roots = [np.real(sqrtm(W1 @ W2)), np.real(sqrtm(W2))]
    basis = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 0.5**0.5], [0.5**0.5, 0]]])

    def action(x):
        Q1, Q2 = (root @ expm(np.tensordot(part, basis, 1)) @ root for root, part in zip(roots, x, strict=True))
        total = 0.0
        for N, Q, above in zip(widths, (Q1, Q2), (Q2, np.eye(2)), strict=True):
            total += N * (np.trace(np.linalg.solve(above, Q)) - np.log(np.linalg.det(Q) / np.linalg.det(above)))
        for v in np.linalg.eigh(Q1)[1].T:
            first, second = v @ Q1 @ v, v @ Q2 @ v
            A = nested_erf(C + 0.5, (first / second, second), bias=0.5) + 0.1 * np.eye(6)
            total += np.linalg.slogdet(A)[1] + y @ v @ np.linalg.solve(A, y @ v)
        return total

    steps = 1e-3 * np.eye(6).reshape(6, 2, 3)
    differences = [[action(a + b) - action(a - b) - action(b - a) + action(-a - b) for a in steps] for b in steps]
    log_det = np.linalg.slogdet(np.array(differences) / 4e-6)[1]
    prior = 2 * sum(widths), 3 * np.log(widths).sum()
    expected = (prior[0] - action(np.zeros((2, 3))) - y.size * np.log(2 * np.pi) + prior[1] - log_det) / 2
    assert point.log_evidence == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("collinear", [False, True])
def test_homogeneous_networks_are_those_of_the_product(collinear):
    """Relu without biases is the same in both closures: another search, in other coordinates, with its evidence."""
    X, y = problem(outputs=3)
    if collinear:  # two outputs of one scale, after a rotation
        y = y[:, :1] * np.array([1.0, 2.0, -1.0])
    net = FullyConnected((6, 9), "relu", outputs=3)
    nested, product = (saddle_points(net, X, y, 0.1, closure)[0] for closure in ("nested", "global"))
    np.testing.assert_allclose(nested.order_parameters, product.order_parameters, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(nested.action, product.action, rtol=1e-11)
    np.testing.assert_allclose(nested.log_evidence, product.log_evidence, rtol=1e-9)


@pytest.mark.parametrize("closure", ["nested", pytest.param("wishart", marks=pytest.mark.long)])
def test_one_output_is_the_layered_theory(closure):
    X, y = problem(outputs=1)
    net = FullyConnected((6, 9), "erf", bias_precision=2.0)
    one = Layered(net, X, y[:, 0].copy(), 0.1, closure).saddle_points()[0]
    several = DeepOutputs(net, X, y, 0.1, closure).saddle_points()[0]
    np.testing.assert_allclose(several.order_parameters[:, 0, 0], one.order_parameters, rtol=1e-9)
    np.testing.assert_allclose([several.action, several.log_evidence], [one.action, one.log_evidence], rtol=1e-10)


def test_a_layer_that_is_infinitely_wide_is_none():
    """Linear layers commute: with one of 10^12 units the theory is that of one hidden layer."""
    X, y = problem(outputs=3)
    one = saddle_points(FullyConnected((6,), "linear", outputs=3), X, y, 0.1)[0]
    two = saddle_points(FullyConnected((6, 10**12), "linear", outputs=3), X, y, 0.1)[0]
    np.testing.assert_allclose(two.order_parameters[0], one.order_parameters, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(two.order_parameters[1], np.eye(3), atol=1e-9)


def test_predictions_by_dense_algebra():
    X, y, Xt = data(outputs=2)
    model = ProportionalLimitRegressor(FullyConnected((12, 9), "erf", outputs=2), temperature=0.1).fit(X, y)
    assert model.converged_
    assert model.order_parameters_.shape == (2, 2, 2)
    V = np.linalg.eigh(model.order_parameters_[0])[1]
    w = np.array([np.diag(V.T @ W @ V) for W in model.order_parameters_]).T
    both, P = np.vstack([X, Xt]), len(X)
    kernels = [nested_erf(both @ both.T / X.shape[1], scales) for scales in w]
    full = sum(np.kron(np.outer(v, v), K) for v, K in zip(V.T, kernels, strict=True))  # outputs before examples
    train = np.concatenate([np.arange(P) + len(both) * d for d in range(2)])
    test = np.setdiff1d(np.arange(2 * len(both)), train)
    A = full[np.ix_(train, train)] + 0.1 * np.eye(2 * P)
    mean = full[np.ix_(test, train)] @ np.linalg.solve(A, y.T.ravel())
    covariance = full[np.ix_(test, test)] - full[np.ix_(test, train)] @ np.linalg.solve(A, full[np.ix_(train, test)])
    predicted, std = model.predict(Xt, return_std=True)
    np.testing.assert_allclose(predicted, mean.reshape(2, -1).T, rtol=1e-8)
    np.testing.assert_allclose(std**2, np.diag(covariance).reshape(2, -1).T, rtol=1e-7)
    joint = model.predictive(Xt, joint=True).covariance
    np.testing.assert_allclose(joint[..., 1], covariance[len(Xt) :, len(Xt) :], rtol=1e-6, atol=1e-10)
    inverse = np.linalg.inv(A).reshape(2, P, 2, P)
    block = np.linalg.inv(inverse[:, 0, :, 0])  # the covariance of the outputs of an example that is left out
    left_out = model.leave_one_out()
    alpha = np.linalg.solve(A, y.T.ravel()).reshape(2, P)
    np.testing.assert_allclose(left_out.mean[0], y[0] - block @ alpha[:, 0], rtol=1e-8)
    np.testing.assert_allclose(left_out.variance[0], np.diag(block), rtol=1e-8)
