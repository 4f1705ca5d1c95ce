"""The effective action against dense linear algebra, 50-digit arithmetic, closed forms and quadrature."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from posed import saddle_points
from quick_cases import cases
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.stats import gamma, multivariate_normal

from stpbnn import FullyConnected, kernels
from stpbnn.scale.layered import LayeredAction
from stpbnn.scale.resolvent import Resolvent

pytestmark = pytest.mark.usefixtures("float64")


def problem(P=12, N0=7, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N0)), scale * rng.normal(size=P)


def solve(net, X, y, temperature, closure="nested"):
    return saddle_points(net, X, y, temperature, closure)


def dense_action(net, X, y, temperature, closure="nested"):
    """S(log Q) as it is written in THEORY (4.1), in plain JAX."""
    gram = kernels.input_gram(net.prior, jnp.array(X))
    N = jnp.array(net.widths, float)

    def action(log_q):
        K = kernels.renormalised(net.sigma, net.prior, gram, jnp.exp(log_q), closure).entries
        A = K + temperature * jnp.eye(len(y))
        return N @ (jnp.exp(log_q) - log_q) + jnp.linalg.slogdet(A)[1] + y @ jnp.linalg.solve(A, y)

    return action


NETS = [
    FullyConnected((30,), "erf"),
    FullyConnected((9,), "relu", weight_precision=(0.5, 2.0), bias_precision=3.0),
    FullyConnected((20, 40), "erf", bias_precision=2.0),
    FullyConnected((20, 10, 30), "relu", weight_precision=(1.0, 0.5, 2.0, 1.5)),
]


QUICK = [("nested", NETS[1]), ("wishart", NETS[2]), ("global", NETS[3])]


@pytest.mark.parametrize(("closure", "net"), cases(QUICK, kernels.CLOSURES, NETS), ids=str)
def test_saddle_point_is_a_minimum_of_the_action(closure, net):
    """Value, gradient and Hessian at Q̄ against automatic differentiation of the formula."""
    X, y = problem()
    action = jax.jit(dense_action(net, X, y, 0.1, closure))
    point = solve(net, X, y, 0.1, closure)[0]
    log_q = jnp.log(point.order_parameters)
    assert point.converged
    assert point.residual < 1e-12
    slope, hessian = jax.jit(lambda at: (jax.grad(action)(at), jax.hessian(action)(at)))(log_q)
    np.testing.assert_allclose(point.action, action(log_q), rtol=1e-12)
    np.testing.assert_allclose(slope / np.array(net.widths), 0, atol=1e-11)
    np.testing.assert_allclose(point.hessian, hessian, rtol=1e-8, atol=1e-8)
    assert np.linalg.eigvalsh(point.hessian).min() > 0
    for step in 0.05 * np.vstack([np.eye(net.depth), -np.eye(net.depth)]):
        assert action(log_q + step) > point.action


@pytest.mark.parametrize("closure", kernels.CLOSURES)
def test_derivatives_away_from_the_saddle(closure):
    """Analytic gradient = automatic one = central differences; likewise the Hessian."""
    net = NETS[2]
    X, y = problem()
    layered = LayeredAction(net, kernels.input_tiles(net.prior, X), y, 0.1, closure)
    action = jax.jit(dense_action(net, X, y, 0.1, closure))
    log_q, h = np.array([0.3, -0.4]), 1e-5
    at = layered.at(log_q)
    value, gradient = at.value, at.gradient
    np.testing.assert_allclose(value, action(log_q), rtol=1e-13)
    np.testing.assert_allclose(gradient, jax.jit(jax.grad(action))(log_q), rtol=1e-10)
    numeric = [(action(log_q + e) - action(log_q - e)) / (2 * h) for e in h * np.eye(2)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-7)
    np.testing.assert_allclose(layered.hessian(at), jax.jit(jax.hessian(action))(log_q), rtol=1e-9)


@pytest.mark.parametrize("bias", [0.0, 0.7])
@pytest.mark.parametrize("temperature", [1e-6, 0.1, 10.0])
def test_spectral_terms_against_dense_algebra(bias, temperature):
    X, y = problem(P=15)
    K = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1) / 9)
    resolvent = Resolvent.tridiagonal(K, y[:, None], temperature, bias)

    def dense(log_scale):
        A = jnp.exp(log_scale) * K + bias + temperature * jnp.eye(15)
        return jnp.linalg.slogdet(A)[1] + y @ jnp.linalg.solve(A, y)

    at = resolvent.at(np.array([0.4]))
    terms = [at.value[0], at.slope[0], at.curvature[0]]
    expected = [f(0.4) for f in (dense, jax.grad(dense), jax.grad(jax.grad(dense)))]
    np.testing.assert_allclose(terms, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("temperature", [1e-8, 1e-2, 10.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("width", [10, 100_000])
def test_one_layer_against_fifty_digits(width, scale, temperature):
    X, y = problem(P=6, scale=scale)
    net = FullyConnected((width,), "linear")
    point = solve(net, X, y, temperature)[0]
    with mpmath.workdps(50):
        x = mpmath.matrix(X.tolist())
        K = x * x.T / X.shape[1]
        targets = mpmath.matrix(y.tolist())

        def force(u):
            q = mpmath.exp(u)
            inverse = (q * K + mpmath.mpf(temperature) * mpmath.eye(6)) ** -1
            alpha = inverse * targets
            trace = sum((inverse * K)[i, i] for i in range(6))
            return width * (q - 1) + q * (trace - (alpha.T * K * alpha)[0])

        exact = mpmath.exp(mpmath.findroot(force, mpmath.log(mpmath.mpf(point.order_parameters[0]))))
        assert abs(point.order_parameters[0] / exact - 1) < 1e-12


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("temperature", [1e-2, 1e-4, 1e-6, 1e-8])
def test_singular_kernels_at_low_temperature(temperature, scale):
    """More examples than inputs, linear units: exact in the row space, where the action is a sum over five terms."""
    X, y = problem(P=50, N0=5, scale=scale)
    point = solve(FullyConnected((10,), "linear"), X, y, temperature)[0]
    U, singular, _ = np.linalg.svd(X, full_matrices=False)
    k, targets = singular**2 / 5, (U.T @ y) ** 2

    def force(u):
        shifted = np.exp(u) * k + temperature
        return 10 * np.expm1(u) + np.sum(np.exp(u) * k / shifted * (1 - targets / shifted))

    exact = np.exp(brentq(force, -5, 30, xtol=1e-15, rtol=1e-15))
    assert point.converged
    assert abs(point.order_parameters[0] / exact - 1) < 1e-12


def test_two_minima_of_a_deep_network_are_found():
    """The global minimum of two layers against a grid search refined by Nelder and Mead."""
    eigenvalues, targets = np.array([1.0] * 50 + [0.0025]), np.sqrt([0.3] * 50 + [30.0])
    X = np.diag(np.sqrt(51 * eigenvalues))
    points = solve(FullyConnected((20, 20), "linear"), X, targets, 0.05)

    def action(log_q):
        A = np.exp(np.sum(log_q)) * eigenvalues + 0.05
        return 20 * np.sum(np.exp(log_q) - log_q) + np.sum(np.log(A) + targets**2 / A)

    grid = np.linspace(-3, 3, 61)
    values = np.array([[action([a, b]) for b in grid] for a in grid])
    start = np.unravel_index(values.argmin(), values.shape)
    best = minimize(action, grid[list(start)], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-10})
    assert points[0].converged
    np.testing.assert_allclose(points[0].action, best.fun, rtol=1e-10)
    np.testing.assert_allclose(np.log(points[0].order_parameters), best.x, atol=1e-4)


def test_a_closure_that_loses_positivity_says_so_or_finds_its_minimum():
    X, y = problem(P=50, N0=5, scale=1e3)
    net = FullyConnected((10, 10), "erf")
    assert solve(net, X, y, 0.01)[0].converged
    try:
        assert solve(net, X, y, 0.01, "wishart")[0].order_parameters.min() > 0
    except np.linalg.LinAlgError as error:
        assert "closure 'wishart'" in str(error)  # noqa: PT017


@pytest.mark.parametrize("width", [5, 12, 40])
def test_zero_temperature_limit_has_a_closed_form(width):
    """THEORY (4.3), at T = 0 and at T = 1e-10."""
    X, y = problem(P=10, N0=30)
    net = FullyConnected((width,), "erf")
    C = X @ X.T / 30
    K = 2 / np.pi * np.arcsin(2 * C / np.sqrt(np.outer(1 + 2 * np.diag(C), 1 + 2 * np.diag(C))))
    load, s = 10 / width, y @ np.linalg.solve(K, y) / 10
    expected = ((1 - load) + np.sqrt((1 - load) ** 2 + 4 * load * s)) / 2
    for temperature, tolerance in ((0.0, 1e-12), (1e-10, 1e-8)):
        assert abs(solve(net, X, y, temperature)[0].order_parameters[0] / expected - 1) < tolerance


@pytest.mark.parametrize("depth", [1, 2])
def test_infinite_width_is_approached_like_one_over_width(depth):
    X, y = problem()
    gaps = [
        np.abs(solve(FullyConnected((N,) * depth, "erf"), X, y, 0.1)[0].order_parameters - 1).max()
        for N in (10_000, 100_000)
    ]
    assert gaps[0] < 0.01
    assert 9.9 < gaps[0] / gaps[1] < 10.1


def test_both_minima_of_a_double_well_are_found():
    """Many well-determined directions pull Q down, one weak direction with a large target pulls it up."""
    eigenvalues, targets = np.array([1.0] * 50 + [0.0025]), np.sqrt([0.3] * 50 + [30.0])
    net = FullyConnected((10,), "linear")
    X = np.diag(np.sqrt(51 * eigenvalues))
    points = solve(net, X, targets, 0.05)
    grid = np.linspace(-6, 5, 20_001)
    A = np.exp(grid)[:, None] * eigenvalues + 0.05
    S = 10 * (np.exp(grid) - grid) + np.sum(np.log(A) + targets**2 / A, axis=1)
    lowest = [i for i in range(1, len(grid) - 1) if S[i] < S[i - 1] and S[i] <= S[i + 1]]
    expected = sorted((S[i], np.exp(grid[i])) for i in lowest)
    assert len(points) == len(expected) == 2
    assert points[0].action < points[1].action
    for point, (action, Q) in zip(points, expected, strict=True):
        assert point.converged
        assert abs(point.action - action) < 1e-5
        assert abs(point.order_parameters[0] / Q - 1) < 1e-3


@pytest.mark.parametrize("bias_precision", [None, 2.0])
def test_log_evidence_at_the_saddle_approaches_the_integral(bias_precision):
    """Quadrature of the scale mixture (3.2) is exact under the ansatz.

    The 1/N errors of Laplace's method above and of Stirling's formula below cancel: the rest falls faster.
    """
    X, y = problem(P=8)
    bias = 0.0 if bias_precision is None else 1 / bias_precision
    errors = []
    for N in (20, 40, 80):
        net = FullyConnected((N,), "linear", bias_precision=bias_precision)
        K = X @ X.T / X.shape[1] + bias

        def integrand(q, K=K, N=N):
            A = q * K + bias + 0.1 * np.eye(8)
            return multivariate_normal.pdf(y, cov=A) * gamma.pdf(q, N / 2, scale=2 / N)

        exact = np.log(quad(integrand, 0, 8, points=[1.0], epsabs=0, epsrel=1e-11, limit=300)[0])
        errors.append(solve(net, X, y, 0.1)[0].log_evidence - exact)
    assert abs(errors[0]) < 0.05
    assert 2 < errors[0] / errors[1] < 4.5
    assert 2 < errors[1] / errors[2] < 4.5


def test_action_without_a_minimum_is_refused():
    """T = 0, zero targets, more examples than units: S falls without bound as Q goes to zero."""
    with pytest.raises(np.linalg.LinAlgError, match="no minimum"):
        solve(FullyConnected((3,), "linear"), np.eye(6), np.zeros(6), 0.0)


def test_single_example_and_single_unit():
    point = solve(FullyConnected((1,), "erf"), np.array([[1.0, 2.0]]), np.array([0.5]), 0.1)[0]
    a = 2.5
    k = 2 / np.pi * np.arcsin(2 * a / (1 + 2 * a))
    Q = point.order_parameters[0]
    assert point.converged
    assert abs((Q - 1) + Q * k / (Q * k + 0.1) - 0.25 * Q * k / (Q * k + 0.1) ** 2) < 1e-12
