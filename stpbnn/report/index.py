"""The index of a sweep: one HTML file with a picture, and a table that leads to the report of each point."""

from __future__ import annotations

import itertools
from importlib.resources import files
from typing import Any

import xarray as xr
from jinja2 import Environment, StrictUndefined

from stpbnn import figures
from stpbnn.comparison import quote
from stpbnn.figures import unseen
from stpbnn.report.svg_pictures import svg
from stpbnn.report.told_card import steps, tables

__all__ = ["render_sweep"]

WORDS = ("agrees", "differs", "no verdict")  # with which verdicts begin


def render_sweep(dataset: xr.Dataset) -> str:
    """Return the index of a sweep as HTML: learning curves, and a row for each point with a link to its report.

    Parameters
    ----------
    dataset : xarray.Dataset
        What `stpbnn.sweeps.sweep` returned. The links lead to points/ID/report.html, beside the index.

    Raises
    ------
    ValueError
        If the data set is something else.
    """
    if "error_posterior" not in dataset or "point" not in dataset:
        raise ValueError("dataset: got no variable 'error_posterior', expected what stpbnn.sweeps.sweep returned")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("stpbnn.report").joinpath("sweep.html.j2").read_text(encoding="utf-8"))
    dims = [str(dim) for dim in dataset["point"].dims]
    try:
        with unseen():
            picture = svg(figures.plot_learning_curve(dataset))
    except ValueError:  # no key of the sweep is a number
        picture = None
    return template.render(
        title=dataset.attrs.get("title", "Sweep"),
        card=dataset.attrs.get("card", ""),
        steps=steps(tables(dataset.attrs.get("card", "")), "sweep"),
        versions=", ".join(
            f"{name.removesuffix('_version')} {value}"
            for name, value in dataset.attrs.items()
            if name.endswith("_version")
        ),
        picture=picture,
        what="Negative log likelihood" if "scores" in dataset else "Generalisation error",
        mean="mean of −log p of test labels" if "scores" in dataset else "mean of (y − f)² over test set and law of f",
        swept=[dim.rpartition(".")[2] for dim in dims],
        theories=[str(name) for name in dataset["theory"].to_numpy()],
        rows=[_row(dataset.isel(place), dims) for place in _places(dataset, dims)],
    )


def _places(dataset: xr.Dataset, dims: list[str]) -> list[dict[str, int]]:
    sizes = (range(dataset.sizes[dim]) for dim in dims)
    return [dict(zip(dims, place, strict=True)) for place in itertools.product(*sizes)]


def _row(point: xr.Dataset, dims: list[str]) -> dict[str, Any]:
    """Return what the table shows of a point; of one that is missing only its place."""
    row: dict[str, Any] = {"place": [point[dim].item() for dim in dims], "finished": bool(point["finished"])}
    if not row["finished"]:
        return row
    total = point.sel(part="total")
    posterior, mcse = float(total["error_posterior"]), float(total["error_mcse"])
    told = point["verdict"].to_numpy().tolist() if "verdict" in point else [""] * total.sizes["theory"]
    verdicts = [(next((word for word in WORDS if verdict.startswith(word)), ""), verdict) for verdict in told]
    noise = total["theory_error_mcse"] if "theory_error_mcse" in total else 0 * total["error"]
    errors = list(zip(total["error"].to_numpy().tolist(), noise.to_numpy().tolist(), strict=True))
    return row | {
        "link": f"points/{point['point'].item()}/report.html",
        "error": (posterior, quote(posterior, mcse)),
        "theories": [
            (error, quote(error, own), f"{100 * (error / posterior - 1):+z.1f} %", short, verdict)
            for (error, own), (short, verdict) in zip(errors, verdicts, strict=True)
        ],
        "rhat": float(point["rhat_worst"]),
        "ess": float(point["ess_smallest"]),
        "converged": bool(point["converged"]),
        "seconds": float(point["seconds"]),
        "device": point["device"].item(),
    }
