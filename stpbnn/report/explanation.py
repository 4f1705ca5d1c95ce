"""Why theory and posterior differ at finite width: the paragraph that every report has, with its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn import activations
from stpbnn.catalogue import PROCESSES
from stpbnn.network import of_settings
from stpbnn.report import processes
from stpbnn.report.sections import hidden

__all__ = ["explanation"]


def explanation(
    posterior: xr.DataTree,
    predictions: xr.Dataset,
    comparison: xr.Dataset,
    name: str,
    saddle: bool,
    network: Mapping[str, Any],
    sizes: Mapping[str, int],
) -> list[str]:
    """Return paragraphs on what a theory leaves out, and how large that is here.

    Parameters
    ----------
    posterior, predictions, comparison
        As for `stpbnn.report.render`.
    name : str
        The theory that the report is about.
    saddle : bool
        Whether it is the saddle point of the proportional limit.
    network : mapping
        The network's settings; empty where unknown.
    sizes : mapping
        Numbers of training points (`train`) and test points (`test`).
    """
    told = []
    if beside := predictions.attrs.get("beside_the_chains"):
        told.append(f"The theories have {beside}, and the sampled posterior does not: that may be why they differ.")
    odd, linear = (_asked(predictions, network, what) for what in ("odd", "linear"))
    if process := posterior.attrs.get("process"):
        told += processes.paragraphs(posterior, predictions, comparison, name, network, linear)
        return told + (_load(predictions, name, network, sizes) if PROCESSES[process].has_widths else [])
    told.append(_finding(comparison.sel(theory=name), name))
    if saddle and network:
        q = predictions["order_parameters"].sel(theory=name).to_numpy()
        told += [_fluctuations(posterior, q, network, linear), _turning(posterior, network, odd, linear)]
    else:
        told.append(
            "Closed forms are exact in a limit. At finite width N, differences that vanish like 1/N at fixed P are to "
            "be expected, and of order P/N from infinite width."
        )
    return told + _load(predictions, name, network, sizes)


def _finding(one: xr.Dataset, name: str) -> str:
    """Return the paragraph that says what was found."""
    left_out = "what the theory leaves out vanishes like 1/N for wide networks at fixed number of training points P"
    verdict, total = str(one["verdict"].item()), one.sel(part="total") if "error" in one else None
    size = room = ""
    if total is not None:
        uncertainty = 100 * float(total["relative_error_mcse"])
        size = f"{100 * float(total['relative_error']):+z.1f} % ± {uncertainty:.1f} % in the error, "
        room = f" The Monte Carlo error leaves room for ± {uncertainty:.1f} % in the error."
    if verdict.startswith("differs"):
        return (
            f"The theory “{name}” differs from the posterior ({size}largest |z| {float(one['largest_z']):.1f}). The "
            "chains have converged by the criteria above, so sampling error is no likely cause. Such a difference is "
            f"expected at finite width: {left_out}."
        )
    if verdict.startswith("agrees"):
        return (
            f"No difference between the theory “{name}” and the posterior is resolved.{room} A longer run may "
            f"resolve one: {left_out}."
        )
    return f"The comparison is not decided. At finite width a difference is expected: {left_out}."


def _asked(predictions: xr.Dataset, network: Mapping[str, Any], what: str) -> bool | None:
    """Return whether the activation is "odd" or "linear", as it said itself when the theories were solved.

    Predictions of earlier versions do not tell; then a registered activation is asked, and of others nothing is known.
    """
    told = predictions[what].to_numpy() if what in predictions else np.empty(0)
    if np.isfinite(told).any():
        return bool(told[np.isfinite(told)][0])
    name = network.get("activation")
    return bool(getattr(activations.get(name), what)) if name in activations.available() else None


def _fluctuations(posterior: xr.DataTree, q: Any, network: Mapping[str, Any], linear: bool | None) -> str:
    """Return the paragraph on the fluctuations of the order parameter."""
    width, positions = int(hidden(network)[-1]), _positions(network)
    start = "The saddle point" if linear else "First, the saddle point"
    text = (
        f"{start} puts one value in place of the order parameter Q, which fluctuates: its prior law has "
        f"the relative variance 2/N = {2 / width:.3g} for N = {width}."
    )
    if positions > 1:
        text = (
            f"{start} puts one matrix in place of the order parameters Q of all pairs of the d = {positions} "
            "positions, which fluctuate: a priori the mean of its diagonal has the relative variance 2/(N d) = "
            f"{2 / (width * positions):.3g} for N = {width} channels."
        )
    group = posterior.get("posterior")
    saddle = [float(value) for value in q if math.isfinite(value)]
    if group is not None and "readout_norm" in group and saddle:
        norm = group["readout_norm"]
        text += (
            " In this posterior the readout norm λ|v|²/N, the observable that corresponds to Q, has the mean "
            f"{float(norm.mean()):.3g} and the standard deviation {float(norm.std()):.2g}; the saddle point of the "
            f"last layer is at Q̄ = {saddle[-1]:.3g}."
        )
    return text


def _positions(network: Mapping[str, Any]) -> int:
    """Return the number of positions with a readout of their own: one of networks that are not local."""
    local = "channels" in network and network["readout"] == "flatten"
    return of_settings(network).positions if local else 1  # type: ignore[attr-defined]


def _turning(posterior: xr.DataTree, network: Mapping[str, Any], odd: bool | None, linear: bool | None) -> str:
    """Return the paragraph on what a rescaled kernel cannot do."""
    if linear:
        return (
            "For linear networks with one output and no biases the law of f given Q is exact at every width, so the "
            "fluctuation of Q is all that the saddle point neglects."
        )
    does = "weighs the kernels of all pairs of positions" if _positions(network) > 1 else "rescales the kernel"
    text = (
        f"Second, the theory {does} of infinite width, whereas the hidden units of the sampled network also turn it "
        "towards the task."
    )
    group = posterior.get("posterior")
    if group is not None and "kernel_scale" in group:
        scale = group["kernel_scale"].isel(layer=-1)
        text += (
            f" The trace of the sampled kernel of the last layer is {float(scale.mean()):.2f} times its expectation "
            f"(standard deviation {float(scale.std()):.2g}). The trace tells the size of the kernel, not its direction."
        )
    if group is not None and "kernel_overlap" in group:
        mean = group["kernel_overlap"].mean(("chain", "draw"))
        text += (
            f" Its overlap with the kernel of infinite width (one for the same direction) is "
            f"{float(mean.sel(reference='nngp')):.3f} on average, that with the targets, y yᵀ, "
            f"{float(mean.sel(reference='targets')):.3f}."
        )
    if odd is False:
        text += (
            f" For an activation that is not odd, such as {network['activation']}, the treatment of its mean is a "
            "further approximation."
        )
    return text


def _load(predictions: xr.Dataset, name: str, network: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """Return the paragraph on the load α, where it is known."""
    if not network or "train" not in sizes:
        return []
    loads = [f"{sizes['train'] / width:.3g}" for width in hidden(network)]
    if len(set(loads)) == 1:
        text = f"The load is α = P/N = {loads[0]}{' in every layer' if len(loads) > 1 else ''}."
    else:
        text = f"The loads α = P/N of the layers are {', '.join(loads)}."
    kinds = predictions["regressor"].to_numpy().tolist() if "regressor" in predictions else []
    names = [str(theory) for theory in predictions["theory"].to_numpy()]
    if "NNGPRegressor" in kinds and (other := names[kinds.index("NNGPRegressor")]) != name:
        text += f" “{other}” sets Q = 1 and thereby leaves out effects of order α as well."
    return [text]
