"""Posterior mean, variance and generalisation error of the test outputs, with their Monte Carlo errors."""

from __future__ import annotations

import math
from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from stpbnn._validation import tree
from stpbnn.comparison.theory_predictions import PARTS
from stpbnn.samplers import SAMPLES, convergence

__all__ = ["posterior_draws", "posterior_error", "posterior_moments"]


def posterior_draws(posterior: xr.DataTree) -> tuple[xr.DataArray, xr.DataArray | float]:
    """Return the draws that estimate the mean of f, and the variance of f given a draw (zero where f is drawn).

    Of classes they are the draws of their probabilities: of the second of two, or of each of several (output).
    """
    group = tree("posterior", posterior).get("predictions")
    if group is None or "f" not in group:
        raise ValueError("posterior: got no predictions of f, expected predictions/f; pass X_test to sample()")
    data = group.to_dataset()
    data = data.drop_vars(list(data.coords))
    if "class_probability" in data:
        p = data["class_probability"].astype(np.float64)
        p = p.isel({"class": 1}) if p.sizes["class"] == 2 else p.rename({"class": "output"})
        return p.transpose("chain", "draw", "test_point", ...), 0.0
    integrated = "f_mean" in data and "f_variance" in data
    draws = data["f_mean" if integrated else "f"].astype(np.float64)
    if missing := {"chain", "draw", "test_point"} - set(draws.dims):
        raise ValueError(f"posterior: predictions/f has dimensions {draws.dims}; {', '.join(sorted(missing))} missing")
    if "output" in draws.dims and draws.sizes["output"] == 1:
        data, draws = data.isel(output=0), draws.isel(output=0)
    given = data["f_variance"].astype(np.float64) if integrated else 0.0
    if not np.isfinite(draws).all() or not np.all(np.isfinite(given)):
        raise ValueError(f"posterior: predictions/{draws.name} holds NaN or infinite draws; sample again")
    return draws.transpose("chain", "draw", "test_point", ...), given


def posterior_moments(draws: xr.DataArray, given: xr.DataArray | float = 0.0) -> dict[str, Any]:
    """Return mean, its MCSE, variance, R-hat and effective sample sizes of f at each test point."""
    found = convergence(draws)
    mean, mcse = draws.mean(SAMPLES), found["mcse"]
    variance = ((draws - mean) ** 2 + given).mean(SAMPLES) + mcse**2
    return {"f_mean": mean.rename("f_mean"), "f_variance": variance.rename("f_variance")} | {
        str(name): values for name, values in found.items()
    }


def posterior_error(
    draws: xr.DataArray, given: xr.DataArray | float, y: xr.DataArray, mcse: xr.DataArray
) -> dict[str, Any]:
    """Return the posterior's generalisation error in its parts, with Monte Carlo errors (see `compare_predictions`)."""
    center = draws.mean(SAMPLES)
    spread, inflation = _per_row((draws - center) ** 2 + given), _per_row(mcse**2)
    total = _per_row((y - draws) ** 2 + given)
    slope = _per_row(-2 * (y - center) * draws)
    error = [total.mean(), _per_row((y - center) ** 2) - inflation, spread.mean() + inflation]
    bias_mcse = max(_mcse(slope), math.sqrt(2) * float(inflation))
    mcses = [_mcse(total), bias_mcse, _mcse(spread)]
    return {
        "error_posterior": xr.DataArray([float(e) for e in error], {"part": list(PARTS)}, "part"),
        "error_mcse": xr.DataArray(mcses, {"part": list(PARTS)}, "part"),
    }


def _per_row(values: xr.DataArray) -> xr.DataArray:
    """Sum over outputs and average over the test points."""
    values = values.sum("output") if "output" in values.dims else values
    return values.mean("test_point")


def _mcse(series: xr.DataArray) -> float:
    return float(az.mcse(series.transpose("chain", "draw").to_numpy(), method="mean"))
