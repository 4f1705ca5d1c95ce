"""Several outputs of deep networks: real linear networks, dense algebra over all layers, one output, one layer."""

import numpy as np
import pytest
from posed import saddle_points
from scipy.linalg import expm, sqrtm
from scipy.optimize import minimize

from stpbnn.network import FullyConnected
from stpbnn.scale import products_of_layers
from stpbnn.scale.matrix import matrix_saddle_points
from stpbnn.scale.one_scale import saddle_points_of_scale
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.wishart_chain import WishartChain

pytestmark = pytest.mark.usefixtures("float64")

WIDTHS = np.array([7.0, 12.0, 5.0])
BASIS = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 0.5**0.5], [0.5**0.5, 0]]])


def problem(P=8, D=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(P, 2 * P))
    return X @ X.T / (2 * P), 1.5 * rng.normal(size=(P, D)) @ rng.normal(size=(D, D))


def chain_of(layers):
    """Q_l of every layer, from the last one down: Q_l = Q_{l+1}^{1/2} W_l Q_{l+1}^{1/2}."""
    Q, found = np.eye(len(layers[0])), []
    for W in layers[::-1]:
        root = np.real(sqrtm(Q))
        Q = root @ W @ root
        found.append(Q)
    return found[::-1]


def test_moments_of_real_linear_networks():
    """f = X W_1^T .. v over random weights: E f_d f_e, and the fourth moment that a chain of three Wisharts has."""
    rng, draws, widths = np.random.default_rng(0), 40_000, (4, 6, 3)
    x = np.array([0.6, 0.8])
    h = np.broadcast_to(x, (draws, 2))
    for n in widths:
        h = np.einsum("snm,sm->sn", rng.normal(size=(draws, n, h.shape[1])) / np.sqrt(h.shape[1]), h)
    f = np.einsum("sn,snd->sd", h, rng.normal(size=(draws, 3, 2))) / np.sqrt(3)
    rows = [rng.normal(size=(draws, n, 2)) / np.sqrt(n) for n in widths]
    q, V = products_of_layers(np.stack([each.transpose(0, 2, 1) @ each for each in rows], axis=1))
    g = np.einsum("sab,sb->sa", V, np.sqrt(q / 2) * rng.normal(size=(draws, 2)))
    for power in (lambda f: f[:, 0] ** 2, lambda f: f[:, 0] ** 2 * f[:, 1] ** 2, lambda f: np.tanh(f[:, 0] * f[:, 1])):
        of_networks, of_chain = power(f), power(g)
        error = np.hypot(of_networks.std(), of_chain.std()) / np.sqrt(draws)
        assert abs(of_networks.mean() - of_chain.mean()) < 4 * error


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_stationary_in_all_layers_with_their_fluctuation(bias):
    """Against S of all matrices Q_l, dense: its gradient, its Hessian in invariant coordinates, and their evidence."""
    (K, y), T = problem(), 0.1
    point = matrix_saddle_points(Resolvent.spectral(K, y, T, bias), WIDTHS)[0]
    roots = [np.real(sqrtm(Q)) for Q in chain_of(point.order_parameters)]

    def action(x):
        steps = [expm(np.tensordot(step, BASIS, 1)) for step in x.reshape(3, 3)]
        Qs = [root @ step @ root for root, step in zip(roots, steps, strict=True)]
        A = np.kron(Qs[0], K) + np.kron(np.eye(2), bias * np.ones_like(K) + T * np.eye(len(K)))
        value = np.linalg.slogdet(A)[1] + y.T.ravel() @ np.linalg.solve(A, y.T.ravel())
        for N, Q, above in zip(WIDTHS, Qs, [*Qs[1:], np.eye(2)], strict=True):
            W = np.linalg.solve(above, Q)
            value += N * (np.trace(W) - np.linalg.slogdet(W)[1])
        return value

    steps, at = 1e-3 * np.eye(9), np.zeros(9)
    gradient = [(action(e) - action(-e)) / 2e-3 for e in steps]
    hessian = np.array(
        [[(action(d + e) - action(d - e) - action(e - d) + action(-d - e)) / 4e-6 for e in steps] for d in steps]
    )
    assert point.converged
    np.testing.assert_allclose(point.action, action(at), rtol=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
    assert np.linalg.eigvalsh(hessian)[0] > 0
    fluctuation = (3 * np.log(WIDTHS).sum() - np.linalg.slogdet(hessian)[1]) / 2
    expected = -(point.action - 2 * WIDTHS.sum() + y.size * np.log(2 * np.pi)) / 2 + fluctuation
    np.testing.assert_allclose(point.log_evidence, expected, atol=1e-5)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_one_output_is_the_scalar_case(bias):
    K, y = problem(D=1)
    point = matrix_saddle_points(Resolvent.spectral(K, y, 0.1, bias), WIDTHS)[0]
    one = saddle_points_of_scale(Resolvent.tridiagonal(K, y, 0.1, bias), WIDTHS)[0]
    np.testing.assert_allclose(point.order_parameters[:, 0, 0], one.order_parameters, rtol=1e-10)
    np.testing.assert_allclose([point.action, point.log_evidence], [one.action, one.log_evidence], rtol=1e-11)


def test_published_action_of_equal_widths():
    """L tr Q^{1/L} − log det Q − LD + (log det A + y^T A^{-1} y)/N, as deepbays has it, minimised by SciPy over Q."""
    (K, y), L, N = problem(D=2), 2, 9.0

    def action(x):
        factor = np.array([[np.exp(x[0]), 0.0], [x[1], np.exp(x[2])]])
        Q = factor @ factor.T
        A = np.kron(Q, K) + 0.1 * np.eye(2 * len(K))
        data = np.linalg.slogdet(A)[1] + y.T.ravel() @ np.linalg.solve(A, y.T.ravel())
        q = np.linalg.eigvalsh(Q)
        return L * (q ** (1 / L)).sum() - np.log(q).sum() - 2 * L + data / N, Q

    found = minimize(lambda x: action(x)[0], np.zeros(3), method="BFGS", options={"gtol": 1e-7})
    point = matrix_saddle_points(Resolvent.spectral(K, y, 0.1), np.full(L, N))[0]
    np.testing.assert_allclose((point.action / N) - 2 * L, found.fun, rtol=1e-11)
    np.testing.assert_allclose(chain_of(point.order_parameters)[0], action(found.x)[1], rtol=1e-5)


def test_price_of_a_product_against_a_search_over_layers():
    s, chain = np.array([-3.0, 0.4, 2.5]), WishartChain(WIDTHS)
    for i, total in enumerate(s):
        split = minimize(
            lambda u, total=total: WIDTHS @ (np.exp(v := np.append(u, total - u.sum())) - v), np.zeros(2), method="BFGS"
        )
        np.testing.assert_allclose(chain.value(s[i : i + 1]), split.fun, rtol=1e-9)
    np.testing.assert_allclose(np.log(chain.layers(s)).sum(axis=0), s, rtol=1e-13)
    numeric = [(chain.value(s + h) - chain.value(s - h)) / 2e-5 for h in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(chain.slope(s), numeric, rtol=1e-7)


def test_linear_networks_have_one_theory_in_every_closure():
    X, y = np.random.default_rng(1).normal(size=(6, 3)), np.random.default_rng(2).normal(size=(6, 2))
    net = FullyConnected((5, 8), "linear", outputs=2)
    nested, of_product = (saddle_points(net, X, y, 0.1, closure)[0] for closure in ("nested", "global"))
    assert nested.order_parameters.shape == (2, 2, 2)
    np.testing.assert_array_equal(nested.order_parameters, of_product.order_parameters)
