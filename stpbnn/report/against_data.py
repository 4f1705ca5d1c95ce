"""What the report says of model against data: held-out log scores and coverage, leave-one-out, and their pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from stpbnn.comparison import quote
from stpbnn.report.class_words import held_out_labels

__all__ = ["POSTERIOR", "against_data", "coverages", "transforms"]

POSTERIOR = "posterior (MCMC)"
SHOWN = (0.5, 0.8, 0.9)


def against_data(comparison: xr.Dataset) -> dict[str, Any] | None:
    """Return the table of held-out targets, a row for each law of y, and a sentence on those left out one by one.

    None where there is nothing: no targets, or a comparison of an earlier version.
    """
    if "classes" in comparison.attrs:
        rows, count = held_out_labels(comparison)
        left_out = _left_out(comparison)
        told = {"nominal": [], "rows": rows, "left_out": left_out, "count": count, "noun": "labels"}
        return told if rows or left_out else None
    scores = _named(comparison, "log_score")
    left_out = _left_out(comparison)
    if not scores and left_out is None:
        return None
    held, rows = transforms(comparison), []
    first = scores.get(POSTERIOR)
    for name, score in scores.items():
        cells = [_sum(score), "" if name == POSTERIOR or first is None else _sum(score - first, signed=True)]
        rows.append({"name": name, "cells": cells + [f"{100 * c:.1f} %" for c in coverages(held[name])]})
    count = next((score.size for score in scores.values()), 0)
    return {
        "nominal": [f"{100 * c:.0f} %" for c in SHOWN],
        "rows": rows,
        "left_out": left_out,
        "count": count,
        "noun": "targets",
    }


def transforms(comparison: xr.Dataset) -> dict[str, np.ndarray]:
    """Return F(y) of the held-out targets by the name of the law, for all laws that have one."""
    return _named(comparison, "target_pit")


def coverages(transform: np.ndarray) -> list[float]:
    """Return the parts of the targets that the shown central intervals hold."""
    return [float(np.mean(np.abs(2 * transform - 1) <= c)) for c in SHOWN]


def _named(comparison: xr.Dataset, what: str) -> dict[str, np.ndarray]:
    """Return the values of the posterior and of each theory, over test points and outputs, without NaN."""
    found = {}
    if f"{what}_posterior" in comparison:
        found[POSTERIOR] = comparison[f"{what}_posterior"].to_numpy()
    if what in comparison:
        for name in comparison["theory"].to_numpy():
            found[str(name)] = comparison[what].sel(theory=name).to_numpy()
    return {name: values for name, values in found.items() if not np.isnan(values).any()}


def _sum(values: np.ndarray, signed: bool = False) -> str:
    """Return the sum over targets with its standard error; the outputs of a point are no independent targets."""
    values = values.reshape(len(values), -1).sum(axis=1)
    with np.errstate(invalid="ignore"):
        error = math.sqrt(len(values)) * float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    told = quote(float(values.sum()), error)
    return f"+{told}" if signed and values.sum() > 0 else told


def _left_out(comparison: xr.Dataset) -> str | None:
    """Return a sentence on the training targets under the posterior without them."""
    if "elpd_loo" not in comparison:
        return None
    k, limit = comparison["pareto_k"].to_numpy(), float(comparison["good_k"])
    bad, P = int(np.sum(~(k <= limit))), k.size
    text = (
        f"The {P} training targets, each under the posterior given the others: ELPD "
        f"{_sum(comparison['elpd_loo'].to_numpy())}, by Pareto-smoothed importance sampling. "
    )
    largest = f"largest {np.nanmax(k):.2f}, threshold {limit:.2f}" if np.isfinite(k).any() else "not computable"
    if not bad:
        return text + f"The Pareto k of all points are small enough for it ({largest})."
    return text + (
        f"At {bad} of the {P} points the Pareto k is too large ({largest}): there the numbers are not reliable, since "
        "the point moves the posterior far. The held-out targets above need no weights."
    )
