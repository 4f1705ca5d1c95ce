"""The adaptive kernel at the sampled points of the figures, its clusters doubled until the prediction stays.

    uv run python analysis/searched.py                      # runs what is missing, the cheap points first
    uv run python analysis/searched.py figure2-mnist-erf    # those of some cards alone

A point takes from half a minute to an hour of one core. Figures and tables take the theory from
results/searched.csv, in the place of what a sweep had found.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

from clusters import told
from collect import RESULTS, SEARCHED, card_of, place_of, read
from learning import cells, converged
from rows import fill
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn.cards import Card, points

DEEP = ("mnist-erf", "cifar10-erf", "mnist-2hl-relu", "mnist-3hl-relu", "cifar10-2hl-relu", "cifar10-3hl-relu")
CARDS = ("figure1-mnist", "figure1-cifar10", *(f"figure2-{name}" for name in DEEP), "finite-width", "gaps")
FURTHER = ("gaps-precision", "closures", "figure1-mnist-seeds", "figure1-cifar10-seeds")


def cases(names: tuple[str, ...]) -> dict[tuple[str, str], Card]:
    """Return the cards of all points whose chains have converged, by their sweep and place, the cheap ones first."""
    found = {}
    for name in names:
        data = read(RESULTS / f"{name}.nc", "uv run python analysis/collect.py SWEEP")
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


def main() -> None:
    """Run what is missing."""
    names = tuple(sys.argv[1:])
    there = cases(names) if names else cases(CARDS) | cases(FURTHER)
    fill(
        SEARCHED,
        ("card", "place"),
        there,
        lambda name, place: {"card": name, "place": place} | run(there[name, place]),
    )


if __name__ == "__main__":
    main()
