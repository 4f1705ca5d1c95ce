"""Pairs of digits that are harder than 0 against 1: theories, and clusters of units, against sampled posteriors.

    uv run python analysis/digit_pairs.py --data DATA     # runs what is missing, cheap first, then writes the tables
    uv run python analysis/digit_pairs.py                 # tables only

erf, T = 0.03, the first P images of a pair in file order, 200 test images, labels -1 and 1. A row is a cell and a
method. Where settings of the search were chosen, it was on 4 against 9 alone.
"""

from __future__ import annotations

import time
import warnings
from itertools import product
from typing import Any

import jax
import numpy as np
from adaptive import RESULTS, sampled
from clusters import SEED, told
from differences import Off, counted, offs
from readme import README, fill_and_put
from rows import fill, read_rows
from sklearn.exceptions import ConvergenceWarning

import stpbnn

FOUND = RESULTS.with_name("digit_pairs.csv")
PAIRS = {"4 against 9": (4, 9), "5 against 6": (5, 6)}
T, TEST, SECONDS = 0.03, 200, 1800
KEYS = ("pair", "P", "N", "layers", "method")
METHODS = ("HMC", "proportional limit", "auto", "one unit")
CASES = [
    (pair, P, N, layers, method)
    for P, layers in ((120, 1), (120, 2), (300, 1), (300, 2))
    for N in (40, 100)
    for pair in PAIRS
    for method in METHODS
]
COLUMNS = {
    **dict.fromkeys(
        ("bias", "variance", "monte_carlo", "monte_carlo_variance", "systematic", "systematic_variance"), 0.0
    ),
    **dict.fromkeys(("cluster", "sizes", "converged", "failed", "autocorrelation", "rhat", "ess", "draws"), ""),
}


def load(pair: str, P: int) -> tuple[np.ndarray, ...]:
    """Return training and test set."""
    images = {"classes": PAIRS[pair], "labels": (-1, 1), "size": 784}
    return stpbnn.datasets.load("mnist", train=P, test=TEST, **images)


def run(pair: str, P: int, N: int, layers: int, method: str) -> dict[str, Any]:
    """Return what a method finds."""
    data, start = load(pair, P), time.process_time()
    X, y, Xt, yt = data
    net = stpbnn.FullyConnected((N,) * layers, "erf")
    if method == "HMC":
        found = sampled(net, T, data, SECONDS)
        found |= {"monte_carlo": found["error"], "monte_carlo_variance": found["error_variance"]}
    elif method == "proportional limit":
        limit = stpbnn.ProportionalLimitRegressor(net, temperature=T).fit(X, y).generalization_error(Xt, yt)
        found = {"bias": limit.squared_bias, "variance": limit.variance}
    else:
        settings = {"cluster": 1 if method == "one unit" else "auto", "random_state": SEED}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # is in the table
            model = stpbnn.AdaptiveKernelRegressor(net, temperature=T, **settings).fit(X, y)
        found = told(model, Xt, yt)
    versions = {"seed": SEED, "stpbnn": stpbnn.__version__, "jax": jax.__version__, "device": jax.devices()[0].platform}
    cell = dict(zip(KEYS, (pair, P, N, layers, method), strict=True))
    taken = {"cpu_seconds": round(time.process_time() - start, 1)}
    return cell | {key: found.get(key, empty) for key, empty in COLUMNS.items()} | taken | versions


def compared(row: dict[str, Any], truth: dict[str, Any]) -> tuple[Off, Off]:
    """Return how far total and variance are off."""
    total = truth["bias"] + truth["variance"], truth["monte_carlo"]
    return offs(row, total, (truth["variance"], truth["monte_carlo_variance"]))


def decides(truth: dict[str, Any]) -> bool:
    """Return whether a sampled posterior is known well enough."""
    return bool(
        truth["rhat"] < 1.01
        and truth["ess"] > 400
        and truth["monte_carlo"] < 0.01 * (truth["bias"] + truth["variance"])
    )


def pairs() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return rows of theories, in the order of CASES, and those of the posterior beside them."""
    rows = {tuple(row[key] for key in KEYS): row for row in read_rows(FOUND)}
    there = [case for case in CASES if case in rows and case[4] != "HMC" and (*case[:4], "HMC") in rows]
    return [(rows[case], rows[*case[:4], "HMC"]) for case in there]


def table() -> str:
    """Return the table of the cells whose posterior was sampled."""
    lines = [
        "| pair | P | N | L | posterior | theory | n | bias² + variance | off, % | variance off, % | z | settled "
        "| CPU seconds |",
        "|" + "---|" * 13,
    ]
    for row, truth in pairs():
        total, variance = compared(row, truth)
        cells = [row[key] for key in KEYS[:4]]
        cells.append(f"{truth['bias']:.4g} + {truth['variance']:.4g}{'' if decides(truth) else ' (hollow)'}")
        cells += [row["method"], row["cluster"], f"{row['bias']:.4g} + {row['variance']:.4g}"]
        if row["method"] == "proportional limit":
            cells += [f"{100 * total.value:+.1f}", f"{100 * variance.value:+.1f}", "", ""]
        else:
            settled = "yes" if row["converged"] else f"no: {row['failed']}"
            cells += [total, variance, f"{total.z:+.1f}, {variance.z:+.1f}", settled]
        lines.append(f"| {' | '.join(map(str, cells))} | {row['cpu_seconds']:.0f} |")
    return "\n".join(lines)


def counts() -> str:
    """Return in how many cells a theory is near enough, and in how many its error bar covers the difference."""
    lines = [
        "| pair | L | theory | cells | settled | total within | variance within | covered at 95 %: total | variance |",
        "|" + "---|" * 9,
    ]
    for pair, (layers, method, near) in product(
        PAIRS, ((1, "one unit", 0.05), (1, "auto", 0.05), (2, "one unit", 0.1), (2, "auto", 0.1))
    ):
        kind = (pair, layers, method)
        there = [
            both
            for both in pairs()
            if (both[0]["pair"], both[0]["layers"], both[0]["method"]) == kind and decides(both[1])
        ]
        chosen, settled = [compared(*both) for both in there], sum(row["converged"] for row, _ in there)
        cells = *kind, len(chosen), settled, *counted(chosen, near, 0.1)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and write the tables."""
    fill_and_put(
        __doc__, lambda: fill(FOUND, KEYS, CASES, run), README, "digit pairs", lambda: f"{table()}\n\n{counts()}"
    )


if __name__ == "__main__":
    main()
