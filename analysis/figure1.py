"""Figure 1: learning curves of networks with one hidden layer of erf units, on MNIST and CIFAR-10.

    uv run python analysis/figure1.py            # from results/figure1-*.nc, which collect.py writes

Lines are theories, points the posterior with Monte Carlo errors; below, how far off the theories are. The grey band
is 5 %.
"""

from __future__ import annotations

from pathlib import Path

from collect import results
from learning import draw_gaps, missing, save, shared_legend, table
from matplotlib.figure import Figure
from readme import put_table

from stpbnn.figures import plot_learning_curve

README = Path(__file__).parent / "README.md"
CARDS = {"MNIST": "figure1-mnist", "CIFAR-10": "figure1-cifar10"}


def main() -> None:
    """Draw the figure and write the table."""
    sets = {name: results(card) for name, card in CARDS.items()}
    figure = Figure(figsize=(5.2 * len(sets), 7.2), layout="constrained")
    axes = figure.subplots(2, len(sets), squeeze=False, height_ratios=[3, 2])
    for (above, below), (name, data) in zip(axes.T, sets.items(), strict=True):
        plot_learning_curve(data, ax=above)
        draw_gaps(below, data, "train")
        below.set(xlabel="training examples P", xscale="log")
        below.set_xticks(data["train"].values, data["train"].values)
        below.minorticks_off()
        above.set_title(name, loc="left", fontsize=10)
    shared_legend(figure, axes[0])
    save(figure, "figure1")
    put_table(README, "figure 1", f"{table(sets)}\n\n{missing(sets)}")


if __name__ == "__main__":
    main()
