"""Networks of one convolutional layer against their sampled posteriors: local kernel renormalisation, and its 1/N law.

uv run python analysis/convolutions.py --data DATA     # runs the cases that are missing, then writes table and figure
uv run python analysis/convolutions.py                 # table and figure only

The cases stand in CASES; each is a row of results/convolutions.csv. About an hour on one core.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
from learning import save
from matplotlib.figure import Figure
from readme import README, put_table
from rows import read_rows, write_rows

import stpbnn
from stpbnn._precision import in_float64
from stpbnn.scale.local_minima import best_multiples

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "convolutions.csv"
THEORIES = ("local", "one_scale", "finite_width", "infinite_width")
NAMES = {
    "local": "local renormalisation",
    "one_scale": "one scale",
    "finite_width": "finite width",
    "infinite_width": "infinite width",
}


def case(data: str, window: int, N: int, T: float, P: int, seconds: int = 170) -> dict[str, Any]:
    """Return one case: windows that do not overlap, or one that is the whole image, a fully-connected network."""
    return {"data": data, "window": window, "N": N, "T": T, "P": P, "seconds_at_most": seconds}


CASES = [
    *(case("digits", 4, N, 0.05, 40) for N in (25, 50, 100, 200)),
    *(case("cifar10", window, 20, 0.05, 50, 200) for window in (28, 14)),
]
KEYS = tuple(CASES[0])


def load(row: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Return training and test set of a case, labels −1 and +1."""
    images = {"classes": (0, 1), "labels": (-1, 1), "test": 100}
    settings = images | ({"standardize": "pixels", "seed": 0} if row["data"] == "digits" else {"size": 784})
    return stpbnn.datasets.load(row["data"], train=row["P"], **settings)


def network(row: dict[str, Any]) -> stpbnn.Convolutional:
    """Return the network of a case."""
    side = 8 if row["data"] == "digits" else 28
    return stpbnn.Convolutional((row["N"],), row["window"], row["window"], image=(side, side, 1))


def sampled(net: stpbnn.Convolutional, T: float, data: tuple[np.ndarray, ...], seconds: float) -> dict[str, Any]:
    """Return the generalisation error of the posterior with its Monte Carlo error, and the sampled order parameters."""
    X, y, Xt, yt = data
    until = {"ess": 2000, "rhat": 1.005, "seconds": seconds}
    posterior = stpbnn.sample(net, X, y, temperature=T, X_test=Xt, draws=4000, warmup=250, until=until, progress=False)
    f, variance = posterior["predictions"]["f_mean"], posterior["predictions"]["f_variance"]
    total = ((f - yt) ** 2 + variance).mean("test_point")
    bias = float(((f.mean(("chain", "draw")) - yt) ** 2).mean())
    return {
        "bias": bias,
        "variance": float(total.mean()) - bias,
        "error": float(az.mcse(total)),
        "rhat": float(az.rhat(f).max()),
        "draws": f.sizes["draw"],
    }


@in_float64
def one_scale(model: stpbnn.ProportionalLimitRegressor, Xt: np.ndarray, yt: np.ndarray) -> float:
    """Return the error at the best multiple of the unit matrix: what a theory without positions would say."""
    problem, point = model._problem, model.saddle_points_[0]
    scale = best_multiples(problem._saddle)[0].order_parameters[0]
    d = problem.net.positions
    law = problem.conditioned(point._replace(order_parameters=scale * np.eye(d))).law(Xt, joint=False, noise=False)
    return float(np.mean((law.mean - yt) ** 2 + law.variance))


def theories(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the theories say of the error, and the order parameters."""
    net, T, (X, y, Xt, yt) = network(row), row["T"], load(row)
    start = time.process_time()
    local = stpbnn.ProportionalLimitRegressor(net, temperature=T).fit(X, y)
    mixture = stpbnn.FiniteWidthRegressor(net, temperature=T, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # is in the table
        mixture.fit(X, y)
    Q = local.order_parameters_
    eigenvalues = np.linalg.eigvalsh(Q)
    return {
        "local": local.generalization_error(Xt, yt).total,
        "one_scale": one_scale(local, Xt, yt),
        "finite_width": mixture.generalization_error(Xt, yt).total,
        "infinite_width": stpbnn.NNGPRegressor(net, temperature=T).fit(X, y).generalization_error(Xt, yt).total,
        "converged": local.converged_,
        "finite_width_converged": mixture.converged_,
        "lowest_Q": float(eigenvalues[0]),
        "highest_Q": float(eigenvalues[-1]),
        "seconds_theories": time.process_time() - start,
    }


def solved(row: dict[str, Any]) -> dict[str, Any]:
    """Return the posterior and the theories of a case, with versions and device."""
    start = time.perf_counter()
    found = sampled(network(row), row["T"], load(row), row["seconds_at_most"])
    return found | {
        "seconds_sampling": time.perf_counter() - start,
        **theories(row),
        "seed": 0,
        "stpbnn": stpbnn.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }


def table(found: list[dict[str, Any]]) -> str:
    """Return the table of all cases, in the order of CASES; what is off, in per cent of the posterior's error."""
    order = {tuple(row[key] for key in KEYS): i for i, row in enumerate(CASES)}
    lines = [
        f"| data | window | N | P | T | MCMC | {', '.join(f'{NAMES[name]}, %' for name in THEORIES)} "
        "| eigenvalues of Q̄ | R-hat |".replace(", %, ", ", % | "),
        "|" + "---|" * (8 + len(THEORIES)),
    ]
    for row in sorted(found, key=lambda row: order.get(tuple(row[key] for key in KEYS), len(order))):
        total = row["bias"] + row["variance"]
        noise = 100 * row["error"] / total
        off = [f"{100 * (row[name] / total - 1):+.1f}" for name in THEORIES]
        off[2] += "" if row["finite_width_converged"] else " (not converged)"
        lines.append(
            f"| {row['data']} | {row['window']} | {row['N']} | {row['P']} | {row['T']:g} "
            f"| {row['bias']:.4g} + {row['variance']:.4g} ± {noise:.1f} % | {' | '.join(off)} "
            f"| {row['lowest_Q']:.2f} to {row['highest_Q']:.2f} | {row['rhat']:.3f} |"
        )
    return "\n".join(lines)


def draw(found: list[dict[str, Any]]) -> None:
    """Draw N times the difference from the posterior against N, and how far off the theories are on images."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    law, images = figure.subplots(1, 2)
    digits = sorted((row for row in found if row["data"] == "digits"), key=lambda row: row["N"])
    N = np.array([row["N"] for row in digits])
    total = np.array([row["bias"] + row["variance"] for row in digits])
    for name, color in zip(THEORIES, ("C0", "C2", "C1", "0.4"), strict=True):
        values = np.array([row[name] for row in digits])
        errors = np.array([row["error"] for row in digits])
        law.errorbar(N, N * (values - total), N * errors, color=color, marker="o", ms=4, capsize=2, label=NAMES[name])
    law.axhline(0, color="0.8", lw=0.8)
    law.set(xscale="log", xlabel="channels N", ylabel="N · (theory − posterior)", title="digits, erf, P = 40, T = 0.05")
    law.set_xticks(N, labels=map(str, N))
    law.minorticks_off()
    law.legend(frameon=False, fontsize=8)
    others = [row for row in found if row["data"] != "digits"]
    for name, color in zip(THEORIES, ("C0", "C2", "C1", "0.4"), strict=True):
        off = [100 * (row[name] / (row["bias"] + row["variance"]) - 1) for row in others]
        images.plot(range(len(others)), off, "o", color=color, ms=5)
    images.axhspan(-2, 2, color="0.92")
    labels = [f"{row['data']}\n{'whole' if row['window'] == 28 else '14 × 14'}\nN = {row['N']}" for row in others]
    images.set_xticks(range(len(others)), labels=labels, fontsize=7)
    images.set(ylabel="theory off, %", title="erf, P = 50, T = 0.05")
    save(figure, "convolutions")


def main() -> None:
    """Run what is missing, and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    if given.data is not None:
        os.environ["STPBNN_DATA"] = str(given.data)
        found = {tuple(row[key] for key in KEYS): row for row in read_rows(RESULTS)}
        for row in CASES:
            key = tuple(row.values())
            if key not in found:
                found[key] = row | solved(row)
                write_rows(RESULTS, list(found.values()))
    put_table(README, "convolutions", table(read_rows(RESULTS)))
    draw(read_rows(RESULTS))


if __name__ == "__main__":
    main()
