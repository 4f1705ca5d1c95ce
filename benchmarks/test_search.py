"""A fit with its search beside scikit-learn's Gaussian process: the same kernels, the same start, in turn in one run.

The process is one of 1e10 degrees of freedom, which is the Gaussian process. Seconds are those of one processor, and of
one thread of linear algebra.
Compared is also the log evidence where the searches end: a faster search that ends lower would be no gain.

The folder with the data is named by STPBNN_DATA; without it the rows on yacht, concrete and wine are left out.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel
from threadpoolctl import threadpool_limits

from stpbnn import FullyConnected, NNGPKernel, StudentTProcessRegressor

sys.path.append(str(Path(__file__).parent.parent / "analysis"))  # where the tables are read
DATA, PAIRS, ROWS = os.environ.get("STPBNN_DATA"), 5, 300
ONE, TWO = (FullyConnected((1,) * n, "erf", weight_precision=(1.0,) * (n + 1), bias_precision=1.0) for n in (1, 2))


def kernels(features):
    """Kernels with noise that is learned."""
    noise = WhiteKernel(0.1, (1e-6, 1e3))
    return {
        "rbf": 1.0 * RBF(2.0) + noise,
        "rbf, length scale a feature": 1.0 * RBF(np.full(features, 2.0)) + noise,
        "matern": 1.0 * Matern(2.0, nu=1.5) + noise,
        "matern, length scale a feature": 1.0 * Matern(np.full(features, 2.0), nu=2.5) + noise,
        "network of one layer": NNGPKernel(ONE) + noise,
        "network of two layers": NNGPKernel(TWO) + noise,
    }


def simulated():
    """Sums of sines, with noise of variance 0.05."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 8))
    return X, np.sin(X).sum(axis=1) + 0.05**0.5 * rng.normal(size=ROWS)


def table(name):
    """At most 300 rows of the training set of the first split, standardised."""
    import uci

    X, y, *_ = uci.load(Path(DATA) / "uci", name, 0, False)
    spread, rows = X.std(axis=0), np.random.default_rng(0).permutation(len(X))[:ROWS]
    X, y = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1), (y - y.mean()) / y.std()
    return X[rows], y[rows]


def timed(fit, X, y):
    start = time.process_time()
    model = fit().fit(X, y)
    return time.process_time() - start, model


CASES = pytest.mark.parametrize(
    ("name", "kernel"),
    [(name, kernel) for name in ("simulated", "yacht", "concrete", "wine-quality-red") for kernel in kernels(1)],
)


@CASES
@pytest.mark.benchmark(group="fit with its search, at most 300 rows, beside scikit-learn")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_beside_scikit_learn(benchmark, name, kernel):
    compared(benchmark, name, kernel, temperature_learned=False)


@CASES
@pytest.mark.benchmark(group="the same with T learned beside the kernel, by scikit-learn as a WhiteKernel")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_temperature_learned(benchmark, name, kernel):
    compared(benchmark, name, kernel, temperature_learned=True)


def compared(benchmark, name, kernel, temperature_learned):
    """Fit both in turn, and keep processor seconds and log evidence."""
    if name != "simulated" and not DATA:
        pytest.skip("STPBNN_DATA does not name the folder with the data")
    X, y = simulated() if name == "simulated" else table(name)
    start = kernels(X.shape[1])[kernel]

    def ours():
        if temperature_learned:
            return StudentTProcessRegressor(start.k1, df=1e10, temperature=0.1, optimize_temperature=True)
        return StudentTProcessRegressor(start, df=1e10, temperature=1e-10)

    def theirs():
        return GaussianProcessRegressor(start, alpha=1e-10)

    with threadpool_limits(1, user_api="blas"):  # a second thread would add its waiting to the seconds
        timed(ours, X, y), timed(theirs, X, y)  # compiled
        pairs = [(timed(ours, X, y), timed(theirs, X, y)) for _ in range(PAIRS)]
    benchmark.pedantic(lambda: ours().fit(X, y), rounds=1)
    ratios = [own / other for (own, _), (other, _) in pairs]
    (_, own), (_, other) = pairs[0]
    value = other.log_marginal_likelihood_value_
    benchmark.extra_info |= {
        "P": len(y),
        "processor s": float(np.median([own for (own, _), _ in pairs])),
        "scikit-learn's": float(np.median([other for _, (other, _) in pairs])),
        "ratio": round(float(np.median(ratios)), 2),
        "pairs": [round(ratio, 2) for ratio in ratios],
        "log evidence": float(own.log_marginal_likelihood_),
        "above scikit-learn's, relative": float((own.log_marginal_likelihood_ - value) / abs(value)),
    }
