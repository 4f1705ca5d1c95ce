"""Error bars of the adaptive kernel against its spread over seeds.

    uv run python analysis/spread.py --data DATA     # runs the seeds that are missing, then writes the table
    uv run python analysis/spread.py                 # table only

First 200 training and 100 test images of MNIST, 0 against 1, T = 0.01. Half an hour on one core.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from adaptive import case, load
from collect import RESULTS
from learning import digits
from readme import README, fill_and_put
from rows import fill, read_rows

import stpbnn

FOUND = RESULTS / "spread.csv"
CASES = [("erf", 100), ("relu", 100)]
SEEDS = range(20)


def run(activation: str, N: int, seed: int) -> dict[str, Any]:
    """Return the generalisation error that one seed finds, and the standard error that it reports."""
    X, y, X_test, y_test = load(case("mnist", activation, N))
    net = stpbnn.FullyConnected((N,), activation)
    model = stpbnn.AdaptiveKernelRegressor(net, temperature=0.01, random_state=seed).fit(X, y)
    total = model.generalization_error(X_test, y_test)
    error = model.generalization_error_standard_error(X_test, y_test)
    found = {"activation": activation, "N": N, "seed": seed}
    for part in total._fields:
        found |= {part: getattr(total, part), f"{part}_error": getattr(error, part)}
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return the spread over seeds beside the reported standard error; their ratio is known to one in √(2·19)."""
    lines = ["| network | quantity | mean | spread over seeds | reported | ratio |", "|" + "---|" * 6]
    for activation, N in CASES:
        seeds = [row for row in found if (row["activation"], row["N"]) == (activation, N)]
        if len(seeds) < 2:
            continue
        for part, name in (("total", "error"), ("squared_bias", "bias²"), ("variance", "variance")):
            values, errors = (np.array([row[key] for row in seeds]) for key in (part, f"{part}_error"))
            spread, reported = np.std(values, ddof=1), np.sqrt(np.mean(errors**2))
            ratio = digits(spread / reported, spread / reported / np.sqrt(2 * (len(seeds) - 1)))
            mean = digits(values.mean(), spread / np.sqrt(len(seeds)))
            which = f"{activation}, N = {N}, {len(seeds)} seeds"
            lines.append(f"| {which} | {name} | {mean} | {spread:.2g} | {reported:.2g} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and write the table."""
    cases = [(activation, N, seed) for activation, N in CASES for seed in SEEDS]
    fill_and_put(
        __doc__,
        lambda: fill(FOUND, ("activation", "N", "seed"), cases, run),
        README,
        "spread",
        lambda: table(read_rows(FOUND)),
    )


if __name__ == "__main__":
    main()
