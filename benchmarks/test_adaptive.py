"""The adaptive kernel: whole fits, and what a move of the particles and an update of the fields cost."""

import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn import adaptive
from stpbnn.adaptive.fields import drive, padded, up
from stpbnn.adaptive.particles import move

IMAGES = {"classes": (0, 1), "labels": (-1, 1), "test": 100, "size": 784}


@pytest.mark.parametrize("P", [200, 1000])
@pytest.mark.parametrize("activation", ["erf", "linear"])
@pytest.mark.benchmark(group="fit, MNIST 0/1, N_1 = 100, 4096 particles")
def test_fit(benchmark, activation, P):
    """Seconds of a fit, compilation included; for linear networks, the distance from the exact mixture."""
    X, y, Xt, yt = stpbnn.datasets.load("mnist", train=P, **IMAGES)
    T = 0.05 if activation == "linear" else 0.01
    net = stpbnn.FullyConnected((100,), activation)
    model = stpbnn.AdaptiveKernelRegressor(net, temperature=T, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        benchmark.pedantic(model.fit, (X, y), rounds=1)
    found = model.generalization_error(Xt, yt)
    measured = {
        "bias²": found.squared_bias,
        "variance": found.variance,
        "standard error": model.generalization_error_standard_error(Xt, yt).total,
        "converged": model.converged_,
        "moves": model.n_iter_,
    }
    if activation == "linear":
        exact = stpbnn.FiniteWidthRegressor(net, temperature=T).fit(X, y).generalization_error(Xt, yt)
        measured["relative to exact"] = found.total / exact.total - 1
    benchmark.extra_info.update(measured)


def exponent(sizes, seconds):
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def least(function, repeats=3):
    """Return the least of the seconds of some calls, after one that compiles."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def pose(net, P, cluster):
    """Return a problem of random inputs in P dimensions, and the kernel of infinite width."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((P, P)), rng.standard_normal(P)
    problem = adaptive.posed(net, X, y, 0.1, adaptive.RowSpace.of(net.prior, X), True)
    return problem.resized(cluster), problem.kernel


def seconds_of_move(net, P, units, cluster=1, steps=4):
    """Return the seconds of a move of so many units in clusters, in the fields of the kernel of infinite width."""
    with jax.enable_x64(True):
        problem, kernel = pose(net, P, cluster)
        rows, links = problem.coordinates
        shape = units // cluster, rows, links + up(problem.root.shape[1])
        position = jax.random.normal(jax.random.key(0), shape, jnp.float32)
        root = jax.device_put(padded(problem.root, *map(up, problem.root.shape)))
        felt = drive(problem, adaptive.fields(problem, kernel, adaptive.Response.of(problem, kernel)))
        arguments = problem.sigma, jax.random.key(1), position, root, felt, np.int32(steps)
        return least(lambda: jax.block_until_ready(move(*arguments)))


def seconds_of_update(P):
    """Return the seconds that new fields take."""
    with jax.enable_x64(True):
        problem, kernel = pose(stpbnn.FullyConnected((64,), "erf"), P, 1)
        return least(lambda: adaptive.fields(problem, kernel, adaptive.Response.of(problem, kernel)))


@pytest.mark.benchmark(group="cost of a move, and of an update")
def test_exponents(benchmark):
    """Exponents over P and M of a move of single units, over n at as many units, over L of a network; of an update."""
    one = stpbnn.FullyConnected((64,), "erf")
    P, M, n, L = (256, 512, 1024), (1024, 2048, 4096), (1, 2, 4, 8, 16), (1, 2, 3)
    moves, updates = [seconds_of_move(one, p, 2048) for p in P], [seconds_of_update(p) for p in P]
    clusters = [seconds_of_move(one, 256, 2048, cluster) for cluster in n]
    networks = [seconds_of_move(stpbnn.FullyConnected((64,) * depth, "erf"), 256, 2048, 64) for depth in L]
    benchmark.pedantic(seconds_of_move, (one, 256, 2048), rounds=1)
    benchmark.extra_info |= {
        "exponent of a move over P": exponent(P, moves),
        "exponent of a move over M": exponent(M, [seconds_of_move(one, 512, many) for many in M]),
        "exponent of a move over n": exponent(n, clusters),
        "n = 16 beside n = 1": clusters[-1] / clusters[0],
        "exponent of a network's move over L": exponent(L, networks),
        "exponent of an update over P": exponent(P, updates),
        "move, P = 1024, s": moves[-1],
        "update, P = 1024, s": updates[-1],
    }
