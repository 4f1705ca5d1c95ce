"""Figure 2: learning curves of deep networks of relu units, on MNIST and CIFAR-10, and deep erf networks beside them.

    uv run python analysis/figure2.py            # from results/figure2-*.nc, which collect.py writes

Lines are theories, points the posterior with Monte Carlo errors; below, how far off the theories are. The grey band
is 5 %.
"""

from __future__ import annotations

import xarray as xr
from collect import results
from learning import draw_gaps, missing, save, shared_legend, table
from matplotlib.figure import Figure
from readme import README, put_table

from stpbnn.figures import plot_learning_curve

DATA, DEPTHS = {"MNIST": "mnist", "CIFAR-10": "cifar10"}, (2, 3)


def erf(card: str) -> xr.Dataset:
    """Return the results of the erf networks, whose sweep is over the depth at one width."""
    found = results(card)
    return found.assign_coords(width=[label.count("-") + 1 for label in found["width"].values]).rename(width="depth")


def main() -> None:
    """Draw the figure and write the table."""
    sets = {
        f"{name}, relu, L = {L}": results(f"figure2-{data}-{L}hl-relu") for name, data in DATA.items() for L in DEPTHS
    }
    deep = {f"{name}, erf": erf(f"figure2-{data}-erf") for name, data in DATA.items()}
    panels = [
        (name, one, "depth" if name in deep else "train")
        for data in DATA
        for name, one in (sets | deep).items()
        if name.startswith(data)
    ]
    figure = Figure(figsize=(10.5, 12), layout="constrained")
    axes = figure.subplots(4, len(panels) // 2, height_ratios=[3, 2, 3, 2], sharex="col")
    uppers, lowers = axes[::2].ravel(), axes[1::2].ravel()
    for above, below, (name, data, x) in zip(uppers, lowers, panels, strict=True):
        plot_learning_curve(data, ax=above)
        draw_gaps(below, data, x)
        label = {"train": "training examples P", "depth": "hidden layers L"}[x]
        for ax in (above, below):
            ax.set(xlabel=label)
            ax.set_xticks(data[x].values, data[x].values)
            ax.tick_params(labelbottom=True)
        above.set_title(name, loc="left", fontsize=10)
    shared_legend(figure, uppers)
    save(figure, "figure2")
    put_table(README, "figure 2", f"{table(sets | deep)}\n\n{missing(sets | deep)}")


if __name__ == "__main__":
    main()
