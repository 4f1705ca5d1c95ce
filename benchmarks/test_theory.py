"""The closed forms against deepbays and against the factorisations that they are made of; accuracy beside time."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from peer import PYTHON, problem
from scipy.linalg import cholesky, eigvalsh

import stpbnn
from stpbnn._precision import in_float64
from stpbnn.kernels import feature_map, symmetric_kernel

needs_peer = pytest.mark.skipif(PYTHON is None, reason="STPBNN_PEER_PYTHON names no Python that has deepbays")
MODELS = {
    "one layer": stpbnn.FullyConnected((400,), "erf"),
    "three layers": stpbnn.FullyConnected((400, 400, 400), "erf"),
    "relu with its mean": stpbnn.FullyConnected((400,), "relu"),
    "convolution": stpbnn.Convolutional((400,), 14, 14),
}


PAUSE = 0.5  # seconds, in which waiting threads of the one go to sleep before the other is timed


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def paired(benchmark, ours, other, rounds=3):
    """Time ours as the benchmark and the other in turn with five of it; record the median ratio."""
    ratios = []

    def turn():
        theirs = other()
        time.sleep(PAUSE)
        ratios.append(theirs / np.median([seconds(ours) for _ in range(5)]))
        time.sleep(PAUSE)

    ours()  # compiled
    benchmark.pedantic(ours, setup=turn, rounds=rounds)
    benchmark.extra_info["times faster"] = round(float(np.median(ratios)), 2)
    benchmark.extra_info["pairs"] = [round(ratio, 2) for ratio in ratios]


@needs_peer
@pytest.mark.parametrize(
    ("model", "P"),
    [
        ("one layer", 2000),
        ("one layer", 4000),
        ("three layers", 1000),
        ("relu with its mean", 250),
        ("convolution", 100),
    ],
)
@pytest.mark.benchmark(group="fit and predict P points, beside deepbays")
def test_deepbays(benchmark, deepbays, model, P):
    X, y, X_test = problem(P)
    regressor = stpbnn.ProportionalLimitRegressor(MODELS[model], temperature=0.1)
    last = []

    def ours():
        regressor.fit(X, y).predict(X_test)

    def other():
        last[:] = deepbays(model, P)
        return last[0]

    paired(benchmark, ours, other, rounds=2 if P > 2000 else 3)
    ours_Q, their_Q = regressor.order_parameters_, np.array(last[1])
    benchmark.extra_info["relative gradient"] = regressor.saddle_points_[0].residual
    if model == "convolution":
        benchmark.extra_info["largest difference of order parameters"] = float(np.abs(ours_Q - their_Q).max())
        benchmark.extra_info["difference of a prediction"] = float(abs(regressor.predict(X_test)[0] - last[2]))
    elif model != "relu with its mean":  # deepbays 0.1.11 subtracts a number where the matrix m m^T is meant
        benchmark.extra_info["largest relative difference of order parameters"] = float(
            np.abs(ours_Q / their_Q - 1).max()
        )


def kernel_of(P):
    X, y, _ = problem(P)
    net = MODELS["one layer"]
    lower = in_float64(symmetric_kernel)(feature_map(net), net.prior, X)
    return X, y, lower + np.tril(lower, -1).T


@pytest.mark.parametrize("P", [2000, 4000])
@pytest.mark.benchmark(group="fit with its saddle point, beside eigvalsh of the same matrix")
def test_eigenvalues(benchmark, P):
    X, y, K = kernel_of(P)
    regressor = stpbnn.ProportionalLimitRegressor(MODELS["one layer"], temperature=0.1)
    paired(benchmark, lambda: regressor.fit(X, y), lambda: seconds(eigvalsh, K), rounds=5)
    benchmark.extra_info["relative gradient"] = regressor.saddle_points_[0].residual


@pytest.mark.parametrize("P", [2000, 4000])
@pytest.mark.benchmark(group="fit at T = 0, beside a Cholesky factorisation of the same matrix")
def test_interpolation(benchmark, P):
    X, y, K = kernel_of(P)
    regressor = stpbnn.ProportionalLimitRegressor(MODELS["one layer"], temperature=0.0)
    paired(benchmark, lambda: regressor.fit(X, y), lambda: seconds(cholesky, K), rounds=5)
    benchmark.extra_info["relative gradient"] = regressor.saddle_points_[0].residual


@pytest.mark.parametrize("P", [2000])
@pytest.mark.benchmark(group="20 widths x 20 temperatures, beside one of them")
def test_grid(benchmark, P):
    X, y, X_test = problem(P)
    y_test = np.zeros(len(X_test))
    grid = {"widths": np.geomspace(50, 5000, 20).astype(int).tolist(), "temperatures": np.geomspace(1e-3, 1, 20)}

    def one():
        regressor = stpbnn.ProportionalLimitRegressor(MODELS["one layer"], temperature=0.1)
        regressor.fit(X, y).generalization_error(X_test, y_test)

    def ours():
        nonlocal found
        found = stpbnn.theory_grid(MODELS["one layer"], X, y, X_test, y_test, theories=["proportional"], **grid)

    found = None
    one()
    paired(benchmark, ours, lambda: seconds(one), rounds=3)
    benchmark.extra_info["all converged"] = bool(found["converged"].all())
    point = {"widths": [400], "temperatures": [0.1], "theories": ["proportional"]}
    alone = [seconds(lambda: stpbnn.theory_grid(MODELS["one layer"], X, y, X_test, y_test, **point)) for _ in range(5)]
    benchmark.extra_info["times a grid of one point"] = round(benchmark.stats.stats.median / float(np.median(alone)), 2)


COLD = (
    "import numpy as np, stpbnn; rng = np.random.default_rng(0); X, y = rng.standard_normal((500, 784)), "
    "rng.standard_normal(500); stpbnn.ProportionalLimitRegressor(stpbnn.FullyConnected({widths}, 'erf'), "
    "temperature=0.1).fit(X, y).predict(X)"
)


@needs_peer
@pytest.mark.parametrize(("model", "widths"), [("one layer", (400,)), ("three layers", (400, 400, 400))])
@pytest.mark.benchmark(group="a whole process at P = 500, beside deepbays'")
def test_cold_process(benchmark, model, widths):
    def process(*command):
        subprocess.run(command, check=True, capture_output=True)

    def ours():
        process(sys.executable, "-c", COLD.format(widths=widths))

    paired(benchmark, ours, lambda: seconds(process, PYTHON, "benchmarks/peer.py", model, "500"), rounds=5)


LARGE = """
import json, resource, time, numpy as np, stpbnn
rng = np.random.default_rng(0)
X, y = rng.standard_normal(({P}, 784)), rng.standard_normal({P})
small = stpbnn.ProportionalLimitRegressor(stpbnn.FullyConnected((4000,), "erf"), temperature=0.1)
small.fit(X[:300], y[:300]).predict(X[:300])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
model = small.fit(X, y)
fitted = time.perf_counter()
model.predict(X[:1000], return_std=True)
predicted = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({{
    "fit_s": fitted - start, "predict_1000_s": predicted - fitted, "peak_GB": peak / 2**20,
    "matrices": (peak - before) * 1024 / (8 * {P} ** 2), "relative gradient": model.saddle_points_[0].residual}}))
"""


@pytest.mark.parametrize("P", [1000, 2000, 4000, 8000, 20_000])
@pytest.mark.benchmark(group="large training sets, one erf layer, each in a process of its own")
def test_large(benchmark, P):
    output = benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-c", LARGE.format(P=P)], check=True, capture_output=True, text=True),
        rounds=1,
    )
    benchmark.extra_info.update(json.loads(output.stdout))
