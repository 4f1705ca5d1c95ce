"""Deep networks of which only the last hidden layer adapts.

    uv run python analysis/last_layer.py --data DATA     # runs the points that are missing, then writes the table
    uv run python analysis/last_layer.py                 # table only

The units of the last hidden layer feel the task as in a network of one hidden layer; those below are Gaussian, with
the kernel of the proportional limit, renormalised by their order parameters (nested closure). Points and posterior are
those of figure 2. A quarter of an hour on one core.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from collect import RESULTS, cells, results
from figure2 import DATA, erf
from learning import digits
from readme import README, fill_and_put
from rows import fill, read_rows
from sklearn.exceptions import ConvergenceWarning

import stpbnn

FOUND = RESULTS / "last_layer.csv"
T, TEST = 0.01, 1000
POINTS = [
    *((data, "erf", L, 50, 100) for data in DATA for L in (2, 3)),
    *((data, "relu", 2, N, P) for data in DATA for P in (100, 200) for N in (50, 200)),
    *((data, "relu", 3, 50, 100) for data in DATA),
]
KEYS = ("data", "activation", "L", "N", "P")


def root(K: np.ndarray) -> np.ndarray:
    """Return inputs of which K is the linear kernel: K = F F^T / N_0."""
    values, vectors = np.linalg.eigh(K)
    kept = values > 1e-12 * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept] * kept.sum())


def run(data: str, activation: str, L: int, N: int, P: int) -> dict[str, Any]:
    """Return what the theory says whose last hidden layer adapts, with the proportional limit beside it."""
    images = {"classes": (0, 1), "labels": (-1, 1), "size": 784, "standardize": "paper"}
    X, y, X_test, y_test = stpbnn.datasets.load(DATA[data], train=P, test=TEST, **images)
    net, layer = stpbnn.FullyConnected((N,) * L, activation), stpbnn.FullyConnected((N,), activation)
    limit = stpbnn.ProportionalLimitRegressor(net, temperature=T).fit(X, y)
    F = np.concatenate([X, X_test])
    for Q in np.ravel(limit.order_parameters_)[:-1]:
        F = root(Q * stpbnn.NNGPKernel(layer)(F))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # is in the table
        model = stpbnn.AdaptiveKernelRegressor(layer, temperature=T, random_state=0).fit(F[:P], y)
    return dict(zip(KEYS, (data, activation, L, N, P), strict=True)) | {
        "adaptive": model.generalization_error(F[P:], y_test).total,
        "adaptive_error": model.generalization_error_standard_error(F[P:], y_test).total,
        "converged": model.converged_,
        "proportional": limit.generalization_error(X_test, y_test).total,
    }


def sampled(data: str, activation: str, L: int, N: int, P: int) -> tuple[float, float] | None:
    """Return the generalisation error of the posterior and its Monte Carlo error, from the results of figure 2."""
    card = f"figure2-{DATA[data]}-" + ("erf" if activation == "erf" else f"{L}hl-relu")
    whole = erf(card) if activation == "erf" else results(card)
    for place, point in cells(whole):
        here = place.get("depth", L) == L and place.get("train", P) == P
        if here and str(place.get("width", N)).split("-")[0] == str(N) and bool(point["finished"]):
            return float(point["error_posterior"].sel(part="total")), float(point["error_mcse"].sel(part="total"))
    return None


def table() -> str:
    """Return the table of the points that were run."""
    lines = ["| data | σ | L | N | P | MCMC | proportional limit | last layer adapts |", "|" + "---|" * 8]
    for row in read_rows(FOUND):
        place = tuple(row[key] for key in KEYS)
        if (posterior := sampled(*place)) is None:
            continue
        total, error = posterior
        off = [100 * (row[name] / total - 1) for name in ("proportional", "adaptive")]
        noise = 100 * np.hypot(error, row["adaptive_error"]) / total
        settled = "" if row["converged"] else " (not settled)"
        cells_ = [
            *map(str, place),
            digits(total, error),
            f"{off[0]:+z.1f} %",
            f"{off[1]:+z.1f} ± {noise:.1f} %{settled}",
        ]
        lines.append(f"| {' | '.join(cells_)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and write the table."""
    fill_and_put(__doc__, lambda: fill(FOUND, KEYS, POINTS, run), README, "last layer", table)


if __name__ == "__main__":
    main()
