"""The table of docs/primer.md: how far two theories are from sampled networks, over the load.

uv run python analysis/primer.py             # from results/figure1-*.nc
"""

from pathlib import Path

import numpy as np
from collect import results
from figure1 import CARDS
from learning import gap
from readme import put_table

PRIMER = Path(__file__).parents[1] / "docs/primer.md"
THEORIES = ["infinite width", "proportional limit"]


def table(width: int = 800) -> str:
    """Return gaps of the error in per cent as Markdown, a row for each number of examples."""
    gaps = {name: gap(results(card)).sel(width=width) for name, card in CARDS.items()}
    train = sorted({int(P) for data in gaps.values() for P in data["train"]})
    rows = [["P", "load P/N", *(f"{name}, {theory}" for name in gaps for theory in THEORIES)]]
    rows.append(["---"] * len(rows[0]))
    for P in train:
        there = [data.sel(theory=THEORIES).reindex(train=[P]) for data in gaps.values()]
        off = np.concatenate([data.to_numpy().ravel() for data in there])
        rows.append([str(P), f"{P / width:.2f}", *(f"{value:+.0f}" if np.isfinite(value) else "" for value in off)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    put_table(PRIMER, "load", table())
