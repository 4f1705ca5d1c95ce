"""What the report says where a process was sampled in the place of a network's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import xarray as xr

from stpbnn.catalogue import PROCESSES, Process

__all__ = ["integrated", "paragraphs", "spread"]


def integrated(process: str) -> str:
    """Return what was done with the function."""
    return f"The function was integrated: means are those of f given the {PROCESSES[process].symbol} of each draw."


def spread(values: Any) -> str:
    """Return mean and standard deviation over the draws."""
    sd = float(values.std())
    digits = max(0, 1 - math.floor(math.log10(sd))) if sd > 0 else 2
    return f"{float(values.mean()):.{digits}f} ± {sd:.{digits}f}"


def paragraphs(
    posterior: xr.DataTree,
    predictions: xr.Dataset,
    comparison: xr.Dataset,
    name: str,
    network: Mapping[str, Any],
    linear: bool | None,
) -> list[str]:
    """Return paragraphs on what was found and what the theories leave out of a process.

    Parameters
    ----------
    posterior, predictions, comparison
        As for `stpbnn.report.render`.
    name : str
        The theory that the report is about.
    network : mapping
        The settings of the network from which the process is derived.
    linear : bool or None
        Whether its activation is linear; None where that is not known.
    """
    process = PROCESSES[str(posterior.attrs["process"])]
    kinds = {str(kind): str(theory) for theory, kind in zip(*_named(predictions), strict=True)}
    exact = kinds.get(process.regressor)
    return [
        _finding(comparison.sel(theory=name), name, name == exact),
        _chains(posterior, process),
        _others(process, kinds, exact, network, linear),
    ]


def _named(predictions: xr.Dataset) -> tuple[list[str], list[str]]:
    names = predictions["theory"].to_numpy().tolist()
    return names, predictions["regressor"].to_numpy().tolist() if "regressor" in predictions else [""] * len(names)


def _finding(one: xr.Dataset, name: str, exact: bool) -> str:
    verdict = str(one["verdict"].item())
    if verdict.startswith("agrees"):
        room = ""
        if "error" in one:
            uncertainty = 100 * float(one.sel(part="total")["relative_error_mcse"])
            room = f" The Monte Carlo error leaves room for ± {uncertainty:.1f} % in the error."
        return f"No difference between “{name}” and the sampled posterior is resolved.{room}"
    if verdict.startswith("differs"):
        why = (
            "Both are of one law: look at the chains, and at the accuracy of the quadrature."
            if exact
            else "It leaves out a part of the law of this process."
        )
        return f"“{name}” differs from the sampled posterior (largest |z| {float(one['largest_z']):.1f}). {why}"
    return "The comparison is not decided."


def _chains(posterior: xr.DataTree, process: Process) -> str:
    symbol = process.symbol
    text = (
        f"There are no weights in this posterior. The chains run over log {symbol}; given {symbol}, the function is a "
        "Gaussian process, whose mean and variance are averaged in closed form."
    )
    group = posterior.get("posterior")
    if group is None or symbol not in group:
        return text
    draws = group[symbol]
    layers = [draws.isel(layer=i) for i in range(draws.sizes["layer"])] if "layer" in draws.dims else [draws]
    found = " and ".join(spread(q) for q in layers)
    each = " in the layers from the first to the last" if len(layers) > 1 else ""
    text += f" Given the data {symbol} is {found}{each} (mean ± standard deviation); its prior has the mean one"
    if process.has_df and (df := float(posterior.attrs["df"])) > 4:
        text += f" and the standard deviation {math.sqrt(2 / (df - 4)):.2g}"
    return text + ". All predictions follow these few numbers, so that their z values come together."


def _others(
    process: Process, kinds: Mapping[str, str], exact: str | None, network: Mapping[str, Any], linear: bool | None
) -> str:
    told = [f"“{exact}” is the same law in closed form: a quadrature over {process.symbol}."] if exact else []
    relative = ", ".join(f"{2 / width:.3g}" for width in dict.fromkeys(network.get("widths", ())))
    told += [
        sentence.format(name=kinds[kind], relative=relative)
        for kind, sentence in process.theories.items()
        if kind in kinds
    ]
    if process.beyond and not linear:
        told.append(process.beyond)
    return " ".join(told)
