"""Classes: closed forms against long chains of 20, 100 and 1000 units, in class probabilities and log score.

    uv run python analysis/classes.py                      # figure and table, from results/classes.csv
    uv run python analysis/classes.py --sample mnist 20    # sample a point anew, a task and a width: up to an hour

A row is a theory at a point: its distance from the posterior. Chains are those of `sample` with HMC; the Monte Carlo
error of the largest difference is that of its class probability.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from collect import RESULTS
from learning import save
from matplotlib.figure import Figure
from readme import put_table
from rows import read_rows, write_rows

import stpbnn
from stpbnn.datasets import load
from stpbnn.figures.style import COLOURS, MARKERS

README, FILE = Path(__file__).parent / "README.md", RESULTS / "classes.csv"
WIDTHS = (20, 100, 1000)
CHAINS, SEED, TESTS = 4, 0, 100


class Task(NamedTuple):
    """Data and network of a row of the table."""

    title: str
    data: dict[str, Any]
    outputs: int
    temperature: float
    approximations: tuple[str, ...]


MNIST = {"name": "mnist", "classes": (3, 8), "size": 784, "standardize": "paper"}
DIGITS = {"name": "digits", "standardize": "pixels", "seed": 0}
TASKS = {
    "mnist": Task("MNIST 3 and 8, T = 1", MNIST, 1, 1.0, ("laplace", "ep")),
    "mnist-cold": Task("MNIST 3 and 8, T = 0.1", MNIST, 1, 0.1, ("laplace", "ep")),
    "digits": Task("ten digits, T = 1", DIGITS, 10, 1.0, ("laplace", "ep")),
}
THEORIES = {
    "infinite width": stpbnn.NNGPClassifier,
    "proportional limit": stpbnn.ProportionalLimitClassifier,
    "finite width": stpbnn.FiniteWidthClassifier,
}
PRECISIONS = (1.0, 0.1)
NAMES = {"laplace": "Laplace", "ep": "EP"}


def points(name: str, width: int, draws: int, warmup: int) -> list[dict[str, Any]]:
    """Sample a point and return a row for each theory beside it."""
    task = TASKS[name]
    X, y, X_test, y_test = load(**task.data, train=100, test=TESTS, labels="classes")
    likelihood = "bernoulli" if task.outputs == 1 else "categorical"
    net = stpbnn.FullyConnected((width,), "erf", task.outputs, weight_precision=PRECISIONS, likelihood=likelihood)
    settings = {"warmup": warmup, "draws": draws, "chains": CHAINS, "seed": SEED, "progress": False}
    start = time.process_time()
    posterior = stpbnn.sample(net, X, y, temperature=task.temperature, X_test=X_test, y_test=y_test, **settings)
    seconds = time.process_time() - start
    fitted = {
        f"{theory}, {NAMES[how]}": kind(net, temperature=task.temperature, approximation=how).fit(X, y)
        for how in task.approximations
        for theory, kind in THEORIES.items()
    }
    found = stpbnn.compare(posterior, fitted, X_test, y_test)
    norms = posterior["posterior"]["readout_norm"]
    return [
        row(found.sel(theory=theory), model, float(norms.mean()))
        | {"cpu_seconds": round(seconds), "device": posterior.attrs["device"]}
        | {"versions": "; ".join(f"{p} {posterior.attrs[f'{p}_version']}" for p in ("stpbnn", "jax", "numpyro"))}
        | {"seed": SEED, "warmup": warmup, "draws": draws, "chains": CHAINS}
        | {"task": name, "width": width, "theory": theory}
        for theory, model in fitted.items()
    ]


def row(one: Any, model: Any, norm: float) -> dict[str, Any]:
    """Return the numbers of a theory at a point."""
    difference = abs(one["theory_mean"] - one["f_mean"])
    place = np.unravel_index(int(np.argmax(difference.to_numpy())), difference.shape)
    judged = one.sel(score="negative_log_likelihood")
    return {
        "nll_mcmc": float(judged["scores_posterior"]),
        "nll_mcmc_mcse": float(judged["scores_mcse"]),
        "nll": float(judged["scores"]),
        "nll_z": float(judged["scores_z"]),
        "largest_difference": float(difference.max()),
        "largest_difference_mcse": float(one["mcse"].to_numpy()[place]),
        "mean_difference": float(difference.mean()),
        "accuracy_mcmc": float(one.sel(score="accuracy")["scores_posterior"]),
        "accuracy": float(one.sel(score="accuracy")["scores"]),
        "ece_mcmc": float(one.sel(score="calibration_error")["scores_posterior"]),
        "ece": float(one.sel(score="calibration_error")["scores"]),
        "order_parameter": float(model.order_parameters_[0]),
        "readout_norm_mcmc": norm,
        "rhat": float(one["rhat_worst"]),
        "ess": float(one["ess_smallest"]),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of the README."""
    lines = [
        "| task | N | MCMC −log p | theory | −log p | difference | largest, mean difference of a probability | "
        "Q̄, readout norm | R-hat | CPU s |",
        "| --- " * 10 + "|",
    ]
    for one in rows:
        nll = f"{one['nll_mcmc']:.4f}({one['nll_mcmc_mcse'] * 1e4:.0f})"
        off = f"{one['nll'] - one['nll_mcmc']:+.4f}"
        gap = f"{one['largest_difference']:.3f}, {one['mean_difference']:.4f}"
        order = f"{one['order_parameter']:.3f}, {one['readout_norm_mcmc']:.3f}"
        hollow = "" if one["rhat"] < 1.01 and one["ess"] > 400 else " (hollow)"
        cells = [
            TASKS[one["task"]].title,
            one["width"],
            nll + hollow,
            one["theory"],
            f"{one['nll']:.4f}",
            off,
            gap,
            order,
        ]
        lines.append("| " + " | ".join(map(str, [*cells, f"{one['rhat']:.3f}", one["cpu_seconds"]])) + " |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Draw the largest difference of a class probability over the width, a panel for each task."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    there = [name for name in TASKS if any(one["task"] == name for one in rows)]
    panels = figure.subplots(1, len(there), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, there, strict=True):
        mine = [one for one in rows if one["task"] == name]
        for i, theory in enumerate(dict.fromkeys(one["theory"] for one in mine)):
            curve = sorted((one for one in mine if one["theory"] == theory), key=lambda one: one["width"])
            style = {"color": COLOURS[i % 3], "marker": MARKERS[i % 3], "ls": "-" if "EP" in theory else "--"}
            x, values = ([one[key] for one in curve] for key in ("width", "largest_difference"))
            ax.errorbar(
                x, values, [one["largest_difference_mcse"] for one in curve], **style, ms=5, capsize=2, label=theory
            )
        ax.axhline(0.02, color="0.7", lw=1, ls=":")
        ax.set(xscale="log", yscale="log", xlabel="width N", title=TASKS[name].title, xlim=(14, 1400))
        ax.set_xticks([20, 100, 1000], ["20", "100", "1000"], minor=False)
        ax.set_xticks([], minor=True)
    panels[0].set_ylabel("largest |theory − MCMC| of a probability")
    panels[0].legend(fontsize=7, frameon=False)
    return figure


def main() -> None:
    """Sample a point where that is asked for; then draw the figure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", nargs=2, metavar=("TASK", "WIDTH"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=300)
    given = parser.parse_args()
    if given.sample:
        task, width = given.sample[0], int(given.sample[1])
        new = points(task, width, given.draws, given.warmup)
        kept = [one for one in read_rows(FILE) if (one["task"], one["width"]) != (task, width)]
        order = {name: i for i, name in enumerate(TASKS)}
        write_rows(FILE, sorted([*kept, *new], key=lambda one: (order[one["task"]], one["width"])))
        jax.clear_caches()
    rows = read_rows(FILE)
    save(draw(rows), "classes")
    put_table(README, "classes", table(rows))


if __name__ == "__main__":
    main()
