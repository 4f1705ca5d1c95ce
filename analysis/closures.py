"""Closures of deep networks: which is closest to the posterior, by depth, width and activation.

    uv run python analysis/closures.py --run     # minutes: solve all closures, into results/closures-theories.nc
    uv run python analysis/closures.py           # the figure and the table from that file, and from
                                                 # results/closures.nc, which collect.py writes

Every closure is solved at its saddle point, and as the mixture over the posterior of its order parameters. Networks of
one hidden layer have one closure only; where the activation is not odd the mean of their features is kept, or dropped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from collect import RESULTS, card_of, read, results
from learning import digits, save, shared_legend
from matplotlib.figure import Figure
from readme import README, put_table

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.cards import points
from stpbnn.figures.style import COLOURS, MARKERS
from stpbnn.files import write_netcdf

CLOSURES = ("nested", "global", "wishart")
SADDLE, MIXTURE = "saddle point", "mixture"
REGRESSORS: dict[str, type] = {SADDLE: ProportionalLimitRegressor, MIXTURE: FiniteWidthRegressor}
STYLES: dict[str, dict[str, Any]] = {SADDLE: {"ls": "-"}, MIXTURE: {"ls": "--", "mfc": "white"}}


def theories(net: FullyConnected, temperature: float) -> Iterator[tuple[str, str, Any]]:
    """Give every theory of a network: how it is closed, how it is solved, and its regressor."""
    yield "infinite width", SADDLE, NNGPRegressor(net, temperature=temperature)
    for solved, regressor in REGRESSORS.items():
        for closure in CLOSURES if net.depth > 1 else ("nested",):
            yield closure, solved, regressor(net, temperature=temperature, closure=closure)
        if net.depth == 1 and not net.sigma.odd:
            yield "mean dropped", solved, regressor(net, temperature=temperature, mean="drop")


def run(posterior: xr.Dataset) -> xr.Dataset:
    """Solve all theories at the points of the sweep."""
    card, names = card_of(posterior), ["infinite width", *CLOSURES, "mean dropped"]
    shape = posterior["finished"].shape
    error = np.full((*shape, len(names), len(REGRESSORS)), np.nan)
    for place, point in points(card).items():
        X, y, X_test, y_test = point.data.load()
        for name, solved, model in theories(point.network.build(), point.posterior.temperature):
            try:
                found = model.fit(X, y).generalization_error(X_test, y_test)
            except (ValueError, np.linalg.LinAlgError) as problem:
                print(place, name, solved, problem)
                continue
            error[(*place, names.index(name), list(REGRESSORS).index(solved))] = found.total
    dims = (*posterior["finished"].dims, "closure", "solved")
    coords = {dim: posterior[dim].to_numpy() for dim in posterior["finished"].dims}
    return xr.Dataset(
        {"error": (dims, error)}, coords | {"closure": names, "solved": list(REGRESSORS)}, posterior.attrs
    )


def nets(posterior: xr.Dataset) -> Iterator[tuple[dict[str, Any], FullyConnected]]:
    """Give the coordinates and the network of each finished point."""
    dims = posterior["finished"].dims
    for place, point in points(card_of(posterior)).items():
        if bool(posterior["finished"].to_numpy()[place]):
            yield (
                {str(dim): posterior[dim].to_numpy()[i] for dim, i in zip(dims, place, strict=True)},
                point.network.build(),
            )


def gaps(posterior: xr.Dataset, solved: xr.Dataset) -> xr.DataArray:
    """Return how far each theory is off, in per cent."""
    return 100 * (solved["error"] / posterior["error_posterior"].sel(part="total", drop=True) - 1)


def table(posterior: xr.Dataset, solved: xr.Dataset) -> str:
    """Return the gaps as Markdown, saddle point / mixture; the closest theory in bold, with all within its noise."""
    names = [str(name) for name in solved["closure"].to_numpy()]
    lines = [["activation", "L", "N", "MCMC", *names], ["---"] * (4 + len(names))]
    off = gaps(posterior, solved)
    for place, net in nets(posterior):
        point = posterior.sel(place)
        total, mcse = (float(point[name].sel(part="total")) for name in ("error_posterior", "error_mcse"))
        here = off.sel(place)
        best = float(np.nanmin(np.abs(here.to_numpy()))) + 100 * mcse / total
        row = [net.sigma.name, str(net.depth), str(net.widths[0]), digits(total, mcse)]
        for name in names:
            cells = [float(value) for value in here.sel(closure=name).to_numpy() if np.isfinite(value)]
            row.append(" / ".join(f"**{v:+.1f}**" if abs(v) <= best else f"{v:+.1f}" for v in cells))
        lines.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def draw(posterior: xr.Dataset, solved: xr.Dataset) -> Figure:
    """Draw the gaps against depth, a panel for each activation and width."""
    found = list(nets(posterior))
    kinds = list(dict.fromkeys((net.sigma.name, net.widths[0]) for _, net in found))
    figure = Figure(figsize=(3.4 * len(kinds), 4.2), layout="constrained")
    off = gaps(posterior, solved)
    for ax, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        places = [(net.depth, place) for place, net in found if (net.sigma.name, net.widths[0]) == kind]
        depths = [L for L, _ in places]
        here = [posterior.sel(place) for _, place in places]
        spread = [100 * float((one["error_mcse"] / one["error_posterior"]).sel(part="total")) for one in here]
        ax.fill_between(depths, np.negative(spread), spread, color="0.85", label="Monte Carlo error")
        for i, name in enumerate(solved["closure"].to_numpy()):
            for way, style in STYLES.items():
                values = [float(off.sel(place | {"closure": name, "solved": way})) for _, place in places]
                if np.isfinite(values).any():
                    marker = ("o", *MARKERS)[i]
                    label = str(name) if way == SADDLE else None
                    ax.plot(depths, values, color=COLOURS[i], marker=marker, ms=5, lw=1, label=label, **style)
        ax.axhline(0, color="0.5", lw=0.8)
        ax.set(title=f"{kind[0]}, N = {kind[1]}", xlabel="hidden layers L", ylabel="theory / MCMC − 1, %")
        ax.set_xticks(depths)
        ax.plot([], [], color="k", marker="o", ms=5, lw=1, label=MIXTURE, **STYLES[MIXTURE])
        ax.legend()
    shared_legend(figure, figure.axes)
    return figure


def main() -> None:
    """Solve if asked to; draw the figure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="solve all closures anew")
    posterior, path = results("closures"), RESULTS / "closures-theories.nc"
    if parser.parse_args().run:
        write_netcdf(path, run(posterior))
    solved = read(path, "uv run python analysis/closures.py --run")
    save(draw(posterior, solved), "closures")
    put_table(README, "closures", table(posterior, solved))


if __name__ == "__main__":
    main()
