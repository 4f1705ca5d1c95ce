"""Student's t-process regression beside scikit-learn's Gaussian process: the same kernel, data and hyper-parameters.

With each time its accuracy is stored: the log evidence of a t-process of 1e10 degrees of freedom beside that of the
Gaussian process, and the gradient along a direction beside central differences.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.linalg import eigvalsh
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel

from stpbnn import FullyConnected, NNGPKernel, StudentTProcessRegressor

T = 0.05
KERNELS = {
    "rbf": 1.0 * RBF(2.0),
    "rbf, length scale a feature": 1.0 * RBF(np.full(8, 2.0)),
    "matern": 1.0 * Matern(2.0, nu=1.5),
    "matern, length scale a feature, white": 1.0 * Matern(np.full(8, 2.0), nu=2.5) + WhiteKernel(0.1),
    "network": NNGPKernel(FullyConnected((1, 1), "erf", weight_precision=(1.0, 1.0, 1.0), bias_precision=1.0)),
}


def data(P):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(P, 8))
    return X, np.sin(X).sum(axis=1) + T**0.5 * rng.normal(size=P)


def models(kernel, df=5.0):
    process = GaussianProcessRegressor(kernel, alpha=T, optimizer=None)
    inside, beside = (
        StudentTProcessRegressor(kernel, df=df, temperature=T, noise=noise, optimizer=None)
        for noise in ("scale", "gaussian")
    )
    return {"gaussian process": process, "noise scale": inside, "noise gaussian": beside}


@pytest.mark.parametrize("name", ["gaussian process", "noise scale", "noise gaussian", "eigvalsh"])
@pytest.mark.parametrize("kernel", ["rbf", "matern"])
@pytest.mark.benchmark(min_rounds=5, warmup=True)
def test_fit_without_search(benchmark, kernel, name):
    """P = 2000. noise="scale" is no slower than the Gaussian process, noise="gaussian" than scale plus eigvalsh."""
    benchmark.group = f"fit, {kernel}, P = 2000"
    X, y = data(2000)
    if name == "eigvalsh":
        K = KERNELS[kernel](X)
        benchmark(lambda: eigvalsh(K))
        return
    benchmark(lambda: models(KERNELS[kernel])[name].fit(X, y))
    limit = {
        key: model.fit(X, y).log_marginal_likelihood_value_ for key, model in models(KERNELS[kernel], df=1e10).items()
    }
    benchmark.extra_info["log evidence at df = 1e10, relative to the Gaussian process"] = (
        limit[name] / limit["gaussian process"] - 1
    )


@pytest.mark.parametrize("name", ["gaussian process", "noise scale", "noise gaussian"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.benchmark(min_rounds=5, warmup=True)
def test_value_and_gradient(benchmark, kernel, name):
    """P = 1000: one step of the search. noise="scale" takes half the time of the Gaussian process."""
    benchmark.group = f"value and gradient, {kernel}, P = 1000"
    X, y = data(1000)
    model = models(KERNELS[kernel])[name].fit(X, y)
    theta = KERNELS[kernel].theta
    _, gradient = benchmark(lambda: model.log_marginal_likelihood(theta, eval_gradient=True))
    direction = np.random.default_rng(1).normal(size=len(theta))
    ends = [model.log_marginal_likelihood(theta + sign * 1e-4 * direction) for sign in (1, -1)]
    difference = (ends[0] - ends[1]) / 2e-4
    benchmark.extra_info["relative difference from central differences"] = gradient @ direction / difference - 1


PREDICTION = """
import json, resource, sys
sys.path.insert(0, "benchmarks")
import numpy as np
from test_student_t import KERNELS, data, models
X, y = data(2000)
model = models(KERNELS[sys.argv[2]])[sys.argv[1]].fit(X, y)
mean, std = model.predict(np.random.default_rng(2).normal(size=(100_000, 8)), return_std=True)
print(json.dumps({"peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "mean std": float(std.mean())}))
"""


@pytest.mark.parametrize("name", ["noise scale", "noise gaussian"])
@pytest.mark.parametrize("kernel", ["rbf", "network"])
@pytest.mark.benchmark(group="100,000 query points, P = 2000")
def test_memory_of_many_queries(benchmark, kernel, name):
    """Mean and standard deviation at 100,000 points in a process of its own: below 1.5 GB at its peak."""
    command = [sys.executable, "-c", PREDICTION, name, kernel]
    result = benchmark.pedantic(
        lambda: subprocess.run(command, check=True, capture_output=True, text=True), rounds=1, iterations=1
    )
    found = json.loads(result.stdout)
    benchmark.extra_info.update(found)
    assert found["peak GB"] < 1.5
