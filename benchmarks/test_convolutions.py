"""Local kernel renormalisation on images: deepbays' example in turn with it, and 500 images with their memory.

    STPBNN_DATA=DIR uv run pytest benchmarks/test_convolutions.py --benchmark-only -n 0

The images are those of deepbays' README: its tasks take two classes, shuffle them by a seed, take the first P, subtract
their mean and divide by their standard deviation; targets are the labels 0 and 1. Its README shows five digits
(MNIST 0 and 1, seed 1234) and a network of 20 channels whose windows of 8 x 8 tile CIFAR-10. `CONV_1HL` takes images
in grey.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from peer import PYTHON, processor_seconds

import stpbnn

needs_peer = pytest.mark.skipif(PYTHON is None, reason="STPBNN_PEER_PYTHON names no Python that has deepbays")
CHANNELS, TEMPERATURE = 20, 0.01
SEEDS = {"mnist": 1234, "cifar10": 123}
COUNTS = {"mnist": (12665, 2115), "cifar10": (10000, 2000)}  # images of the two classes
AGREE = 1e-6


def example(name, side, P, P_test):
    """Training inputs and targets and test inputs as deepbays' tasks give them, of two classes."""
    train, test = COUNTS[name]
    given = {"classes": (0, 1), "labels": (0, 1), "train": train, "test": test, "size": side**2, "standardize": None}
    X, y, X_test, _ = stpbnn.datasets.load(name, **given)
    first = np.random.RandomState(SEEDS[name]).permutation(train)[:P]
    others = np.random.RandomState(SEEDS[name]).permutation(test)[:P_test]
    X, y, X_test = X[first], y[first].astype(float), X_test[others]
    mean, spread = X.mean(), X.std(ddof=1)
    return (X - mean) / spread, y, (X_test - mean) / spread


@needs_peer
@pytest.mark.parametrize(
    ("name", "side", "window", "P"),
    [("mnist", 28, 14, 5), ("mnist", 28, 14, 50), ("mnist", 28, 7, 5), ("cifar10", 32, 8, 5), ("cifar10", 32, 8, 20)],
)
@pytest.mark.benchmark(group="deepbays' example, fit and predict, processor seconds in turn")
def test_its_example(benchmark, deepbays, name, side, window, P):
    X, y, X_test = example(name, side, P, 5)
    net = stpbnn.Convolutional((CHANNELS,), window, window, image=(side, side, 1))
    regressor = stpbnn.ProportionalLimitRegressor(net, temperature=TEMPERATURE)
    settings = {"channels": CHANNELS, "temperature": TEMPERATURE, "window": window}
    given = settings | {"X": X.tolist(), "y": y.tolist(), "X_test": X_test.tolist()}
    ratios, last = [], []

    def ours():
        return regressor.fit(X, y).predict(X_test)

    def turn():
        last[:] = deepbays("images", given)
        ratios.append(last[0] / np.median([processor_seconds(ours) for _ in range(5)]))

    found = ours()  # compiled
    benchmark.pedantic(ours, setup=turn, rounds=2)
    _, Q, predictions, gradient = last
    apart = float(np.abs(found - predictions).max())
    benchmark.extra_info["positions"] = net.positions
    benchmark.extra_info["times faster"] = round(float(np.median(ratios)), 1)
    benchmark.extra_info["pairs"] = [round(ratio, 1) for ratio in ratios]
    benchmark.extra_info["its largest gradient"] = gradient
    benchmark.extra_info["largest difference of order parameters"] = float(
        np.abs(regressor.order_parameters_ - Q).max()
    )
    benchmark.extra_info["largest difference of a prediction"] = apart
    assert apart < AGREE


MANY = """
import json, resource, time, stpbnn
data = {"classes": (0, 1), "labels": (-1, 1), "test": 100, "size": 784}
model = stpbnn.ProportionalLimitRegressor(stpbnn.Convolutional((100,), 4, 4), temperature=0.01)
X, y, X_test, y_test = stpbnn.datasets.load("mnist", train=500, **data)
model.fit(X[:10], y[:10]).predict(X_test)
start = time.process_time()
error = model.fit(X, y).generalization_error(X_test, y_test).total
print(json.dumps({
    "processor_s": time.process_time() - start,
    "peak_GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "error": float(error),
    "minima": len(model.saddle_points_), "converged": model.converged_,
    "relative gradient": model.saddle_points_[0].residual}))
"""


@pytest.mark.benchmark(group="500 digits at 49 positions, fit and generalization_error in a process of its own")
def test_many_images(benchmark):
    output = benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-c", MANY], check=True, capture_output=True, text=True), rounds=1
    )
    benchmark.extra_info.update(json.loads(output.stdout))
