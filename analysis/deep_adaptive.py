"""Deep networks that adapt, against exact linear networks and the sampled posteriors of figure 2.

    uv run python analysis/deep_adaptive.py --data DATA     # runs the cases that are missing, then writes the table
    uv run python analysis/deep_adaptive.py                 # table only

P = 100 images, 1,000 of a test set. n is the units of a layer in a cluster: 1, or all. A minute a case on one core,
and up to nine where units tilt strongly (CIFAR-10, linear).
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from collect import RESULTS
from differences import z_value
from last_layer import DATA, sampled
from readme import README, fill_and_put
from rows import fill, read_rows
from sklearn.exceptions import ConvergenceWarning

import stpbnn

FOUND = RESULTS / "deep_adaptive.csv"
P, TEST, SEED = 100, 1000, 0
CASES = [
    ("MNIST", "linear", 2, 50, 0.05, 1),
    ("MNIST", "erf", 2, 50, 0.01, 1),
    ("CIFAR-10", "erf", 2, 50, 0.01, 1),
    ("MNIST", "linear", 2, 200, 0.05, 1),
    *(("CIFAR-10", "linear", 2, N, 0.05, 1) for N in (50, 200)),
    *((data, "relu", 2, N, 0.01, 1) for data in DATA for N in (50, 200)),
    ("MNIST", "erf", 2, 50, 0.01, 50),
    *((data, "linear", 3, N, 0.05, N) for N in (50, 200) for data in DATA),
]
KEYS = ("data", "activation", "L", "N", "T", "cluster")


def load(data: str) -> tuple[np.ndarray, ...]:
    """Return training and test set of figure 2."""
    images = {"classes": (0, 1), "labels": (-1, 1), "size": 784, "standardize": "paper"}
    return stpbnn.datasets.load(DATA[data], train=P, test=TEST, **images)


def truth(data: str, activation: str, L: int, N: int, T: float) -> tuple[float, float]:
    """Return the total error of the posterior and its Monte Carlo error."""
    if activation == "linear":
        X, y, X_test, y_test = load(data)
        net = stpbnn.FullyConnected((N,) * L, activation)
        return stpbnn.FiniteWidthRegressor(net, temperature=T).fit(X, y).generalization_error(X_test, y_test).total, 0.0
    return sampled(data, activation, L, N, P) or (np.nan, np.nan)


def run(data: str, activation: str, L: int, N: int, T: float, cluster: int) -> dict[str, Any]:
    """Return what clusters of a size find."""
    X, y, X_test, y_test = load(data)
    net, start = stpbnn.FullyConnected((N,) * L, activation), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # is in the table
        model = stpbnn.AdaptiveKernelRegressor(net, temperature=T, cluster=cluster, random_state=SEED).fit(X, y)
    found = model.generalization_error(X_test, y_test)
    error = model.generalization_error_standard_error(X_test, y_test)
    limit = stpbnn.ProportionalLimitRegressor(net, temperature=T).fit(X, y).generalization_error(X_test, y_test)
    total, mcse = truth(data, activation, L, N, T)
    return dict(zip(KEYS, (data, activation, L, N, T, cluster), strict=True)) | {
        "bias": found.squared_bias,
        "variance": found.variance,
        "error": error.total,
        "truth": total,
        "truth_error": mcse,
        "proportional": limit.total,
        "converged": model.converged_,
        "failed": " ".join(model.failed_checks_),
        "autocorrelation": model.autocorrelation_,
        "cpu_seconds": time.process_time() - start,
        "seed": SEED,
        "stpbnn": stpbnn.__version__,
    }


def table() -> str:
    """Return the table of the cases that were run."""
    lines = [
        "| data | σ | L | N | T | n | posterior | bias² + variance | off, % | z | proportional limit, % | settled "
        "| CPU seconds |",
        "|" + "---|" * 13,
    ]
    for row in read_rows(FOUND):
        total = row["bias"] + row["variance"]
        noise = 100 * np.hypot(row["error"], row["truth_error"]) / row["truth"]
        posterior = f"{row['truth']:.4g}" + (f" ± {row['truth_error']:.1g}" if row["truth_error"] else ", exact")
        lines.append(
            f"| {row['data']} | {row['activation']} | {row['L']} | {row['N']} | {row['T']:g} | {row['cluster']} "
            f"| {posterior} | {row['bias']:.4g} + {row['variance']:.4g} "
            f"| {100 * (total / row['truth'] - 1):+.1f} ± {noise:.1f} "
            f"| {z_value(total - row['truth'], row['error'], row['truth_error']):+.1f} "
            f"| {100 * (row['proportional'] / row['truth'] - 1):+.1f} "
            f"| {'yes' if row['converged'] else 'no: ' + row['failed']} | {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and write the table."""
    fill_and_put(__doc__, lambda: fill(FOUND, KEYS, CASES, run), README, "deep adaptive", table)


if __name__ == "__main__":
    main()
