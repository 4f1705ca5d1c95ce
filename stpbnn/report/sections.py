"""Sections of the report: coverage of intervals, what has been learned of the eigenmodes, order parameters by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn._validation import plural
from stpbnn.comparison import quote
from stpbnn.report import processes

__all__ = ["coverage", "hidden", "layers", "simulated", "spectrum"]


def coverage(comparison: xr.Dataset) -> dict[str, Any] | None:
    """Return the table of interval coverage: a row for each theory, a column for each nominal probability."""
    shown = [c for c in comparison["nominal"].to_numpy() if round(100 * c) in (50, 80, 90)]
    found = comparison[["coverage", "coverage_mcse"]].sel(nominal=shown)
    rows = []
    for name in found["theory"].to_numpy():
        one = found.sel(theory=name)
        pairs = zip(one["coverage"].to_numpy(), one["coverage_mcse"].to_numpy(), strict=True)
        rows.append({"name": str(name), "cells": [f"{quote(100 * float(v), 100 * float(e))} %" for v, e in pairs]})
    return {"nominal": [f"{100 * c:.0f} %" for c in shown], "rows": rows}


def simulated(comparison: xr.Dataset, network: Mapping[str, Any]) -> str | None:
    """Return of what the error of a theory of clusters consists: Monte Carlo, and what the size of clusters changes."""
    if "cluster" not in comparison or not network or "error" not in comparison:
        return None
    told = []
    for name in comparison["theory"].to_numpy()[np.isfinite(comparison["cluster"])].tolist():
        one = comparison.sel(theory=name, part="total")
        n, N, systematic = int(one["cluster"]), hidden(network)[-1], float(one["theory_error_systematic"])
        whole = float(one["theory_error_mcse"])
        noise = f"{math.sqrt(max(whole**2 - np.nan_to_num(systematic) ** 2, 0)):.1g}"
        if n == N:
            rest = f"the network as one cluster: the Monte Carlo error {noise} of its error is all that is left."
        elif math.isnan(systematic):
            rest = (
                f"clusters of {plural(n, 'unit')} of {N}, of no other size: how far off they are is not known, "
                f'and z knows the Monte Carlo error {noise} alone. theories.cluster = "auto" finds it out.'
            )
        else:
            rest = (
                f"clusters of {plural(n, 'unit')} of {N}. The standard error of its error is {whole:.1g}: Monte Carlo "
                f"{noise}, and {systematic:.1g} that the last doubling of the clusters changed. z has both."
            )
        told.append(f"“{name}” simulates {rest}")
    return " ".join(told) or None


def spectrum(comparison: xr.Dataset, sizes: Mapping[str, int]) -> str | None:
    """Return a sentence on how much of the targets has been learned, over the eigenmodes."""
    if "eigenvalue" not in comparison:
        return None
    power = comparison["target"]
    whole = float(power.sum())
    if not whole > 0:
        return None
    modes = plural(power.size, "leading eigenmode")
    of = f" of the {sizes['train']}" if sizes.get("train", 0) > power.size else ""
    text = f"The {modes}{of} hold {100 * whole:.1f} % of the squared norm of the targets. Of that part the posterior"
    text += f" mean has learned {100 * float((power * comparison['learned_posterior']).sum()) / whole:z.1f} %"
    if "learned" not in comparison:
        return text + "."
    learned = 100 * (power * comparison["learned"]).sum("mode") / whole
    pairs = zip(learned["theory"].to_numpy(), learned.to_numpy(), strict=True)
    return text + "; " + ", ".join(f"“{name}” {float(value):z.1f} %" for name, value in pairs) + "."


def layers(
    posterior: xr.DataTree, predictions: xr.Dataset, network: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, Any] | None:
    """Return the table of order parameters: a row for each hidden layer, with what was sampled beside the theories."""
    group = posterior.get("posterior")
    if group is None or "order_parameters" not in predictions or not network:
        return None
    if "Q" in group:
        observed, what = ["Q, sampled"], "and of the posterior"
    elif "kernel_scale" in group:
        observed = ["Readout norm", "Kernel scale"]
        what = "readout norm and kernel scale of the posterior"
        if "readout_second_moment" in predictions and bool(predictions["readout_second_moment"].notnull().any()):
            what = f"for the adaptive kernel its mean of the readout norm; {what}"
    else:
        return None
    orders = predictions["order_parameters"].transpose("theory", "layer").to_numpy().copy()
    if "readout_second_moment" in predictions:
        orders[:, -1] = np.where(np.isnan(orders[:, -1]), predictions["readout_second_moment"], orders[:, -1])
    names = [str(name) for name in predictions["theory"].to_numpy()]
    rows = []
    for i, width in enumerate(hidden(network)):
        last = i == len(hidden(network)) - 1 and "readout_norm" in group
        scale = processes.spread(group["Q" if "Q" in group else "kernel_scale"].isel(layer=i))
        norm = processes.spread(group["readout_norm"]) if last else "–"
        rows.append(
            {
                "layer": str(i + 1),
                "width": str(width),
                "load": f"{sizes['train'] / width:.3g}" if "train" in sizes else "",
                "orders": [f"{q[i]:#.3g}" if i < len(q) and math.isfinite(q[i]) else "–" for q in orders],
                "observed": [scale] if "Q" in group else [norm, scale],
            }
        )
    caption = f"Order parameters Q̄ of the theories, {what} (mean ± standard deviation over draws)."
    return {"theories": names, "observed": observed, "rows": rows, "caption": caption}


def hidden(network: Mapping[str, Any]) -> list[int]:
    """Return the sizes of the hidden layers: widths, or channels."""
    sizes: list[int] = network["widths"] if "widths" in network else network["channels"]
    return sizes
