"""What the figures of learning curves share: their tables, their panels, and the list of cells that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from collect import RESULTS, cells
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from stpbnn.figures.learning import DASHES, FREE
from stpbnn.figures.style import COLOURS, MARKERS
from stpbnn.files import written_whole

NOISE = 0.02  # largest relative Monte Carlo error of a point that is shown as precise
OVERLAPS = ("overlap of K̂ with K", "of K̂ with y yᵀ", "of K with y yᵀ")
TICKS = (-50, -20, -10, -5, 0, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)  # of the axis of per cents
SYMBOLS = {"train": "P", "width": "N", "temperature": "T", "depth": "L"}


def told(place: Mapping[str, Any]) -> str:
    """Return a point in words."""
    return ", ".join(
        f"{dim}{value:g}" if dim.endswith("±") else f"{SYMBOLS.get(dim, dim)} = {value}" for dim, value in place.items()
    )


def converged(point: xr.Dataset) -> bool:
    """Return whether the chains of a point have converged and its error is known to 2 %."""
    return bool(point["converged"]) and float(noise(point)) < NOISE


def noise(data: xr.Dataset) -> xr.DataArray:
    """Return the relative Monte Carlo error of the generalisation error."""
    return data["error_mcse"].sel(part="total") / data["error_posterior"].sel(part="total")


def gap(data: xr.Dataset) -> xr.DataArray:
    """Return how much larger each theory's generalisation error is than the posterior's, in per cent."""
    return 100 * (data["error"] / data["error_posterior"] - 1).sel(part="total")


def gap_error(data: xr.Dataset) -> xr.DataArray:
    """Return the error of that difference: of the posterior, and of a theory that is simulated.

    The latter is the Monte Carlo error, and what the last doubling of its clusters changed, where that is known.
    """
    total = data["error_posterior"].sel(part="total")
    names = [name for name in ("theory_error_mcse", "theory_error_systematic") if name in data]
    own = sum((data[name].sel(part="total").fillna(0.0) / total) ** 2 for name in names)
    of_posterior = noise(data) * data["error"].sel(part="total") / total
    return 100 * np.sqrt(of_posterior**2 + own)


def digits(value: float, error: float, sign: str = "") -> str:
    """Return a number with as many digits as its error allows: 0.1229(5).

    Examples
    --------
    >>> digits(0.12294, 0.00047), digits(3.2, 0.4, "+"), digits(41.2, 13.0)
    ('0.1229(5)', '+3.2(4)', '41(13)')
    """
    if not np.isfinite(error) or error <= 0:
        return f"{value:{sign}.4g}"
    places = max(0, -int(np.floor(np.log10(error))))
    scaled = round(error * 10**places)
    if scaled == 10 and places:  # 0.0996 is 0.10, not 0.010
        places, scaled = places - 1, 1
    return f"{value:{sign}.{places}f}({scaled})"


def table(sets: Mapping[str, xr.Dataset]) -> str:
    """Return all finished points as Markdown: the posterior's error, and how far off each theory is in per cent."""
    theories = list(dict.fromkeys(str(name) for data in sets.values() for name in data["theory"].to_numpy()))
    head = ["data, network", "point", "MCMC", "bias²", "variance", *theories, *OVERLAPS, "minutes"]
    lines = [head, ["---"] * len(head)]
    for name, data in sets.items():
        for place, point in cells(data):
            if not bool(point["finished"]):
                continue
            parts = [
                digits(float(point["error_posterior"].sel(part=part)), float(point["error_mcse"].sel(part=part)))
                for part in ("total", "squared_bias", "variance")
            ]
            parts[0] += "" if converged(point) else " (hollow)"
            known, found, spread = set(point["theory"].to_numpy()), gap(point), gap_error(point)
            off = [
                f"{digits(float(found.sel(theory=one)), float(spread.sel(theory=one)), '+')} %{size_in(point, one)}"
                if one in known and np.isfinite(found.sel(theory=one))
                else ""
                for one in theories
            ]
            overlap = [f"{value:.3f}" for value in (*point["kernel_overlap"].to_numpy(), float(point["nngp_overlap"]))]
            lines.append([name, told(place), *parts, *off, *overlap, f"{float(point['seconds']) / 60:.1f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def size_in(point: xr.Dataset, theory: str) -> str:
    """Return the size of the clusters of a theory, in words, and whether it had not settled; nothing if it has none."""
    if "cluster" not in point or not np.isfinite(size := float(point["cluster"].sel(theory=theory))):
        return ""
    return f", n = {size:.0f}{'' if point['theory_converged'].sel(theory=theory) else ', not settled'}"


def missing(sets: Mapping[str, xr.Dataset]) -> str:
    """Return what was not run, and where chains or precision do not suffice, as Markdown."""
    absent, hollow = [], []
    for name, data in sets.items():
        for place, point in cells(data):
            if not bool(point["finished"]):
                absent.append(f"{name}, {told(place)}")
            elif not converged(point):
                rhat, ess, spread = (float(one) for one in (point["rhat_worst"], point["ess_smallest"], noise(point)))
                why = f"R-hat {rhat:.3f}, ESS {ess:.0f}, Monte Carlo error {100 * spread:.1f} %"
                hollow.append(f"{name}, {told(place)} ({why})")
    every = sum(data["finished"].size for data in sets.values())
    names = {str(d) for data in sets.values() for d in np.ravel(data.get("device", [])) if d}
    devices = sorted({"a CPU" if name == "cpu: cpu" else name for name in names})
    return "\n\n".join(
        [
            f"{every - len(absent)} of {every} points, sampled on {', '.join(devices) or 'nothing yet'}.",
            f"Missing: {'; '.join(absent) or 'none'}.",
            f"Hollow, not converged or known to less than 2 %: {'; '.join(hollow) or 'none'}.",
        ]
    )


def dashes(names: list[str]) -> dict[str, Any]:
    """Return the style of the line of each theory."""
    free = iter(FREE)
    return {name: DASHES.get(name) or next(free) for name in names}


def theory_handles(data: xr.Dataset) -> list[Line2D]:
    """Return an entry of a legend for the line of each theory."""
    lines = dashes([str(name) for name in data["theory"].to_numpy()])
    return [Line2D([], [], color="k", lw=1.1, ls=line, label=name) for name, line in lines.items()]


def draw_gaps(ax: Axes, data: xr.Dataset, x: str) -> None:
    """Draw how far off the theories are against one dimension: a colour for each value of the other one.

    Points whose chains have not converged are hollow; the axis is linear up to 10 % and logarithmic beyond.
    """
    others = [str(dim) for dim in data["finished"].dims if dim != x]
    lines = dashes([str(name) for name in data["theory"].to_numpy()])
    for i, values in enumerate(product(*(data[dim].to_numpy() for dim in others))):
        curve = data.sel(dict(zip(others, values, strict=True)))
        found, spread = gap(curve), gap_error(curve)
        fine = curve["converged"].astype(bool).to_numpy()
        colour, marker = COLOURS[i % len(COLOURS)], ("o", *MARKERS)[i]
        for name, line in lines.items():
            off, error = found.sel(theory=name), spread.sel(theory=name)
            ax.plot(data[x], off, ls=line, color=colour, lw=1.1)
            for shown, face in ((fine, colour), (~fine, "white")):
                points: dict[str, Any] = {"fmt": marker, "ms": 4, "mfc": face, "lw": 1.1, "capsize": 2}
                ax.errorbar(data[x][shown], off[shown], error[shown], color=colour, **points)
    ax.axhline(0, color="0.6", lw=0.8, zorder=0)
    ax.axhspan(-5, 5, color="0.93", zorder=-1)
    ax.set_yscale("symlog", linthresh=10, linscale=1)
    ax.yaxis.set_major_locator(FixedLocator(TICKS))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(ylabel="theory / MCMC − 1, %")


def shared_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Put the entries of the legends of some axes, each once, above the figure in their place."""
    entries = {}
    for ax in axes:
        if (legend := ax.get_legend()) is not None:
            entries |= dict(zip((text.get_text() for text in legend.texts), legend.legend_handles, strict=True))
            legend.remove()
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=5, frameon=False, fontsize=9)


def save(figure: Figure, name: str, folder: Path = RESULTS) -> None:
    """Write a figure as PNG and as SVG, the same bytes for the same numbers."""
    for suffix in ("png", "svg"):
        with written_whole(folder / f"{name}.{suffix}") as path, mpl.rc_context({"svg.hashsalt": name}):
            metadata = {"Date": None} if suffix == "svg" else None
            figure.savefig(path, format=suffix, dpi=110, metadata=metadata)
