"""The adaptive kernel against sampled posteriors, and against exact linear networks.

uv run python analysis/adaptive.py --data DATA     # runs the cases that are missing, then writes table and figure
uv run python analysis/adaptive.py --data DATA --again     # solves the theory anew, beside references that are there
uv run python analysis/adaptive.py                 # table and figure only

The cases stand in CASES; each is a row of results/adaptive.csv. About two hours on one core, half an hour again.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
from learning import save
from matplotlib.figure import Figure
from readme import README, put_table
from rows import read_rows, write_rows
from sklearn.exceptions import ConvergenceWarning

import stpbnn

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "adaptive.csv"
WIDTHS = (20, 50, 100, 200, 400, 800)


def case(data: str, activation: str, N: int, T: float = 0.01, P: int = 200, scale: float = 1.0) -> dict[str, Any]:
    """Return one case: targets are multiplied by `scale`."""
    return {"data": data, "activation": activation, "N": N, "T": T, "P": P, "scale": scale}


CASES = [
    *(case(data, "linear", N, 0.05) for data in ("mnist", "cifar10") for N in (20, 100, 1000)),
    *(case("diabetes", "linear", N, 0.05, 300) for N in (20, 100, 1000)),
    *(case("mnist", "erf", N) for N in (100, 20, 50, 200, 400, 800)),
    *(case("mnist", "relu", N) for N in (100, 20, 50, 200, 400, 800)),
    *(case("cifar10", activation, 100) for activation in ("erf", "relu")),
    case("mnist", "tanh", 100),
    *(case("digits", activation, 100, 0.05, 100) for activation in ("erf", "relu")),
    *(case("diabetes", activation, 100, 0.05, 300) for activation in ("erf", "relu")),
    case("erf_teacher", "erf", 100, 0.05),
    *(case("mnist", "erf", 100, T) for T in (0.001, 0.1, 1.0)),
    *(case("mnist", "erf", 100, scale=scale) for scale in (0.3, 3.0)),
    *(case("mnist", "erf", 100, P=P) for P in (50, 100)),
    *(case("mnist", "erf", N, P=50) for N in (5, 1600)),
]
KEYS = tuple(CASES[0])


def load(row: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Return training and test set of a case."""
    images = {"classes": (0, 1), "labels": (-1, 1), "test": 100}
    settings: dict[str, Any] = {
        "mnist": images | {"size": 784},
        "cifar10": images | {"size": 784},
        "digits": images | {"standardize": "pixels", "seed": 0},
        "diabetes": {"test": 142, "seed": 0},
        "erf_teacher": {"test": 100, "seed": 0, "size": 20, "hidden_width": 5, "noise": 0.2},
    }[row["data"]]
    X, y, Xt, yt = stpbnn.datasets.load(row["data"], train=row["P"], **settings)
    return X, row["scale"] * y, Xt, row["scale"] * yt


def sampled(
    net: stpbnn.FullyConnected, T: float, data: tuple[np.ndarray, ...], seconds: float = 1200
) -> dict[str, Any]:
    """Return the generalisation error of the posterior, with its Monte Carlo error."""
    X, y, Xt, yt = data
    until = {"ess": 400, "rhat": 1.01, "seconds": seconds}
    posterior = stpbnn.sample(net, X, y, temperature=T, X_test=Xt, draws=2000, until=until, progress=False)
    f, variance = posterior["predictions"]["f_mean"], posterior["predictions"]["f_variance"]
    mean = f.mean(("chain", "draw"))
    total, spread = ((f - yt) ** 2 + variance).mean("test_point"), ((f - mean) ** 2 + variance).mean("test_point")
    bias = float(((mean - yt) ** 2).mean())
    return {
        "reference": "HMC",
        "bias": bias,
        "variance": float(total.mean()) - bias,
        "error": float(az.mcse(total)),
        "error_variance": float(az.mcse(spread)),
        "rhat": float(az.rhat(f).max()),
        "ess": float(az.ess(f).min()),
        "draws": f.sizes["draw"],
    }


def reference(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the posterior, exact or sampled, and the theories of a rescaled kernel find."""
    net, T, data = stpbnn.FullyConnected((row["N"],), row["activation"]), row["T"], load(row)
    X, y, Xt, yt = data
    start = time.perf_counter()
    exact = stpbnn.FiniteWidthRegressor(net, temperature=T).fit(X, y)
    total = exact.generalization_error(Xt, yt)
    limit = stpbnn.NNGPRegressor(net, temperature=T).fit(X, y).generalization_error(Xt, yt)
    if row["activation"] == "linear":
        found = {"reference": "exact", "bias": total.squared_bias, "variance": total.variance, "error": 0.0}
        found |= {"rhat": 1.0, "draws": 0}
    else:
        found = sampled(net, T, data)
    return {key: found[key] for key in ("reference", "bias", "variance", "error", "rhat", "draws")} | {
        "evidence_finite_width": exact.log_marginal_likelihood_,
        "finite_width": total.total,
        "infinite_width": limit.total,
        "seconds_reference": time.perf_counter() - start,
    }


def adaptive(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the adaptive kernel finds."""
    X, y, Xt, yt = load(row)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # is in the table
        net = stpbnn.FullyConnected((row["N"],), row["activation"])
        model = stpbnn.AdaptiveKernelRegressor(net, temperature=row["T"], random_state=0).fit(X, y)
    adapted, error = model.generalization_error(Xt, yt), model.generalization_error_standard_error(Xt, yt)
    seconds = time.perf_counter() - start
    return {
        "adaptive_bias": adapted.squared_bias,
        "adaptive_variance": adapted.variance,
        "adaptive_error": error.total,
        "adaptive_bias_error": error.squared_bias,
        "adaptive_variance_error": error.variance,
        "converged": model.converged_,
        "autocorrelation": model.autocorrelation_,
        "tilt": model.tilt_,
        "evidence": model.log_marginal_likelihood_,
        "seconds": seconds,
    }


def table(found: list[dict[str, Any]]) -> str:
    """Return the table of all cases, in the order of CASES."""
    order = {tuple(row[key] for key in KEYS): i for i, row in enumerate(CASES)}
    lines = [
        "| data | σ | P | N | T | y × | reference | bias² + variance | adaptive kernel | off, % | finite width, % "
        "| infinite width, % | log evidence − finite width | settled | seconds |",
        "|" + "---|" * 15,
    ]
    for row in sorted(found, key=lambda row: order.get(tuple(row[key] for key in KEYS), len(order))):
        total, adapted = row["bias"] + row["variance"], row["adaptive_bias"] + row["adaptive_variance"]
        off = 100 * (adapted / total - 1)
        noise = 100 * np.hypot(row["error"] / total, row["adaptive_error"] / total)
        lines.append(
            f"| {row['data']} | {row['activation']} | {row['P']} | {row['N']} | {row['T']:g} | {row['scale']:g} "
            f"| {row['reference']}{'' if row['rhat'] < 1.02 else ', R-hat ' + format(row['rhat'], '.2f')} "
            f"| {row['bias']:.4g} + {row['variance']:.4g} "
            f"| {row['adaptive_bias']:.4g} + {row['adaptive_variance']:.4g} "
            f"| {off:+.1f} ± {noise:.1f} | {100 * (row['finite_width'] / total - 1):+.1f} "
            f"| {100 * (row['infinite_width'] / total - 1):+.1f} "
            f"| {row['evidence'] - row['evidence_finite_width']:+.1f} "
            f"| {'yes' if row['converged'] else 'no'} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def draw(found: list[dict[str, Any]]) -> None:
    """Draw the error against the width on MNIST, theories beside the posterior."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for ax, activation in zip(figure.subplots(1, 2), ("erf", "relu"), strict=True):
        several = [
            row
            for row in found
            if (row["data"], row["activation"], row["T"], row["P"], row["scale"]) == ("mnist", activation, 0.01, 200, 1)
        ]
        several.sort(key=lambda row: row["N"])
        N = [row["N"] for row in several]
        points = {"capsize": 2, "ls": "none"}
        posterior = [row["bias"] + row["variance"] for row in several]
        ax.errorbar(N, posterior, [row["error"] for row in several], fmt="ko", ms=4, label="posterior", **points)
        adapted = [row["adaptive_bias"] + row["adaptive_variance"] for row in several]
        spread = [row["adaptive_error"] for row in several]
        ax.errorbar(N, adapted, spread, color="C0", marker="s", ms=4, capsize=2, lw=1.2, label="adaptive kernel")
        ax.plot(N, [row["finite_width"] for row in several], "--", color="C1", label="finite width")
        ax.plot(N, [row["infinite_width"] for row in several], ":", color="0.4", label="infinite width")
        ax.set(xscale="log", xlabel="width N_1", title=f"MNIST, {activation}, P = 200, T = 0.01", ylim=(0, None))
        ax.set_xticks(N, labels=map(str, N))
        ax.minorticks_off()
    figure.axes[0].set_ylabel("generalisation error")
    figure.axes[1].legend(frameon=False, fontsize=8)
    save(figure, "adaptive")


def main() -> None:
    """Run what is missing, and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    if given.data is not None:
        os.environ["STPBNN_DATA"] = str(given.data)
        found = {tuple(row[key] for key in KEYS): row for row in read_rows(RESULTS)}
        for row in CASES:
            key = tuple(row.values())
            if given.again and key in found:
                found[key] |= adaptive(row)
            elif key not in found:
                found[key] = row | reference(row) | adaptive(row)
            write_rows(RESULTS, list(found.values()))
    put_table(README, "adaptive", table(read_rows(RESULTS)))
    draw(read_rows(RESULTS))


if __name__ == "__main__":
    main()
