"""Verdicts in plain words: whether the chains have converged, and whether a theory agrees with their posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn._validation import plural
from stpbnn.quoting import quote
from stpbnn.samplers import diagnose

__all__ = ["chains_verdict", "normal_score", "verdict"]


def chains_verdict(posterior: xr.DataTree, chains: int, draws: int) -> dict[str, str]:
    """Return the verdict on the chains and its remedy: those that are stored, or new ones for other chains or draws."""
    attributes: Any = posterior.attrs
    if attributes.get("verdict") and (attributes.get("chains"), attributes.get("draws")) != (chains, draws):
        attributes = diagnose(posterior).attrs
    return {name: attributes[name] for name in ("verdict", "remedy") if attributes.get(name)}


def normal_score(
    difference: xr.DataArray, mcse: xr.DataArray, own: xr.DataArray, freedom: xr.DataArray
) -> xr.DataArray:
    """Return the difference in standard errors, as a normal score where `own` is an estimate of few degrees of freedom.

    With Wallace's approximation, exact for own = 0.
    """
    with np.errstate(all="ignore"):
        total = np.hypot(mcse, own)
        t = difference / total
        inverse = xr.where(own > 0, (own / total) ** 4 / freedom, 0.0)  # 1 / Welch and Satterthwaite's freedom
        square = t**2 * inverse
        shrunk = xr.where(square > 0, np.sqrt(np.log1p(square) / square), 1.0)
        return t * shrunk * (8 + inverse) / (8 + 3 * inverse)


def verdict(one: xr.Dataset, limits: Mapping[str, float], reason: str) -> tuple[bool, str]:
    """Return whether the theory agrees with the posterior, and a sentence that says so with its numbers."""
    chains, draws = int(one["chains"]), int(one["draws"])
    worst, smallest = float(one["rhat_worst"]), float(one["ess_smallest"])
    if not math.isfinite(worst) and (chains < 2 or draws < 4):
        there, needed = (
            f"{plural(chains, 'chain')} of {plural(draws, 'draw')}",
            "at least 2 chains of 4 draws are needed",
        )
        return False, f"no verdict: R-hat cannot be computed from {there}; {needed}"
    told = f" ({reason})" if reason else ""
    if not one["converged"]:
        found = f"R-hat {worst:.{2 if worst >= 1.015 else 3}f}, bulk ESS {smallest:.0f}"
        remedy = f"; what may help: {one.attrs['remedy']}" if "remedy" in one.attrs else ""
        nor = "" if one["theory_converged"] else f", nor has the solver of the theory{told}"
        return False, f"no verdict: the posterior has not converged ({found}){nor}{remedy}"
    if not one["theory_converged"]:
        return False, f"no verdict: the solver of the theory has not converged{told}"
    largest, points = float(one["largest_z"]), one["z"].size
    differs: list[str] = []
    noun = "predictions"
    if "classes" in one.attrs:
        noun = f"class probabilities that differ by {float(abs(one['theory_mean'] - one['f_mean']).max()):.2g} at most"
    deviation = f"largest |z| {largest:.1f} among {points} {noun}"
    judged, shift = _log_score(one) if "scores_z" in one else _error(one) if "error_z" in one else (None, None)
    if judged is not None and abs(judged[0]) > limits["max_error_z"]:
        differs, shift = [judged[1]], None
    if not largest <= limits["max_z"]:
        differs.append(f"{deviation} (threshold {limits['max_z']:.1f})")
    if differs:
        return False, "differs: " + "; ".join(filter(None, [*differs, shift]))
    return True, "agrees within Monte Carlo error (" + "; ".join(filter(None, [deviation, shift])) + ")"


def _error(one: xr.Dataset) -> tuple[tuple[float, str], str]:
    """Return the distance of the generalisation errors in standard errors and in words, and their ratio in words."""
    total = one.sel(part="total")
    relative, score = 100 * float(total["relative_error"]), float(total["error_z"])
    truth, mcse = float(total["error_posterior"]), float(total["error_mcse"])
    side = "above" if score > 0 else "below"
    size = f"generalisation error {abs(relative):.1f} % {side} the posterior's {quote(truth, mcse)}"
    shift = f"error {relative:+z.1f} % ± {100 * float(total['relative_error_mcse']):.1f} %"
    return (score, f"{size} ({abs(score):.1f} standard errors)"), shift


def _log_score(one: xr.Dataset) -> tuple[tuple[float, str], str]:
    """Return the distance of the negative log likelihoods in standard errors and in words, and their difference."""
    judged = one.sel(score="negative_log_likelihood")
    truth, mcse, z = (float(judged[name]) for name in ("scores_posterior", "scores_mcse", "scores_z"))
    difference = float(judged["scores"]) - truth
    side = "above" if difference > 0 else "below"
    size = f"negative log likelihood {quote(abs(difference), mcse)} {side} the posterior's {quote(truth, mcse)}"
    return (z, f"{size} ({abs(z):.1f} standard errors)"), f"negative log likelihood {_signed(difference, mcse)}"


def _signed(value: float, error: float) -> str:
    return f"{'+' if value > 0 else ''}{quote(value, error)}"
