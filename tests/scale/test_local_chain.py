"""Several convolutional layers: dense formulas, random linear networks, infinite width, and one position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression_data import images
from scipy.linalg import sqrtm

from stpbnn import Convolutional, FullyConnected
from stpbnn.kernels import nngp_map, patch_kernels, symmetric_kernel
from stpbnn.scale import LocalProblem, pose
from stpbnn.scale.local_action import of_wishart
from stpbnn.scale.local_chain import blocks
from stpbnn.scale.wishart_chain import WishartChain

T = 0.2
ROW = {"image": (1, 4, 1), "weight_precision": (0.7, 1.3, 0.8)}
NET = Convolutional((9, 7), (1, 2), 1, activation="linear", bias_precision=2.0, **ROW)


def overlapping(Q, below, xp=np):
    """The matrix that windows of two neighbours make of one over the positions above them."""
    shift = [xp.asarray(np.eye(len(Q), below, offset)) for offset in (0, 1)]
    return sum(s.T @ Q @ s for s in shift) / 2


@pytest.fixture(scope="module")
def problem():
    X, y = images(6)
    with jax.enable_x64(True):
        return LocalProblem.of(NET, X, y, T)


def dense(problem, L1, L2, widths, exponents):
    """-2 log p of a linear network of three and two positions, from the covariances of its first layer, in JAX."""
    X, y = problem.X, problem.y
    C = np.array([[(X[:, i : i + 2] @ X[:, j : j + 2].T) / (2 * 0.7) + 0.5 for j in range(3)] for i in range(3)])
    Q2 = L2 @ L2.T
    squares, V = jnp.linalg.eigh(overlapping(Q2, 3, jnp))
    root = (V * jnp.sqrt(squares)) @ V.T
    Q1 = root @ L1 @ L1.T @ root
    A = jnp.tensordot(Q1, C, 2) / (1.3 * 0.8 * 2) + Q2.sum() * 0.5 / (0.8 * 2) + 0.5 + T * jnp.eye(len(y))
    prior = [
        N * jnp.sum(L**2) - 2 * jnp.log(jnp.diag(L)) @ e for N, L, e in zip(widths, (L1, L2), exponents, strict=True)
    ]
    return sum(prior) + jnp.linalg.slogdet(A)[1] + y @ jnp.linalg.solve(A, y)


def test_action_gradient_and_curvature_are_those_of_the_dense_formula(problem, float64):
    action = problem._action(of_wishart)
    z = 0.3 * np.random.default_rng(1).standard_normal(9)

    def value(z):
        rows = [[jnp.exp(z[0]), 0, 0], [z[1], jnp.exp(z[2]), 0], [z[3], z[4], jnp.exp(z[5])]]
        L1, L2 = jnp.array(rows), jnp.array([[jnp.exp(z[6]), 0], [z[7], jnp.exp(z[8])]])
        return dense(problem, L1, L2, NET.channels, [of_wishart(9, 3), of_wishart(7, 2)])

    at, h = action.at(z), 1e-5
    expected, slopes = jax.jit(jax.value_and_grad(value))(z)
    curvatures = [(action.at(z + v).gradient - action.at(z - v).gradient) / (2 * h) for v in h * np.eye(9)]
    assert at.value == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(at.gradient, slopes, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(action.hessian(at), curvatures, rtol=1e-6, atol=1e-6)


def test_the_minimum_is_stationary_in_the_matrices(problem, float64):
    point = problem.saddle_points()[0]
    W1, W2 = blocks(point.order_parameters, (3, 2))
    root = np.real(sqrtm(overlapping(W2, 3)))
    law = problem.conditioned(point).law(problem.X, joint=True, noise=True)
    C = np.array(
        [[(problem.X[:, i : i + 2] @ problem.X[:, j : j + 2].T) / 1.4 + 0.5 for j in range(3)] for i in range(3)]
    )
    K = np.tensordot(root @ W1 @ root, C, 2) / (1.3 * 0.8 * 2) + W2.sum() * 0.5 / 1.6 + 0.5
    alpha = np.linalg.solve(K + T * np.eye(6), problem.y)
    assert point.converged
    np.testing.assert_allclose(law.mean, K @ alpha, rtol=1e-10)
    np.testing.assert_allclose(law.covariance, T * np.linalg.solve(K + T * np.eye(6), K) + T * np.eye(6), atol=1e-10)


def random_networks(X, channels, count, seed=0):
    """Outputs of linear networks of the description of NET, drawn from its prior."""
    rng, (N1, N2) = np.random.default_rng(seed), channels
    windows = np.stack([X[:, i : i + 2] for i in range(3)], axis=1)
    W1, W2 = rng.standard_normal((count, 2, N1)), rng.standard_normal((count, 2, N1, N2))
    v, b1, b2 = rng.standard_normal((count, 2, N2)), rng.standard_normal((count, N1)), rng.standard_normal((count, N2))
    h1 = np.einsum("piu,nua->npia", windows, W1) / np.sqrt(0.7 * 2) + np.sqrt(0.5) * b1[:, None, None]
    seen = np.stack([h1[:, :, :2], h1[:, :, 1:]], axis=3)  # positions, then offsets
    h2 = np.einsum("npiua,nuab->npib", seen, W2) / np.sqrt(1.3 * 2 * N1) + np.sqrt(0.5) * b2[:, None, None]
    bias = np.sqrt(0.5) * rng.standard_normal((count, 1))
    return np.einsum("npib,nib->np", h2, v) / np.sqrt(0.8 * 2 * N2) + bias


@pytest.mark.filterwarnings("ignore:the posterior of the order parameters is known")
@pytest.mark.parametrize("channels", [(2, 1), (18, 17)])
def test_posterior_of_a_linear_network_is_that_of_random_networks(channels, float64):
    """Singular matrices, which the particles reach from the prior, and those about a mode; hidden units have biases."""
    X, y = images(4, seed=5)
    seen, y = slice(3), y / 2
    f = random_networks(X, channels, 20_000)
    p = np.exp(-np.sum((y[seen] - f[:, seen]) ** 2, axis=1) / (2 * T) - 3 / 2 * np.log(2 * np.pi * T))
    evidence, error = np.log(p.mean()), p.std() / p.mean() / np.sqrt(len(p))
    w = p / p.sum()
    mean = w @ f[:, 3]
    error_of_mean = np.sqrt(np.sum((w * (f[:, 3] - mean)) ** 2))
    problem = LocalProblem.of(NET.set_params(channels=channels), X[seen], y[seen], T)
    posterior = problem.posterior(0)
    law = problem.mixture(posterior, X[3:], noise=False, joint=False)
    assert posterior.error < 0.1
    assert abs(posterior.log_evidence - evidence) < 4 * np.hypot(error, posterior.error)
    assert abs(law.mean[0] - mean) < 4 * np.hypot(error_of_mean, law.std[0] / np.sqrt(500))


@pytest.mark.parametrize(
    "net",
    [
        Convolutional((5, 5), (1, 2), (1, 1), padding="same", activation="relu", image=(1, 3, 1), bias_precision=2.0),
        Convolutional(
            (5, 5), ((2, 2), (1, 2)), ((1, 1), (1, 1)), activation="erf", image=(3, 4, 1), bias_precision=1.0
        ),
    ],
)
def test_without_fluctuations_it_is_infinite_width(net, float64):
    X, y = images(5, seed=2, pixels=np.prod(net.image))
    problem = LocalProblem.of(net, X, y, T)
    unit = [np.eye(d) for d in problem.chain.positions]
    K = np.tril(problem.pairs.kernel(problem.chain.at(unit).Q)) + net.prior.bias_variance
    expected = symmetric_kernel(nngp_map(net), net.prior, X)
    np.testing.assert_allclose(K[np.tril_indices(5)], expected[np.tril_indices(5)], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:stride")
def test_positions_without_a_part_in_the_outputs_are_left_out(float64):
    """The third column of the first layer is seen by no window of the second."""
    X, y = images(5, seed=2, pixels=3)
    settings = {"activation": "erf", "weight_precision": (0.7, 1.3, 0.8)}
    whole = Convolutional((6, 5), ((1, 1), (1, 2)), ((1, 1), (1, 2)), image=(1, 3, 1), **settings)
    part = whole.set_params(image=(1, 2, 1))
    points = [LocalProblem.of(net, x, y, T).saddle_points()[0] for net, x in ((whole, X), (part, X[:, :2]))]
    assert points[0].order_parameters.shape == (3, 3)
    np.testing.assert_allclose(points[0].order_parameters, points[1].order_parameters, rtol=1e-8, atol=1e-8)
    assert points[0].log_evidence == pytest.approx(points[1].log_evidence, rel=1e-9)


def test_one_position_is_the_global_closure_of_a_deep_network(float64):
    X, y = images(8, seed=3)
    precisions = {"weight_precision": (0.7, 1.3, 0.8, 1.6), "activation": "relu"}
    image, flat = (
        Convolutional((30, 20, 25), 1, 1, image=(1, 1, 4), **precisions),
        FullyConnected((30, 20, 25), **precisions),
    )
    local, plain = LocalProblem.of(image, X, y, T), pose(flat, X, y, T, "global")
    here, there = local.saddle_points()[0], plain.saddle_points()[0]
    np.testing.assert_allclose(np.diag(here.order_parameters), there.order_parameters, rtol=1e-9)
    assert here.action == pytest.approx(there.action, rel=1e-10)
    assert here.log_evidence == pytest.approx(there.log_evidence, rel=1e-10)


def test_windows_of_one_position_make_the_chain_of_several_outputs(float64):
    """At the minimum the prior's part is the least for the product of all matrices."""
    X, y = images(7, seed=4)
    net = Convolutional((12, 8, 10), 1, 1, activation="linear", image=(1, 4, 1))
    point = LocalProblem.of(net, X, 2 * y, T).saddle_points()[0]
    W = blocks(point.order_parameters, (4, 4, 4))
    Q, price = np.eye(4), 0.0
    for N, matrix in zip((10, 8, 12), W[::-1], strict=True):
        root = np.real(sqrtm(Q))
        Q = root @ matrix @ root
        price += N * (np.trace(matrix) - np.linalg.slogdet(matrix)[1])
    log_q = np.log(np.linalg.eigvalsh(Q))
    assert np.ptp(log_q) > 0.3
    assert price == pytest.approx(WishartChain(np.array([12.0, 8.0, 10.0])).value(log_q), rel=1e-9)


def test_interpolation_at_zero_temperature(float64):
    X, y = images(3, seed=4)
    net = NET.set_params(activation="erf", channels=(40, 30))
    problem = LocalProblem.of(net, X, y, 0.0)
    point = problem.saddle_points()[0]
    law = problem.conditioned(point).law(X, joint=False, noise=False)
    assert point.converged
    np.testing.assert_allclose(law.mean, y, atol=1e-8)
    np.testing.assert_allclose(law.std, 0, atol=1e-6)


def test_without_overlap_windows_weigh_what_they_look_at(float64):
    """One window over all positions: the gain of a layer of erf units is what arcsine adds to its argument."""
    X, y = images(5, seed=6)
    net = Convolutional((20, 20), ((1, 1), (1, 4)), 1, activation="erf", image=(1, 4, 1))
    problem, rng = LocalProblem.of(net, X, y, T), np.random.default_rng(0)
    W1 = np.cov(rng.standard_normal((4, 20)))
    K1 = np.asarray(patch_kernels(net.set_params(channels=(20,), kernel_size=(1, 1), stride=(1, 1)), X))
    C = np.einsum("iipq->pq", K1) / 4
    norm = np.sqrt(1 + 2 * np.diag(C))
    gain = 2 / np.pi * np.arcsin(2 * C / np.outer(norm, norm)) / C
    expected = 1.7 * np.tensordot(W1, K1, 2) / 4 * gain
    found = problem.pairs.kernel(problem.chain.at([W1, np.array([[1.7]])]).Q)
    np.testing.assert_allclose(np.tril(found), np.tril(expected), rtol=1e-9)
