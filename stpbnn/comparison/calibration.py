"""Calibration: what the predictive laws of the theories say of draws from the posterior."""

from __future__ import annotations

from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from stpbnn._validation import data_set, tree
from stpbnn.comparison.learned import LEVELS, quantiles
from stpbnn.samplers import SAMPLES

__all__ = ["calibration"]


def calibration(posterior: xr.DataTree, predictions: xr.Dataset) -> dict[str, Any]:
    r"""Return how much of the posterior lies below the quantiles of each theory, and inside its central intervals.

    .. math::
        G(p) = \overline{P_{\mathrm{MCMC}}(f \le q_{\mathrm{theory}}(p))}, \qquad
        C(c) = G(\tfrac{1 + c}2) - G(\tfrac{1 - c}2)

    with the average over test points and outputs. G is the distribution function of the probability integral transform
    (PIT) of the draws; a theory that has the law of f has G(p) = p and C(c) = c.

    Parameters
    ----------
    posterior : xarray.DataTree
        With draws of f at the test points, `predictions/f`.
    predictions : xarray.Dataset
        What `predict_theories` returned; without `quantiles` the laws count as Gaussian.

    Returns
    -------
    dict
        `pit` and `pit_mcse` (theory, level), `coverage` and `coverage_mcse` (theory, nominal), with their Monte
        Carlo standard errors. Predictions whose variance is zero are left out.

    References
    ----------
    Gneiting, Balabdaoui, Raftery, J. R. Stat. Soc. B 69, 243 (2007).
    """
    group = tree("posterior", posterior).get("predictions")
    if group is None or "f" not in group:
        raise ValueError("posterior: got no predictions of f, expected predictions/f; pass X_test to sample()")
    data_set("predictions", predictions, "mean", "variance", source="stpbnn.comparison.predict_theories")
    draws = group["f"].transpose("chain", "draw", "test_point", ...).to_numpy()
    if "quantiles" in predictions:
        edges = predictions["quantiles"].transpose("theory", "level", "test_point", ...).to_numpy()
        levels = predictions["level"].to_numpy()
    else:
        both = xr.broadcast(predictions["mean"], predictions["variance"])
        mean, variance = (moment.transpose("theory", "test_point", ...).to_numpy() for moment in both)
        edges, levels = np.stack([quantiles(m, np.sqrt(v)) for m, v in zip(mean, variance, strict=True)]), LEVELS
    f, edges = draws.reshape(*draws.shape[:2], -1), edges.reshape(*edges.shape[:2], -1)
    spread = (edges[:, -1] > edges[:, 0]).all(axis=0)  # a value that is known exactly has no quantiles
    f, edges = (f[..., spread], edges[..., spread]) if spread.any() else (f, edges)
    below = np.stack([[(f <= q).mean(-1) for q in theory] for theory in edges])
    half = len(levels) // 2
    inside = below[:, half + 1 :] - below[:, half - 1 :: -1]
    found: dict[str, Any] = {"level": ("level", levels), "nominal": ("nominal", 2 * levels[half + 1 :] - 1)}
    for name, dim, series in (("pit", "level", below), ("coverage", "nominal", inside)):
        mass = xr.DataArray(series, dims=("theory", dim, "chain", "draw"))
        found[name] = mass.mean(SAMPLES)
        with np.errstate(all="ignore"):
            found[f"{name}_mcse"] = az.mcse(mass, method="mean")
    return found
