"""Width at a fixed number of examples: how fast posterior and theories approach infinite width, and each other.

    uv run python analysis/finite_width.py       # from results/finite-width.nc, which collect.py writes

The learning curve alone is also the first picture of the README, docs/widths.png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from collect import card_of, results
from learning import dashes, digits, gap, gap_error, missing, noise, save, shared_legend, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from readme import README, put_table

from stpbnn.figures import plot_learning_curve
from stpbnn.figures.style import COLOURS
from stpbnn.files import written_whole

PICTURE = Path(__file__).parents[1] / "docs" / "widths.png"
NAME = "digits, erf, L = 1"


def power(widths: np.ndarray, off: np.ndarray, spread: np.ndarray) -> tuple[float, float]:
    """Return the power of N with which a difference falls, over the points that are above three standard errors."""
    seen = np.abs(off) > 3 * spread
    if seen.sum() < 3:
        return np.nan, np.nan
    weights = np.abs(off[seen]) / spread[seen]
    slope, covariance = np.polyfit(np.log(widths[seen]), np.log(np.abs(off[seen])), 1, w=weights, cov="unscaled")
    return float(slope[0]), float(np.sqrt(covariance[0, 0]))


def draw(ax: Axes, data: xr.Dataset) -> None:
    """Draw the size of the relative differences from the posterior on logarithmic axes, hollow where it is noise."""
    widths, off, spread = data["width"].to_numpy(), gap(data), gap_error(data)
    lines = dashes([str(name) for name in data["theory"].to_numpy()])
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        values, error = np.abs(off.sel(theory=name).to_numpy()), spread.sel(theory=name).to_numpy()
        ax.plot(widths, values, color=colour, ls=line, lw=1.1, label=name)
        for seen, face in ((values > 3 * error, colour), (values <= 3 * error, "white")):
            points = {"fmt": "o", "ms": 4, "mfc": face, "capsize": 2, "color": colour}
            ax.errorbar(widths[seen], values[seen], error[seen], **points)
    ax.plot(widths, 100 * noise(data), color="0.7", lw=3, label="Monte Carlo error")
    ax.plot(widths, 60 * widths[0] / widths, "k:", lw=0.8, label="1/N")
    ax.set(xscale="log", yscale="log", ylim=(0.02, 1000), xlabel="width N", ylabel="|theory / MCMC − 1|, %")
    ax.legend(fontsize=8, frameon=False)


def powers(data: xr.Dataset) -> str:
    """Say with which power of the width each theory approaches the posterior beyond a load of one."""
    wide = data.sel(width=data["width"] > card_of(data).data.train)
    off, spread = gap(wide), gap_error(wide)
    told = []
    for name in wide["theory"].to_numpy():
        slope, error = power(
            wide["width"].to_numpy(), off.sel(theory=name).to_numpy(), spread.sel(theory=name).to_numpy()
        )
        told.append(f"{name}: {digits(slope, error)}" if np.isfinite(slope) else f"{name}: less than three points")
    return (
        f"Powers of N of |theory / MCMC − 1| for N > P, over points above three Monte Carlo errors: {'; '.join(told)}."
    )


def main() -> None:
    """Draw the figure and write the table."""
    data = results("finite-width")
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_learning_curve(data, ax=left)
    shared_legend(figure, [left])
    left.set_title(
        f"P = {card_of(data).data.train}, T = {card_of(data).posterior.temperature}", loc="left", fontsize=10
    )
    draw(right, data)
    save(figure, "finite_width")
    with written_whole(PICTURE) as path:
        plot_learning_curve(data).figure.savefig(path, format="png", dpi=160)
    put_table(README, "finite width", f"{table({NAME: data})}\n\n{missing({NAME: data})}\n{powers(data)}")


if __name__ == "__main__":
    main()
