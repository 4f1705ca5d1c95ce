"""Where the gap between theory and posterior opens: temperature, label scale, precision; what the hidden kernel does.

    uv run python analysis/gaps.py               # from results/gaps.nc and gaps-precision.nc, which collect.py writes

Labels ±c are the same problem as labels ±1 at temperature T/c² and readout precision λ_1 c².
"""

from __future__ import annotations

import xarray as xr
from collect import card_of, results
from learning import draw_gaps, missing, save, table, theory_handles
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from readme import README, put_table

from stpbnn.figures.style import COLOURS

LABELS = "labels ±"


def named(data: xr.Dataset) -> xr.Dataset:
    """Return the results with the label scale as a number."""
    scales = [labels[1] for labels in card_of(data).sweep["data.labels"]]
    return data.assign_coords({"data.labels": scales}).rename({"data.labels": LABELS})


def draw_overlaps(ax: Axes, data: xr.Dataset) -> None:
    """Draw the overlap of the sampled hidden kernel with that of infinite width, and with the targets."""
    x = data["temperature"].to_numpy()
    for colour, scale in zip(COLOURS, data[LABELS].to_numpy(), strict=False):
        one = data[["kernel_overlap", "kernel_overlap_mcse"]].sel({LABELS: scale})
        for row, line in enumerate(("o-", "s--")):
            values, error = (one[name].to_numpy()[..., row] for name in ("kernel_overlap", "kernel_overlap_mcse"))
            ax.errorbar(x, values, error, fmt=line, ms=4, lw=1, color=colour, capsize=2)
    ax.axhline(float(data["nngp_overlap"].mean()), color="0.5", lw=0.8)
    entries = {"of K̂ with K": "ko-", "of K̂ with y yᵀ": "ks--"}
    handles = [Line2D([], [], color="k", marker=f[1], ls=f[2:], ms=4, label=name) for name, f in entries.items()]
    handles.append(Line2D([], [], color="0.5", lw=0.8, label="of K with y yᵀ"))
    ax.legend(handles=handles, fontsize=7, frameon=False)
    ax.set(xscale="log", xlabel="temperature T", ylabel="overlap", ylim=(None, 1.01))


def main() -> None:
    """Draw the figure and write the table."""
    data = named(results("gaps")).transpose("temperature", ...)
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_gaps(left, data, "temperature")
    left.set(xscale="log", xlabel="temperature T")
    scales = data[LABELS].to_numpy()
    handles = [Line2D([], [], color=c, label=f"{LABELS}{s:g}") for c, s in zip(COLOURS, scales, strict=False)]
    left.legend(handles=handles + theory_handles(data), fontsize=7, frameon=False)
    draw_overlaps(right, data)
    save(figure, "gaps")
    sets = {"MNIST": data, "MNIST, λ": results("gaps-precision").rename({"network.weight_precision": "λ"})}
    put_table(README, "gaps", f"{table(sets)}\n\n{missing(sets)}")


if __name__ == "__main__":
    main()
