"""The adaptive kernel at the sampled points of the figures, its clusters doubled until the prediction stays.

    uv run python analysis/searched.py --data DATA     # runs what is missing, cheap points first, then writes the table
    uv run python analysis/searched.py                 # table only

A point takes from half a minute to an hour of one core. Figures and tables take the theory from
results/searched.csv, in the place of what a sweep had found.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

from clusters import told
from collect import RESULTS, SEARCHED, card_of, cells, place_of, read
from differences import Off, counted, offs
from learning import converged
from readme import README, fill_and_put
from rows import fill, read_rows
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn.cards import Card, points

DEEP = ("mnist-erf", "cifar10-erf", "mnist-2hl-relu", "mnist-3hl-relu", "cifar10-2hl-relu", "cifar10-3hl-relu")
CARDS = ("figure1-mnist", "figure1-cifar10", *(f"figure2-{name}" for name in DEEP), "finite-width", "gaps")
FURTHER = ("gaps-precision", "closures", "figure1-mnist-seeds", "figure1-cifar10-seeds")
REMEDY = "uv run python analysis/collect.py SWEEP"


def cases(names: tuple[str, ...]) -> dict[tuple[str, str], Card]:
    """Return the cards of all points whose chains have converged, by their sweep and place, the cheap ones first."""
    found = {}
    for name in names:
        data = read(RESULTS / f"{name}.nc", REMEDY)
        for (place, point), card in zip(cells(data), points(card_of(data)).values(), strict=True):
            if bool(point["finished"]) and converged(point):
                found[name, place_of(place)] = card
    return dict(sorted(found.items(), key=lambda one: cost(one[1])))


def cost(card: Card) -> int:
    """Return the products that the network as one cluster takes for its features, of all examples."""
    examples = card.data.train
    return examples * card.network.products(examples, examples)


def run(card: Card) -> dict[str, Any]:
    """Return what clusters find for a card, and how large they became."""
    X, y, X_test, y_test = card.load()
    settings = {"particles": card.theories.particles, "random_state": card.sampler.seed, "cluster": "auto"}
    model = stpbnn.AdaptiveKernelRegressor(card.build(), temperature=card.posterior.temperature, **settings)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # is in the table
        model.fit(X, y)
    found = told(model, X_test, y_test)
    return found | {"cpu_seconds": time.process_time() - start, "stpbnn": stpbnn.__version__}


def table() -> str:
    """Return, for each sweep, at how many of its points clusters are near enough to the posterior."""
    lines = [
        "| sweep | points | solved | settled | total within | variance within | covered at 95 %: total | variance |",
        "|" + "---|" * 8,
    ]
    rows = {(row["card"], row["place"]): row for row in read_rows(RESULTS / SEARCHED)}
    for name in (*CARDS, *FURTHER):
        solved, settled, data, points_there = list[tuple[Off, Off]](), 0, read(RESULTS / f"{name}.nc", REMEDY), 0
        for place, point in cells(data):
            points_there += bool(point["finished"]) and converged(point)
            if (row := rows.get((name, place_of(place)))) is None:
                continue
            settled += row["converged"]
            both = [
                (float(point["error_posterior"].sel(part=part)), float(point["error_mcse"].sel(part=part)))
                for part in ("total", "variance")
            ]
            solved.append(offs(row, *both))
        near = 0.1 if name.startswith("figure2") else 0.05
        lines.append(
            f"| {name} | {points_there} | {len(solved)} | {settled} | {' | '.join(counted(solved, near, 0.1))} |"
        )
    return "\n".join(lines)


def fill_points() -> None:
    """Run the points that have no row, those of figures 1 and 2, widths and gaps first."""
    there = cases(CARDS) | cases(FURTHER)
    keys, path = ("card", "place"), RESULTS / SEARCHED
    fill(path, keys, there, lambda *place: dict(zip(keys, place, strict=True)) | run(there[place]))


def main() -> None:
    """Run what is missing, and write the table."""
    fill_and_put(__doc__, fill_points, README, "searched", table)


if __name__ == "__main__":
    main()
