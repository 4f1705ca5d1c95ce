"""Saddle points to machine precision: against fifty digits, and their own gradients on a grid of problems."""

import warnings

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from posed import saddle_points
from quick_cases import cases
from sklearn.datasets import load_diabetes, load_digits

from stpbnn import FullyConnected, ProportionalLimitRegressor, kernels

ACTIVATIONS = ["linear", "erf", "relu", "leaky_relu", "gelu", "sin", "square", "tanh", "silu"]
RESIDUAL = 1e-10
EPS = np.finfo(np.float64).eps


def log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("seed", cases(range(8), range(60)))
def test_one_layer_against_fifty_digits(seed):
    """Q̄ of one hidden layer: the kernel is taken as it is in double precision, all that follows has fifty digits."""
    rng = np.random.default_rng(seed)
    P, N = int(rng.choice([1, 3, 8])), int(log_uniform(rng, 1, 1e5))
    T, size = log_uniform(rng, 1e-8, 10), log_uniform(rng, 1e-3, 1e3)
    bias = [0.0, log_uniform(rng, 0.01, 10)][seed % 2]
    X, y = rng.normal(size=(P, 12)), size * rng.normal(size=P)
    net = FullyConnected((N,), ["linear", "erf", "sin", "relu"][seed % 4], bias_precision=1 / bias if bias else None)
    gram = kernels.input_gram(net.prior, jnp.array(X))
    K = np.asarray(kernels.features(net.sigma, gram, net.precisions[1]).entries)
    points = saddle_points(net, X, y, T)
    with mpmath.workdps(50):
        exact_K, targets = mpmath.matrix(K.tolist()), mpmath.matrix(y.tolist())
        ones = mpmath.ones(P, P)

        def force(u):
            q = mpmath.exp(u)
            inverse = (q * exact_K + mpmath.mpf(net.prior.bias_variance) * ones + mpmath.mpf(T) * mpmath.eye(P)) ** -1
            alpha = inverse * targets
            trace = sum((inverse * exact_K)[i, i] for i in range(P))
            return N * (q - 1) + q * (trace - (alpha.T * exact_K * alpha)[0])

        for point in points:
            Q = point.order_parameters[0]
            exact = mpmath.exp(mpmath.findroot(force, mpmath.log(mpmath.mpf(Q))))
            assert abs(Q / exact - 1) < 1e-12


DIGITS, DIABETES = load_digits(), load_diabetes()


def dataset(kind, P, rng):
    """Inputs and targets of unit size."""
    if kind == "random":
        return rng.normal(size=(P, 30)), rng.normal(size=P)
    source = DIGITS if kind == "digits" else DIABETES
    inputs, targets = source.data, source.target.astype(float)
    rows = rng.permutation(len(inputs))[: min(P, len(inputs))]
    X, y = inputs[rows], targets[rows]
    X = (X - X.mean()) / X.std() if kind == "digits" else X / X.std(axis=0)
    return X, (y - y.mean()) / y.std()


def problem(seed, sizes, depths):
    """A network, a closure, a training set and a temperature, from anywhere in the range that is promised."""
    rng = np.random.default_rng(seed)
    depth, P = int(rng.choice(depths)), int(rng.choice(sizes))
    widths = tuple(int(log_uniform(rng, 10, 1e5)) for _ in range(depth))
    bias = [None, log_uniform(rng, 0.1, 10)][seed % 2]
    activation = ACTIVATIONS[seed % len(ACTIVATIONS)]
    closure = kernels.CLOSURES[seed % 3] if depth > 1 else "nested"
    mean = ["keep", "drop"][seed % 2] if depth == 1 else "auto"
    X, y = dataset(["random", "digits", "diabetes"][seed // 3 % 3], P, rng)
    T, size = log_uniform(rng, 1e-8, 10), log_uniform(rng, 1e-3, 1e3)
    return FullyConnected(widths, activation, bias_precision=bias), closure, mean, X, size * y, T


def check_problem(seed, sizes, depths):
    """Solve one problem of the grid; gives whether the rounding of the kernel's entries set the limit.

    Deep kernels are known entry by entry to a relative ε, and nearly singular ones pass that on to the gradient as
    ε |A| |α|²: in this corner, low temperature and large targets, no solver in double precision can do better. One
    hidden layer is solved in the eigenbasis of its kernel and has no such corner.
    """
    net, closure, mean, X, y, T = problem(seed, sizes, depths)
    model = ProportionalLimitRegressor(net, temperature=T, closure=closure, mean=mean)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X, y)
        except ValueError as error:
            assert closure == "wishart", error  # noqa: PT017  # it loses positivity far from Q = 1, and says so
            assert "singular" in str(error)  # noqa: PT017
            return True
    process, residual = model._process, model.saddle_points_[0].residual
    rounding = 0.0
    if net.depth > 1:
        size = np.sum(process.factor**2, axis=1).max() * (process.alpha @ process.alpha)
        rounding = EPS * size / min(N * (Q + 1) for N, Q in zip(net.widths, model.order_parameters_, strict=True))
    if 2 * rounding < RESIDUAL:
        assert residual < RESIDUAL
        assert model.converged_
        assert not caught, [str(warning.message) for warning in caught]
        return False
    assert residual < 2 * rounding
    assert model.converged_ == (not caught)  # never unconverged in silence
    return True


@pytest.mark.parametrize("seed", cases(range(6), range(48)))
def test_one_layer_is_solved_to_rounding(seed):
    assert not check_problem(seed, sizes=(10, 40), depths=(1,))


@pytest.mark.parametrize("seed", cases(range(0, 36, 6), range(0, 36, 3)))
def test_deep_networks_are_solved_to_rounding(seed):
    check_problem(seed, sizes=(10,), depths=(2,))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1380))
def test_grid_of_one_layer(seed):
    assert not check_problem(seed, sizes=(10, 40, 150, 500), depths=(1,))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2000, 2120))
def test_grid_of_deep_networks(seed):
    check_problem(seed, sizes=(10, 40, 150), depths=(2, 3))
