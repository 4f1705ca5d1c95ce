"""Simulation-based calibration of every sampler on a small linear and a small erf network.

    uv run python analysis/calibration_samplers.py                   # a quarter of an hour on two cores
    uv run python analysis/calibration_samplers.py --only tempered   # one sampler anew, the others as they are stored

Writes analysis/results/calibration_samplers.json (rank histograms and p-values) and docs/calibration.png. Ranks of the
truth among independent draws are uniform if, and only if, the sampler is right: p-values are those of a chi-squared
test, and the smallest of n of them is expected near 1/n. Unadjusted Langevin dynamics is there to show what bias
looks like; its step size is that on whitened weights, the paper's times T.
"""

import argparse
import json
import time
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from stpbnn import FullyConnected
from stpbnn.files import write_text, written_whole
from stpbnn.samplers import MALA, Langevin, SplitHMC, SplitNUTS, Tempered
from stpbnn.samplers.rank_calibration import ranks, uniformity

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(0)
X, X_TEST = RNG.normal(size=(4, 2)), RNG.normal(size=2)
TEMPERATURE, DRAWS, BINS = 0.2, 31, 16
NETS = {"linear": FullyConnected((3,), "linear"), "erf": FullyConnected((3,), "erf", bias_precision=2.0)}
SAMPLERS = {
    "hmc": partial(SplitHMC, rows=("W1",)),
    "nuts": partial(SplitNUTS, rows=("W1",), max_tree_depth=6),
    "tempered": partial(Tempered, replicas=3),
    "mala": partial(MALA, num_steps=3),
    "langevin, step 0.002": partial(Langevin, step_size=0.002, num_steps=20),
    "langevin, step 0.05": partial(Langevin, step_size=0.05, num_steps=20),
}
READOUTS = ("marginal", "explicit")


RESULTS = ROOT / "analysis/results/calibration_samplers.json"


def calibrate(simulations: int, known: dict[str, dict]) -> dict[str, dict]:
    """Return histograms and p-values by sampler, network and readout; those that are known as they are."""
    settings = {"temperature": TEMPERATURE, "simulations": simulations, "warmup": 400, "draws": DRAWS, "thinning": 20}
    table: dict[str, dict] = {}
    for (sampler, kernel), (network, net), readout in product(SAMPLERS.items(), NETS.items(), READOUTS):
        title = f"{sampler}, {network}, {readout}"
        if title in known:
            table[title] = known[title]
            continue
        start = time.perf_counter()
        found = ranks(net, kernel, X, X_TEST, readout=readout, **settings)
        row = {name: _histogram(values) for name, values in found.items()}
        table[title] = {"seconds": round(time.perf_counter() - start, 1), "ranks": row}
        print(title, {name: f"{entry['p_value']:.2g}" for name, entry in row.items()}, flush=True)
    return table


def _histogram(values: np.ndarray) -> dict:
    counts = np.bincount(values * BINS // (DRAWS + 1), minlength=BINS).tolist()
    return {"counts": counts, "p_value": uniformity(values, DRAWS, BINS)}


def draw(table: dict[str, dict], simulations: int, path: Path) -> None:
    """Draw the histograms of f, one panel a row of the table, with the band that holds 99 % of uniform counts."""
    figure, axes = plt.subplots(len(SAMPLERS), 4, figsize=(11, 9), sharex=True, layout="constrained")
    spread = 2.576 * np.sqrt(simulations / BINS * (1 - 1 / BINS))
    for ax, (title, row) in zip(axes.flat, table.items(), strict=True):
        ax.axhspan(simulations / BINS - spread, simulations / BINS + spread, color="0.9")
        for name, colour in (("f", "C0"), ("train_loss", "C1")):
            ax.stairs(row["ranks"][name]["counts"], color=colour, label=name)
        ax.set_title(title, fontsize=8)
        ax.set_ylim(0, 2.2 * simulations / BINS)
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel("rank of the truth among 31 draws, in bins of two")
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


def main() -> None:
    """Calibrate, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--only", choices=SAMPLERS, help="sample this one anew, and keep what is stored of the others")
    given = parser.parse_args()
    settings = {"simulations": given.simulations, "draws": DRAWS, "temperature": TEMPERATURE, "bins": BINS}
    known = {}
    if given.only:
        stored = json.loads(RESULTS.read_text(encoding="utf-8"))
        if stored["settings"] != settings:
            parser.error(f"what is stored has the settings {stored['settings']}, not {settings}; leave out --only")
        known = {title: row for title, row in stored["results"].items() if not title.startswith(f"{given.only}, ")}
    table = calibrate(given.simulations, known)
    write_text(RESULTS, json.dumps({"settings": settings, "results": table}, indent=1) + "\n")
    draw(table, given.simulations, ROOT / "docs/calibration.png")


if __name__ == "__main__":
    main()
