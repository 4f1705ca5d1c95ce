"""Proportional limit of large training sets by the iterative solver, and against the exact one where that is possible.

    uv run python analysis/large.py --data DATA                  # runs the points that are missing, then the table
    uv run python analysis/large.py --data DATA --sizes 60000    # these alone
    uv run python analysis/large.py                              # table only

All ten digits of MNIST, even (+1) against odd (-1), 28 x 28 pixels; one hidden layer of 1,000 erf units. Each point is
a process of its own, whose highest memory is in the table: kernel, Krylov space, saddle point, and predictive law
at 10,000 test images; 500 of these beside the exact solver, which ends at P = 8,000.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from collect import RESULTS
from readme import README, put_table
from rows import read_rows, write_rows

import stpbnn

FOUND = RESULTS / "large.csv"
POINTS = [(P, 0.1) for P in (2000, 4000, 8000, 16000, 30000, 60000)] + [(P, 0.01) for P in (2000, 4000, 8000)]
COMPARED = 8000  # the largest size of the exact solver
WIDTH, SEED = 1000, 0


def processor() -> str:
    """Return the name of the processor."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def run(P: int, T: float, data: str) -> dict[str, Any]:
    """Return what one size takes and finds."""
    digits = {"classes": tuple(range(10)), "size": 784, "standardize": "paper"}
    X, y, X_test, y_test = stpbnn.datasets.load("mnist", train=P, test=10_000, data_home=data, **digits)
    y, y_test = (np.where(values.argmax(axis=1) % 2 == 0, 1.0, -1.0) for values in (y, y_test))
    net = stpbnn.FullyConnected((WIDTH,), "erf")
    clock, wall = time.process_time(), time.perf_counter()
    model = stpbnn.ProportionalLimitRegressor(net, temperature=T, solver="iterative").fit(X, y)
    fitted, fitted_wall = time.process_time(), time.perf_counter()
    law = model.predictive(X_test)
    done, done_wall = time.process_time(), time.perf_counter()
    errors = model.numerical_errors_
    row = {
        "P": P,
        "T": T,
        "fit_cpu_s": round(fitted - clock, 1),
        "predict_cpu_s": round(done - fitted, 1),
        "fit_wall_s": round(fitted_wall - wall, 1),
        "predict_wall_s": round(done_wall - fitted_wall, 1),
        "memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "dimension": errors.dimension,
        "Q": model.order_parameters_[0],
        "log_evidence": model.log_marginal_likelihood_,
        "error_mean": errors.mean,
        "error_std": errors.std,
        "error_log_evidence": errors.log_evidence,
        "error_log_Q": errors.log_order_parameter,
        "residual": errors.residual,
        "converged": model.converged_,
        "wrong": float(np.mean(law.mean * y_test < 0)),
        "test_error": float(np.mean((law.mean - y_test) ** 2 + law.variance)),
    }
    row |= dict.fromkeys(("exact_cpu_s", "off_Q", "off_log_evidence", "off_mean", "off_std"), "")
    if P <= COMPARED:
        few = X_test[:500]
        clock = time.process_time()
        exact = stpbnn.ProportionalLimitRegressor(net, temperature=T, solver="exact").fit(X, y)
        truth = exact.predictive(few)
        means, stds = law.mean[: len(few)], law.std[: len(few)]
        row |= {
            "exact_cpu_s": round(time.process_time() - clock, 1),
            "off_Q": float(row["Q"] / exact.order_parameters_[0] - 1),
            "off_log_evidence": float(row["log_evidence"] / exact.log_marginal_likelihood_ - 1),
            "off_mean": float(np.abs((means - truth.mean) / truth.std).max()),
            "off_std": float(np.sqrt(np.mean((stds / truth.std - 1) ** 2))),
        }
    versions = {name: version(name) for name in ("stpbnn", "jax", "numpy", "scipy")}
    return row | {"seed": SEED, "device": processor(), "cores": len(os.sched_getaffinity(0))} | versions


def exponent(rows: list[dict[str, Any]]) -> float:
    """Return the exponent of P in the processor's seconds, from the sizes of 8,000 on."""
    large = [row for row in rows if row["P"] >= COMPARED]
    if len(large) < 2:
        return float("nan")
    seconds = [row["fit_cpu_s"] + row["predict_cpu_s"] for row in large]
    return float(np.polyfit(np.log([row["P"] for row in large]), np.log(seconds), 1)[0])


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of the documentation."""
    head = ["T", "P", "CPU s: fit, predictions", "exact", "wall s", "GB", "dimension", "Q̄", "log evidence", "mean, sd"]
    head += ["off: Q̄", "log evidence", "mean, sd", "sd"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        off = [row[name] for name in ("off_Q", "off_log_evidence", "off_mean", "off_std")]
        cells = [
            f"{row['T']:g}",
            f"{row['P']:,}",
            f"{row['fit_cpu_s']:.0f} + {row['predict_cpu_s']:.0f}",
            "" if row["exact_cpu_s"] == "" else f"{row['exact_cpu_s']:.0f}",
            f"{row['fit_wall_s'] + row['predict_wall_s']:.0f}",
            f"{row['memory_gb']:.1f}",
            f"{row['dimension']}",
            f"{row['Q']:.4f} ± {row['Q'] * row['error_log_Q']:.4f}",
            f"{row['log_evidence']:.1f} ± {row['error_log_evidence']:.1f}",
            f"{row['error_mean']:.0e}",
            *("" if value == "" else f"{abs(value):.0e}" for value in off),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the points that are missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the data sets")
    parser.add_argument("--sizes", type=int, nargs="*", help="numbers of training examples; all without it")
    parser.add_argument("--one", type=float, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(run(int(given.one[0]), given.one[1], given.data)))
        return
    for P, T in POINTS if given.data else ():
        done = any((row["P"], row["T"]) == (P, T) for row in read_rows(FOUND))
        if done or (given.sizes and P not in given.sizes):
            continue
        command = [sys.executable, __file__, "--data", given.data, "--one", str(P), str(T)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        write_rows(FOUND, sorted([*read_rows(FOUND), row], key=lambda row: (-row["T"], row["P"])))
    rows = read_rows(FOUND)
    power = exponent([row for row in rows if row["T"] == POINTS[0][1]])
    put_table(
        README,
        "large",
        f"{table(rows)}\n\nAt T = {POINTS[0][1]:g} the seconds rise as P^{power:.2f} from P = 8,000 on.",
    )


if __name__ == "__main__":
    main()
