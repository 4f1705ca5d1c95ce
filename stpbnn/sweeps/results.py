"""The results of a sweep: those of each point, and all of them in one data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn.cards import Card, dimension, labels, shared
from stpbnn.runs import Run
from stpbnn.sweeps.cluster import versions

__all__ = ["joined", "summary"]

THEORY = ("order_parameters", "log_marginal_likelihood", "readout_second_moment")
COMPARISON = (
    "error",
    "theory_error_mcse",
    "theory_error_systematic",
    "cluster",
    "error_posterior",
    "error_mcse",
    "scores",
    "scores_posterior",
    "scores_mcse",
    "largest_z",
    "verdict",
    "theory_converged",
    "rhat_worst",
    "ess_smallest",
    "converged",
)
OBSERVABLES = ("readout_norm", "kernel_scale", "kernel_overlap", "Q", "r")
FILL: dict[str, Any] = {"b": False, "f": np.nan, "U": ""}


def summary(run: Run) -> xr.Dataset:
    """Return the results of a run that tables and figures show."""
    import arviz_stats as az

    stored = ((run.comparison, COMPARISON), (run.theory, THEORY))  # older runs lack some of them
    data: dict[str, Any] = {name: source[name] for source, names in stored for name in names if name in source}
    observed = run.posterior["posterior"].to_dataset()
    for name in OBSERVABLES:
        if name in observed:
            draws = observed[name].astype(float)
            data |= {name: draws.mean(("chain", "draw")), f"{name}_mcse": az.mcse(draws)}
    data |= {"device": run.record["device"], "seconds": run.record["seconds"]["sampling"]}
    data["versions"] = ", ".join(f"{name} {version}" for name, version in run.record["versions"].items())
    point = xr.Dataset(data | {"finished": True, "point": run.folder.name})
    return point.map(lambda values: values.astype(str) if values.dtype.kind == "O" else values)


def joined(card: Card, found: Mapping[tuple[int, ...], xr.Dataset | None]) -> xr.Dataset:
    """Put the results of all points together, along one dimension for each key; what is missing is NaN."""
    there = [summary for summary in found.values() if summary is not None]
    names = {str(dim) for summary in there for dim in summary.dims}
    inner = {
        dim: list(dict.fromkeys(label for one in there if dim in one.dims for label in one[dim].to_numpy().tolist()))
        for dim in sorted(names)
    }
    every = {str(name): values for summary in there for name, values in summary.data_vars.items()}
    axes = {dimension(key): labels(key, values) for key, values in card.sweep.items()}
    data = {}
    for name, like in every.items():
        fill = FILL[like.dtype.kind]
        blank = xr.DataArray(fill, {dim: inner[str(dim)] for dim in like.dims}, like.dims)
        rows = [
            blank if one is None or name not in one else one[name].reindex_like(blank, fill_value=fill)
            for one in found.values()
        ]
        shape = (*map(len, axes.values()), *blank.shape)
        data[name] = ((*axes, *like.dims), np.stack([row.to_numpy() for row in rows]).reshape(shape))
    about = {"card": shared(card).to_toml(), "title": card.title}
    about |= {f"{name}_version": version for name, version in versions().items()}
    return xr.Dataset(data, axes | inner, about)
