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


@pytest.mark.benchmark(group="cost of a move, and of an update")
def test_exponents(benchmark):
    """Exponents over P (rank r = P) and M of a move of four steps, and over P of the fields, at the upper end."""

    def seconds(P, M):
        rng = np.random.default_rng(0)
        root = rng.standard_normal((P, P)) / np.sqrt(P)
        kernel = root @ root.T
        with jax.enable_x64(True):
            problem = adaptive.Problem(rng.standard_normal(P), root, kernel, jax.lax.erf, 0.1, 100.0, 1.0)
            found = adaptive.fields(problem, kernel, kernel)
            arguments = jax.random.normal(jax.random.key(0), (M, P), jnp.float32), jnp.asarray(root, jnp.float32)
            felt = adaptive.drive(problem, found)

            def once():
                moved = move(jax.lax.erf, jax.random.key(1), *arguments, felt, jnp.int32(4))
                jax.block_until_ready(moved.moments)

            def update():
                adaptive.fields(problem, kernel, kernel)

            return tuple(min(timed(f) for _ in range(3)) for f in (once, once, update))[1:]

    def timed(function):
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    sizes, many = (256, 512, 1024), (1024, 2048, 4096)
    moves, updates = zip(*(seconds(P, 2048) for P in sizes), strict=True)
    over_particles = [seconds(512, M)[0] for M in many]
    benchmark.pedantic(seconds, (512, 2048), rounds=1)
    benchmark.extra_info |= {
        "exponent of a move over P": exponent(sizes, moves),
        "exponent of a move over M": exponent(many, over_particles),
        "exponent of an update over P": exponent(sizes, updates),
        "move, P = 1024, s": moves[-1],
        "update, P = 1024, s": updates[-1],
    }
