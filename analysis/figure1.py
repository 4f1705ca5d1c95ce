"""Figure 1: learning curves of networks with one hidden layer of erf units, on MNIST and CIFAR-10.

    uv run python analysis/figure1.py            # from results/figure1-*.nc, which collect.py writes

Lines are theories, points the posterior with Monte Carlo errors; below, how far off the theories are, in a grey band of
5 %. Where there are results of figure1-mnist-seeds and figure1-cifar10-seeds, averages over the draws of the data are
put into a table of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import collect
import numpy as np
import xarray as xr
from collect import results
from learning import digits, draw_gaps, gap, missing, save, shared_legend, table
from matplotlib.figure import Figure
from readme import README, put_table

from stpbnn.figures import plot_learning_curve

CARDS = {"MNIST": "figure1-mnist", "CIFAR-10": "figure1-cifar10"}


def averages(sets: Mapping[str, xr.Dataset]) -> str:
    """Return means and standard errors over the draws of the data as Markdown: the error, and the gaps in per cent.

    Draws whose chains have not converged are left out, and counted.
    """
    theories = list(dict.fromkeys(str(name) for data in sets.values() for name in data["theory"].to_numpy()))
    lines = [["data", "P", "N", "draws", "MCMC", *theories], ["---"] * (5 + len(theories))]
    for name, data in sets.items():
        gaps, errors = gap(data), data["error_posterior"].sel(part="total")
        for P, N in product(data["train"].to_numpy(), data["width"].to_numpy()):
            point = data.sel(train=P, width=N)
            finished = point["finished"].to_numpy()
            there = finished & point["converged"].to_numpy().astype(bool)
            if there.sum() < 2:
                continue
            out = f" ({finished.sum() - there.sum()} left out)" if there.sum() < finished.sum() else ""
            row = [name, str(P), str(N), f"{there.sum()}{out}", mean(errors.sel(train=P, width=N).to_numpy()[there])]
            for theory in theories:
                known = theory in data["theory"].to_numpy()
                off = gaps.sel(train=P, width=N, theory=theory).to_numpy()[there] if known else []
                row.append(f"{mean(off)} %" if known else "")
            lines.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def mean(values: np.ndarray) -> str:
    """Return a mean with its standard error."""
    return digits(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))))


def main() -> None:
    """Draw the figure and write the table."""
    sets = {name: results(card) for name, card in CARDS.items()}
    figure = Figure(figsize=(5.2 * len(sets), 7.2), layout="constrained")
    axes = figure.subplots(2, len(sets), squeeze=False, height_ratios=[3, 2], sharex="col")
    for (above, below), (name, data) in zip(axes.T, sets.items(), strict=True):
        plot_learning_curve(data, ax=above)
        draw_gaps(below, data, "train")
        below.set(xlabel="training examples P", xscale="log")
        below.set_xticks(data["train"].values, data["train"].values)
        below.minorticks_off()
        above.set_title(name, loc="left", fontsize=10)
        above.set_xlabel("")
    shared_legend(figure, axes[0])
    save(figure, "figure1")
    put_table(README, "figure 1", f"{table(sets)}\n\n{missing(sets)}")
    drawn = {name: f"{card}-seeds" for name, card in CARDS.items() if (collect.RESULTS / f"{card}-seeds.nc").is_file()}
    if drawn:
        put_table(README, "seeds", averages({name: results(card) for name, card in drawn.items()}))


if __name__ == "__main__":
    main()
