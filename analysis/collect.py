"""Small result files from the folders of sweeps: the posterior at every point, and the theories beside it.

    uv run stpbnn sweep figure1-mnist -o runs/figure1-mnist-sweep       # hours; --where train=50,100 for a part
    uv run python analysis/collect.py runs/figure1-mnist-sweep          # analysis/results/figure1-mnist.nc
    uv run python analysis/collect.py analysis/results/figure1-mnist.nc # the same with the closed forms solved anew

Of several sweeps of one card the finished points of the later ones count: further points, or longer chains,

    uv run stpbnn sweep figure1-cifar10 -o runs/figure1-cifar10-sweep --where train=500 --set sampler.draws=2000
    uv run python analysis/collect.py analysis/results/figure1-cifar10.nc runs/figure1-cifar10-sweep

A point whose chains have not converged goes on from the draws that are there.

Closed forms are solved anew, at every point of the card, finished or not, so that they are those of this version,
whichever sampled the points. The adaptive kernel, which is simulated, is that of the sweep: at its finished points; in
figures and tables that of searched.py, where it has been run. A file has the card and the versions in its attributes,
and the device and the seconds of every point.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import xarray as xr
from rows import read_rows

from stpbnn.cards import Card
from stpbnn.files import write_netcdf

RESULTS = Path(__file__).parent / "results"
POSTERIOR = (
    "error_posterior",
    "error_mcse",
    "rhat_worst",
    "ess_smallest",
    "converged",
    "finished",
    *(f"{name}{error}" for name in ("readout_norm", "kernel_scale", "kernel_overlap") for error in ("", "_mcse")),
    "device",
    "versions",
    "seconds",
    "point",
)
AXES = ("theory", "part", "layer")
SIMULATED, OWN = "adaptive kernel", "theory_error_mcse"
SEARCHED = "searched.csv"


def read(path: Path, remedy: str) -> xr.Dataset:
    """Return a data set in memory; where there is none, leave with a line that says how to make it."""
    if not path.is_file():
        sys.exit(f"{path}: there is no such file; make it with `{remedy}`")
    with xr.open_dataset(path, engine="h5netcdf") as data:
        return data.load()


def results(name: str) -> xr.Dataset:
    """Return the results of a card's sweep."""
    remedy = f"uv run stpbnn sweep {name} -o runs/{name}-sweep && uv run python analysis/collect.py runs/{name}-sweep"
    return with_searched(read(RESULTS / f"{name}.nc", remedy), name)


def with_searched(data: xr.Dataset, name: str) -> xr.Dataset:
    """Return a data set with the adaptive kernel of searched.py, where it has been run, in the place of the sweep's.

    What the last doubling of the clusters changed is `theory_error_systematic`, their size `cluster`: elsewhere single
    units, of which it is not known. Nor is the Monte Carlo error of the squared bias alone.
    """
    found = {row["place"]: row for row in read_rows(RESULTS / SEARCHED) if row["card"] == name}
    if not found:
        return data
    if SIMULATED not in data["theory"]:
        theories = [*data["theory"].to_numpy(), SIMULATED]
        data = data.reindex(theory=theories, fill_value={"theory_converged": False})
    data[OWN] = data[OWN] if OWN in data else xr.zeros_like(data["error"])
    data["theory_error_systematic"] = xr.zeros_like(data["error"])
    single = (data["theory"] == SIMULATED) & data["error"].notnull().all("part")
    data["cluster"] = xr.where(single, 1.0, float("nan"))
    data["theory_error_systematic"] = data["theory_error_systematic"].where(~single)
    for place, _ in cells(data):
        if (row := found.get(place_of(place))) is None:
            continue
        here = place | {"theory": SIMULATED}
        parts = {"total": row["bias"] + row["variance"], "squared_bias": row["bias"], "variance": row["variance"]}
        for part, value in parts.items():
            data["error"].loc[here | {"part": part}] = value
            data[OWN].loc[here | {"part": part}] = float("nan")
        for part, key in (("total", ""), ("variance", "_variance")):
            data[OWN].loc[here | {"part": part}] = row[f"monte_carlo{key}"]
            data["theory_error_systematic"].loc[here | {"part": part}] = row[f"systematic{key}"]
        data["cluster"].loc[here] = row["cluster"]
        data["theory_converged"].loc[here] = row["converged"]
    return data


def cells(data: xr.Dataset) -> Iterator[tuple[dict[str, Any], xr.Dataset]]:
    """Give the coordinates and the numbers of every point of a sweep."""
    swept = [str(dim) for dim in data["finished"].dims]
    for values in product(*(data[dim].to_numpy().tolist() for dim in swept)):
        place = dict(zip(swept, values, strict=True))
        yield place, data.sel(place)


def place_of(place: Mapping[str, Any]) -> str:
    """Return a point of a sweep in words.

    Examples
    --------
    >>> place_of({"train": 50, "width": "20-20"})
    'train=50 width=20-20'
    """
    return " ".join(f"{dim}={value}" for dim, value in place.items())


def card_of(data: xr.Dataset) -> Card:
    """Return the card that a data set is of."""
    return Card.model_validate(tomllib.loads(data.attrs["card"]))


def merged(earlier: xr.Dataset, later: xr.Dataset) -> xr.Dataset:
    """Return the results of two sweeps over the same values: of the later one where that is finished."""
    there, names = later["finished"], [name for name in earlier if name in later]
    swept = [name for name in names if set(there.dims) <= set(earlier[name].dims)]
    return earlier.assign({name: later[name].where(there, earlier[name]) for name in swept})


def nngp_overlap(sweep: xr.Dataset) -> xr.DataArray:
    """Return the overlap of the hidden kernel of infinite width with y yᵀ at every point: what learning starts from."""
    import jax.numpy as jnp

    from stpbnn.cards import points
    from stpbnn.samplers.draws.overlap import references

    found = xr.full_like(sweep["finished"], float("nan"), dtype=float)
    for place, point in points(card_of(sweep)).items():
        X, y, *_ = point.data.load()
        if (both := references(point.network.build(), jnp.asarray(X), jnp.asarray(y))) is not None:
            found[place] = float(jnp.sum(both.kernels[0] * both.kernels[1]))
    return found


def with_theories(sweep: xr.Dataset) -> xr.Dataset:
    """Return the posterior's numbers of a sweep, with closed forms at all of its points, and what was simulated."""
    from stpbnn.curves import theory_curves  # slow to import, and figures are drawn without it
    from stpbnn.theories import chosen

    card = card_of(sweep)
    closed = tuple(kind for kind in chosen(card).values() if kind != "adaptive")
    card = card.model_copy(update={"theories": card.theories.model_copy(update={"names": closed})})
    curves = theory_curves(card).rename(converged="theory_converged").reset_coords(drop=True)
    alone = [dim for dim in curves.dims if dim not in (*AXES, *sweep.dims) and curves.sizes[dim] == 1]
    curves = curves.squeeze(alone, drop=True)
    if SIMULATED in sweep.get("theory", ()):
        names = [name for name in curves if name in sweep and "theory" in curves[name].dims]
        curves = xr.concat([curves[names], sweep[names].sel(theory=[SIMULATED])], "theory", join="outer")
    kept = sweep[[name for name in POSTERIOR if name in sweep]]
    whole = kept.merge(curves, compat="override", join="left")
    if OWN in sweep:  # closed forms have no Monte Carlo error
        whole[OWN] = sweep[OWN].reindex(theory=whole["theory"], fill_value=0.0)
    return whole.assign(nngp_overlap=nngp_overlap(sweep)).assign_attrs(sweep.attrs)


def main() -> None:
    """Write a file for each card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", type=Path, nargs="+", metavar="SWEEP", help="the folder of a sweep, or a result file")
    sweeps: dict[str, xr.Dataset] = {}
    for given in parser.parse_args().sweeps:
        sweep = read(given if given.suffix == ".nc" else given / "sweep.nc", f"uv run stpbnn sweep CARD -o {given}")
        name = card_of(sweep).name
        sweeps[name] = merged(sweeps[name], sweep) if name in sweeps else sweep
    for name, sweep in sweeps.items():
        collected = with_theories(sweep)
        path = RESULTS / f"{name}.nc"
        write_netcdf(path, collected)
        print(f"{path}: {int(sweep['finished'].sum())} of {sweep['finished'].size} points, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
