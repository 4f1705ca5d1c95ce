"""What the report says where the targets are classes: scores, held-out labels, and what the theories leave out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn.comparison import quote
from stpbnn.quoting import SCORES

__all__ = ["class_explanation", "class_names", "held_out_labels", "score_columns", "score_rows"]

APPROXIMATIONS = {
    "NNGPClassifier": "sets Q = 1",
    "ProportionalLimitClassifier": "puts one value in the place of Q",
    "FiniteWidthClassifier": "averages over Q",
}
SHOWN = 12  # class names in the setting


def class_names(classes: str) -> str:
    """Return class labels, a list in JSON, in words.

    Examples
    --------
    >>> class_names('["cat", "dog"]')
    'cat, dog'
    """
    names = [str(label) for label in json.loads(classes)]
    more = f", … ({len(names)} classes)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def score_columns(comparison: xr.Dataset) -> list[str]:
    """Return the headings of the scores, none where there are no labels."""
    if "scores_posterior" not in comparison:
        return []
    return [SCORES[str(name)][:1].upper() + SCORES[str(name)][1:] for name in comparison["score"].to_numpy()]


def score_rows(comparison: xr.Dataset, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the verdict table with the scores: the posterior's with errors, of theories the difference."""
    if "scores_posterior" not in comparison:
        return [row | {"scores": []} for row in rows]
    pairs = zip(comparison["scores_posterior"].to_numpy(), comparison["scores_mcse"].to_numpy(), strict=True)
    found = [rows[0] | {"scores": [(quote(float(value), float(mcse)), "") for value, mcse in pairs]}]
    for row in rows[1:]:
        one = comparison.sel(theory=row["name"])
        values = one["scores"].to_numpy() if "scores" in one else np.full(comparison.sizes["score"], np.nan)
        shifts = values - comparison["scores_posterior"].to_numpy()
        cells = [
            (f"{v:#.3g}", f"{d:+z.3f}") if math.isfinite(v) else ("–", "") for v, d in zip(values, shifts, strict=True)
        ]
        found.append(row | {"scores": cells})
    return found


def held_out_labels(comparison: xr.Dataset) -> tuple[list[dict[str, Any]], int]:
    """Return a row for each law of labels: the sum of its log scores, and the difference; and the number of labels."""
    if "log_score_posterior" not in comparison:
        return [], 0
    first = comparison["log_score_posterior"].to_numpy()
    rows = [{"name": "posterior (MCMC)", "cells": [_sum(first), ""]}]
    for name in comparison["theory"].to_numpy() if "log_score" in comparison else []:
        score = comparison["log_score"].sel(theory=name).to_numpy()
        if np.isfinite(score).all():
            rows.append({"name": str(name), "cells": [_sum(score), _sum(score - first, signed=True)]})
    return rows, first.size


def _sum(values: np.ndarray, signed: bool = False) -> str:
    error = math.sqrt(len(values)) * float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return f"{'+' if signed and values.sum() > 0 else ''}{quote(float(values.sum()), error)}"


def class_explanation(
    posterior: xr.DataTree, predictions: xr.Dataset, comparison: xr.Dataset, name: str, network: Mapping[str, Any]
) -> list[str]:
    """Return paragraphs on what was found, and what the theories of classes leave out.

    Parameters
    ----------
    posterior, predictions, comparison
        As for `stpbnn.report.render`.
    name : str
        The theory that the report is about.
    network : mapping
        The settings of the network.
    """
    return [
        _finding(comparison.sel(theory=name), name),
        _approximations(posterior, predictions, network),
        *([cold] if (cold := _cold(posterior)) else []),
    ]


def _finding(one: xr.Dataset, name: str) -> str:
    verdict, largest = str(one["verdict"].item()), float(abs(one["theory_mean"] - one["f_mean"]).max())
    size = f"class probabilities differ by {largest:.2g} at most"
    if verdict.startswith("differs"):
        return (
            f"The theory “{name}” differs from the posterior: {size}, which is more than the Monte Carlo error. The "
            "chains have converged by the criteria above, so that sampling error is no likely cause."
        )
    if verdict.startswith("agrees"):
        return f"No difference between the theory “{name}” and the posterior is resolved: {size}."
    return f"The comparison is not decided; {size}."


def _approximations(posterior: xr.DataTree, predictions: xr.Dataset, network: Mapping[str, Any]) -> str:
    gaussian = "with its moments (expectation propagation)"
    if network.get("outputs", 1) > 1:
        gaussian = "about its mode (Laplace), so that probabilities are too cautious where the prior is wide"
    text = (
        f"Three things are left out. The posterior of the latent function has a Gaussian in its place, {gaussian}. The "
        "hidden units only rescale the kernel of infinite width, whereas those of the sampled network also turn it "
        "towards the task."
    )
    kinds = zip(predictions["theory"].to_numpy(), predictions["regressor"].to_numpy(), strict=True)
    told = [f"“{theory}” {APPROXIMATIONS[str(kind)]}" for theory, kind in kinds if str(kind) in APPROXIMATIONS]
    several = " All outputs have one common scale." if network.get("outputs", 1) > 1 else ""
    text += f" The scale Q of the kernel: {', '.join(told)}.{several}" if told else ""
    group = posterior.get("posterior")
    if group is not None and "readout_norm" in group:
        norm = group["readout_norm"]
        norm = norm.mean("output") if "output" in norm.dims else norm
        text += (
            f" In this posterior the readout norm λ|v|²/N, the observable that corresponds to Q, has the mean "
            f"{float(norm.mean()):.3g} and the standard deviation {float(norm.std()):.2g}."
        )
    return text


def _cold(posterior: xr.DataTree) -> str | None:
    T = posterior.attrs.get("temperature", 1.0)
    if T == 1:
        return None
    kind = "cold" if T < 1 else "hot"
    return (
        f"T = {T:g}: this is a {kind} posterior, whose likelihood is taken to the power {1 / T:g}. Log scores of "
        "labels are those of the probabilities themselves; T has no part in them."
    )
