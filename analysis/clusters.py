"""Clusters of hidden units that are doubled until the prediction stays, against sampled and exact posteriors.

    uv run python analysis/clusters.py --data DATA     # runs the cases that are missing, then writes the table
    uv run python analysis/clusters.py                 # table only

Cases and posteriors are those of results/adaptive.csv. A case takes half a minute to twenty minutes of one core.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from adaptive import CASES, KEYS, RESULTS, case, load
from differences import Off, counted, offs
from readme import README, fill_and_put
from rows import read_rows, write_rows
from sklearn.exceptions import ConvergenceWarning

import stpbnn

FOUND = RESULTS.with_name("clusters.csv")
SEED = 0
FIRST = [  # cases and sizes: where one unit at a time fails, and clusters that are the network
    (case("mnist", "erf", 50), "auto"),
    (case("mnist", "linear", 20, 0.05), 20),
    (case("mnist", "erf", 50), 50),
    (case("mnist", "erf", 5, P=50), "auto"),
    (case("mnist", "relu", 50), 50),
    (case("digits", "erf", 100, 0.05, 100), "auto"),
    (case("mnist", "erf", 20), 20),
    (case("mnist", "relu", 20), 20),
    (case("mnist", "relu", 100), "auto"),
]


def told(model: stpbnn.AdaptiveKernelRegressor, Xt: np.ndarray, yt: np.ndarray) -> dict[str, Any]:
    """Return what clusters predict of a test set, the parts of its error, and how the search ended."""
    found, error = model.generalization_error(Xt, yt), model.generalization_error_standard_error(Xt, yt)
    shift = model.generalization_error_systematic_error(Xt, yt)
    return {
        "cluster": model.cluster_,
        "sizes": " ".join(map(str, model.clusters_)),
        "bias": found.squared_bias,
        "variance": found.variance,
        "monte_carlo": error.total,
        "monte_carlo_variance": error.variance,
        "systematic": shift.total,
        "systematic_variance": shift.variance,
        "converged": model.converged_,
        "failed": " ".join(model.failed_checks_),
        "autocorrelation": model.autocorrelation_,
    }


def run(row: dict[str, Any], cluster: int | str) -> dict[str, Any]:
    """Return what clusters of a size find, or how large they became."""
    X, y, Xt, yt = load(row)
    net, start = stpbnn.FullyConnected((row["N"],), row["activation"]), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # is in the table
        model = stpbnn.AdaptiveKernelRegressor(net, temperature=row["T"], cluster=cluster, random_state=SEED)
        model.fit(X, y)
    ended = {"cpu_seconds": time.process_time() - start, "seed": SEED, "stpbnn": stpbnn.__version__}
    return {key: row[key] for key in KEYS} | {"asked": cluster} | told(model, Xt, yt) | ended


def table() -> str:
    """Return the table of the cases that were run."""
    lines = [
        "| data | σ | P | N | T | y × | reference | bias² + variance | n | clusters | off, % | variance off, % "
        "| one unit: off, % | settled | CPU seconds |",
        "|" + "---|" * 15,
    ]
    for row in read_rows(FOUND):
        truth = posterior(row)
        total, variance = compared(row, truth)
        one = (truth["adaptive_bias"] + truth["adaptive_variance"]) / (truth["bias"] + truth["variance"]) - 1
        lines.append(
            f"| {row['data']} | {row['activation']} | {row['P']} | {row['N']} | {row['T']:g} | {row['scale']:g} "
            f"| {truth['reference']} | {truth['bias']:.4g} + {truth['variance']:.4g} "
            f"| {row['cluster']}{' (auto)' if row['asked'] == 'auto' else ''} "
            f"| {row['bias']:.4g} + {row['variance']:.4g} "
            f"| {total} | {100 * variance.value:+.1f} | {100 * one:+.1f} "
            f"| {'yes' if row['converged'] else 'no: ' + row['failed']} "
            f"| {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


def compared(row: dict[str, Any], truth: dict[str, Any]) -> tuple[Off, Off]:
    """Return how far clusters are off in total and in variance.

    The Monte Carlo error of a sampled total stands for that of its variance, which is smaller.
    """
    return offs(row, (truth["bias"] + truth["variance"], truth["error"]), (truth["variance"], truth["error"]))


def posterior(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of results/adaptive.csv that has the posterior of a case, and single units."""
    return next(other for other in read_rows(RESULTS) if all(other[key] == row[key] for key in KEYS))


def counts() -> str:
    """Return in how many cases clusters as large as "auto" takes them are near enough."""
    there = [row for row in read_rows(FOUND) if row["asked"] == "auto"]
    found = counted([compared(row, posterior(row)) for row in there], 0.05, 0.1)
    lines = [
        '| "auto": cases | settled | total within | variance within | covered at 95 %: total | variance |',
        "|" + "---|" * 6,
        f"| {len(there)} | {sum(row['converged'] for row in there)} | {' | '.join(found)} |",
    ]
    return "\n".join(lines)


def fill_sizes() -> None:
    """Run the cases of chosen sizes that have no row, then those of "auto"."""
    done = [tuple(row[key] for key in (*KEYS, "asked")) for row in read_rows(FOUND)]
    for row, cluster in [*FIRST, *((row, "auto") for row in CASES)]:
        if (*row.values(), cluster) not in done:
            write_rows(FOUND, [*read_rows(FOUND), run(row, cluster)])
            done.append((*row.values(), cluster))


def main() -> None:
    """Run what is missing, and write the table."""
    fill_and_put(__doc__, fill_sizes, README, "clusters", lambda: f"{table()}\n\n{counts()}")


if __name__ == "__main__":
    main()
