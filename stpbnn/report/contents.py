"""What the report says: plain strings and rows, made from stored data sets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from stpbnn._validation import plural
from stpbnn.catalogue import PROCESSES, THEORIES
from stpbnn.comparison import quote
from stpbnn.report import processes
from stpbnn.report.against_data import against_data
from stpbnn.report.class_words import class_explanation, score_columns, score_rows
from stpbnn.report.explanation import explanation
from stpbnn.report.sections import coverage, hidden, layers, simulated, spectrum
from stpbnn.report.setting import setting

__all__ = ["contents"]

SADDLES = (THEORIES["proportional"].regressor, THEORIES["proportional"].classifier)
KINDS = {"agrees": "agrees", "differs": "differs", "no verdict": "open"}


def contents(
    posterior: xr.DataTree,
    predictions: xr.Dataset,
    comparison: xr.Dataset,
    *,
    title: str | None = None,
    data_set: str | None = None,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the text of the report by section, ready for the template."""
    network = json.loads(posterior.attrs.get("network", "{}"))
    sizes = _sizes(posterior, comparison)
    process = posterior.attrs.get("process")
    name, saddle = _headline(predictions, process)
    verdict = str(comparison["verdict"].sel(theory=name).item())
    subject = "closed-form prediction of the proportional limit" if saddle else f"prediction “{name}”"
    of_classes = "classes" in comparison.attrs
    rows = _rows(comparison)
    return {
        "title": title or _title(network, sizes),
        "question": f"Does the {subject} agree with the true posterior of this {'process' if process else 'network'}?",
        "answer": _answer(verdict),
        "kind": _kind(verdict),
        "setting": setting(
            posterior,
            network,
            sizes,
            data_set=data_set,
            columns=(run or {}).get("columns", ()),
            beside=predictions.attrs.get("beside_the_chains"),
        ),
        "rows": score_rows(comparison, rows) if of_classes else rows,
        "has_error": "error" in comparison and not of_classes,
        "scores": score_columns(comparison) if of_classes else [],
        "criteria": _criteria(comparison, process),
        "simulated": None if of_classes else simulated(comparison, network),
        "explanation": class_explanation(posterior, predictions, comparison, name, network)
        if of_classes
        else explanation(posterior, predictions, comparison, name, saddle, network, sizes),
        "coverage": None if of_classes else coverage(comparison),
        "data": against_data(comparison),
        "spectrum": spectrum(comparison, sizes),
        "layers": layers(posterior, predictions, network, sizes),
        "convergence": _convergence(posterior, comparison),
        "worst": _worst(comparison, name),
        "headline": name,
        "facts": _facts(posterior, dict(run or {})),
        "call": _call(posterior, network),
    }


def _headline(predictions: xr.Dataset, process: str | None) -> tuple[str, bool]:
    """Return the theory that the report is about, and whether it is the saddle point of the proportional limit.

    Of a process it is its own closed form.
    """
    names = [str(name) for name in predictions["theory"].to_numpy()]
    kinds = predictions["regressor"].to_numpy().tolist() if "regressor" in predictions else []
    if process and (exact := PROCESSES[process].regressor) in kinds:
        return names[kinds.index(exact)], False
    saddle = next((kinds.index(kind) for kind in SADDLES if kind in kinds), None)
    return (names[-1], False) if saddle is None else (names[saddle], True)


def _kind(verdict: str) -> str:
    return next((kind for start, kind in KINDS.items() if verdict.startswith(start)), "open")


def _answer(verdict: str) -> str:
    if verdict.startswith("agrees"):
        return f"Yes: it {verdict}."
    if verdict.startswith("differs: "):
        return f"No, it differs by more than the Monte Carlo error: {verdict.removeprefix('differs: ')}."
    return f"Not decided. {verdict[:1].upper()}{verdict[1:]}."


def _sizes(posterior: xr.DataTree, comparison: xr.Dataset) -> dict[str, int]:
    """Return P, N_0 and the number of test points, as far as they are known."""
    sizes = {"test": int(comparison.sizes["test_point"])}
    group = posterior.get("constant_data")
    if group is not None and "X" in group:
        sizes |= {"train": int(group["X"].sizes["train_point"]), "features": int(group["X"].sizes["feature"])}
    return sizes


def _title(network: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    if not network:
        return "Theory and posterior of a Bayesian network"
    widths = " × ".join(str(width) for width in hidden(network))
    kind = "convolutional " if "channels" in network else ""
    of = f"{'with' if kind else 'of'} {'channels' if kind else 'width'}"
    points = f", {sizes['train']} training points" if "train" in sizes else ""
    return f"Theory and posterior: {kind}{network['activation']} network {of} {widths}{points}"


def _rows(comparison: xr.Dataset) -> list[dict[str, str]]:
    """Return the verdict table: the posterior, then each theory."""
    numbers = "classes" not in comparison.attrs
    state = "converged" if comparison["converged"] else "not converged"
    first = {"name": "posterior (MCMC)", "difference": "", "z": "", "word": state, "kind": ""}
    if numbers and "error_posterior" in comparison:
        pairs = zip(comparison["error_posterior"].to_numpy(), comparison["error_mcse"].to_numpy(), strict=True)
        first |= dict(zip(("error", "bias", "variance"), (quote(float(v), float(e)) for v, e in pairs), strict=True))
    rows = [first]
    for name in comparison["theory"].to_numpy():
        one = comparison.sel(theory=name)
        verdict = str(one["verdict"].item())
        row = {"name": str(name), "z": f"{float(one['largest_z']):.1f}", "kind": _kind(verdict)}
        row |= {"verdict": verdict, "word": next((word for word in KINDS if verdict.startswith(word)), verdict)}
        if numbers and "error" in one:
            own = one["theory_error_mcse"] if "theory_error_mcse" in one else 0 * one["error"]
            pairs = zip(one["error"].to_numpy(), own.to_numpy(), strict=True)
            quoted = (quote(float(v), float(e)) if e > 0 else f"{v:#.4g}" for v, e in pairs)
            row |= dict(zip(("error", "bias", "variance"), quoted, strict=True))
            shifts = (f"{100 * float(shift):+z.1f} %" for shift in one["relative_error"].to_numpy())
            row |= dict(zip(("difference", "bias_difference", "variance_difference"), shifts, strict=True))
        rows.append(row)
    return rows


def _criteria(comparison: xr.Dataset, process: str | None) -> str:
    limits, n = comparison.attrs, comparison["f_mean"].size
    sentence = (
        f"A theory agrees if its largest |z| over {plural(n, 'prediction')} is at most {limits['max_z']:.1f} "
        f"(two-sided, family-wise level {limits['level']:g}, Bonferroni)"
    )
    if "error" in comparison:
        what = "generalisation error" if "classes" not in limits else "negative log likelihood of the test labels"
        sentence += f" and its {what} within {limits['max_error_z']:g} standard errors of the posterior's"
    converged = (
        " The posterior counts as converged if, for every prediction, the bulk effective sample size is above "
        f"{limits['min_ess']:g} and R-hat below {limits['max_rhat']:g}"
    )
    chance = float(comparison["rhat_limit"].max())
    if chance > limits["max_rhat"]:
        converged += f", or below what perfect chains reach by chance among {n} predictions, here {chance:.3f}"
    series = "The readout was integrated: means are those of f given each draw."
    if process:
        series = processes.integrated(process)
    return sentence + "." + converged + "." + (f" {series}" if limits["series"] == "f_mean" else "")


def _convergence(posterior: xr.DataTree, comparison: xr.Dataset) -> list[str]:
    chains, draws = int(comparison["chains"]), int(comparison["draws"])
    said = [f"{plural(chains, 'chain')} of {plural(draws, 'draw')}"]
    worst = float(comparison["rhat_worst"])
    said.append(f"largest R-hat {worst:.3f}" if math.isfinite(worst) else "R-hat not computable, or infinite")
    smallest = float(comparison["ess_smallest"])
    said.append(
        f"smallest bulk effective sample size {smallest:.0f}" if math.isfinite(smallest) else "ESS not computable"
    )
    if "divergences" in comparison:
        said.append(f"{plural(int(comparison['divergences']), 'divergent transition')}")
    stats = posterior.get("sample_stats")
    if stats is not None and "energy" in stats and draws > 2:
        bfmi = az.bfmi(posterior)["energy"]
        said.append(f"smallest BFMI {float(bfmi.min()):.2f}")
    if "log_evidence_posterior" in comparison:
        found = quote(float(comparison["log_evidence_posterior"]), float(comparison["log_evidence_mcse"]))
        theories = comparison.get("log_marginal_likelihood", xr.DataArray([], dims="theory", coords={"theory": []}))
        beside = [f"{name} {value:.2f}" for name, value in zip(theories["theory"].values, theories.values, strict=True)]
        said.append(f"log evidence by stepping stones {found}" + (f" ({', '.join(beside)})" if beside else ""))
    if remedy := comparison.attrs.get("remedy"):
        said.append(f"what may help: {remedy}")
    return said


def _worst(comparison: xr.Dataset, name: str, count: int = 5) -> list[dict[str, str]]:
    """Return the test predictions of largest R-hat."""
    shape = comparison["f_mean"].shape
    flat = {key: comparison[key].to_numpy().reshape(-1) for key in ("f_mean", "mcse", "rhat", "ess", "ess_tail")}
    z = comparison["z"].sel(theory=name).to_numpy().reshape(-1)
    rows = []
    for i in np.argsort(-np.nan_to_num(flat["rhat"], nan=0.0), kind="stable")[:count]:
        at = np.unravel_index(i, shape)
        rows.append(
            {
                "point": ", output ".join(str(k) for k in at),
                "mean": quote(float(flat["f_mean"][i]), float(flat["mcse"][i])),
                "rhat": f"{flat['rhat'][i]:.3f}",
                "ess": f"{flat['ess'][i]:.0f}",
                "tail": f"{flat['ess_tail'][i]:.0f}",
                "z": f"{z[i]:+z.1f}",
            }
        )
    return rows


def _facts(posterior: xr.DataTree, run: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how the numbers came about: versions, device, seed and times."""
    attrs = {str(key): value for key, value in posterior.attrs.items()}
    versions = run.get("versions") or {
        key.removesuffix("_version"): value for key, value in attrs.items() if key.endswith("_version")
    }
    seconds = run.get("seconds") or ({"sampling": attrs["wall_time_s"]} if "wall_time_s" in attrs else {})
    known = {
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Device": str(run.get("device", attrs.get("device", ""))),
        "Cores": str(run.get("cores", "")),
        "Precision of the draws": str(attrs.get("precision", "")),
        "Seed": str(run.get("seed", attrs.get("seed", ""))),
        "Sampled at": str(run.get("created_at", attrs.get("created_at", ""))),
        "Wall time": ", ".join(
            f"{stage} {float(value):.3g} s" for stage, value in seconds.items() if stage != "report"
        ),
    }
    return [(name, value) for name, value in known.items() if value]


def _call(posterior: xr.DataTree, network: Mapping[str, Any]) -> str | None:
    """Return the Python call that samples this posterior, for want of a card."""
    attrs = posterior.attrs
    process = ("process",) + ("df",) * ("df" in attrs) if "process" in attrs else ()
    keys = (*(process or ("sampler", "readout")), "temperature", "warmup", "draws", "chains", "seed")
    if not network or any(key not in attrs for key in keys):
        return None
    plain = {key: attrs[key].item() if isinstance(attrs[key], np.generic) else attrs[key] for key in keys}
    net = ", ".join(f"{key}={value!r}" for key, value in network.items())
    arguments = ", ".join(f"{key}={value!r}" for key, value in plain.items())
    function = "stpbnn.samplers.sample_process" if process else "stpbnn.sample"
    kind = "Convolutional" if "channels" in network else "FullyConnected"
    return f"net = stpbnn.{kind}({net})\nposterior = {function}(net, X, y, X_test=Xt, y_test=yt, {arguments})"
