"""What a report is about: process, network, data, temperature, sampler, and what the theories have beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn._validation import plural
from stpbnn.catalogue import PROCESSES
from stpbnn.report.class_words import class_names
from stpbnn.report.sections import hidden

__all__ = ["setting"]


def setting(
    posterior: xr.DataTree,
    network: Mapping[str, Any],
    sizes: Mapping[str, int],
    *,
    data_set: str | None,
    columns: Iterable[str],
    beside: str | None,
) -> list[tuple[str, str]]:
    """Return what a report is about, as names and words.

    Parameters
    ----------
    posterior : xarray.DataTree
        As for `stpbnn.report.render`.
    network : mapping
        The network's settings; empty where unknown.
    sizes : mapping
        Numbers of training points (`train`), inputs (`features`) and test points (`test`).
    data_set : str or None
        What the data are.
    columns : iterable of str
        What became of the columns of a table.
    beside : str or None
        What the theories have, and the chains do not.
    """
    attrs, process = posterior.attrs, posterior.attrs.get("process")
    facts = [("Process", PROCESSES[process].sentence.format_map(attrs))] if process else []
    if network:
        widths, outputs = hidden(network), int(network.get("outputs", 1))
        precision = network.get("weight_precision", 1.0)
        weights = ", ".join(f"{p:g}" for p in precision) if isinstance(precision, list) else f"{precision:g}"
        bias = network.get("bias_precision")
        biases = "no biases" if bias is None else f"bias precision λ_b = {bias:g}"
        width = (
            "infinite width"
            if process and not PROCESSES[process].has_widths
            else f"{', '.join(map(str, widths))} channels"
            if "channels" in network
            else f"width {', '.join(map(str, widths))}"
        )
        shape = f"{plural(len(widths), 'hidden layer')} of {width}; {_windows(network)}{network['activation']}"
        facts.append(("Network", f"{shape}; {plural(outputs, 'output')}; weight precision λ = {weights}; {biases}"))
    data = f"{plural(sizes['test'], 'test point')}"
    if "train" in sizes:
        data = f"P = {sizes['train']} training points with N₀ = {sizes['features']} inputs; {data}"
    facts.append(("Data", f"{data_set}; {data}" if data_set else data))
    if classes := posterior.attrs.get("classes"):
        law = {"bernoulli": "logistic function of one output", "categorical": "softmax of the outputs"}
        facts.append(("Classes", f"{class_names(classes)}; {law.get(str(network.get('likelihood')), '')}"))
    if told := "; ".join(map(str, columns)):
        facts.append(("Columns", told))
    if "temperature" in attrs:
        value = attrs["temperature"]
        facts.append(("Temperature", f"T = {value:g}" if isinstance(value, int | float) else f"random, {value}"))
    chains = posterior["predictions"].sizes
    length = f"{plural(chains['chain'], 'chain')} of {plural(chains['draw'], 'draw')}"
    sampler = f"{str(attrs['sampler']).upper()}, {length}" if "sampler" in attrs else length
    sampler += f" after {attrs['warmup']} warm-up steps" if "warmup" in attrs else ""
    sampler += f"; readout {attrs['readout']}" if "readout" in attrs else ""
    sampler += f", over log {PROCESSES[process].symbol}" if process else ""
    facts.append(("Sampler", sampler))
    return [*facts, ("Theories", f"with {beside}, which the chains do not have")] if beside else facts


def _windows(network: Mapping[str, Any]) -> str:
    """Return what a convolutional network looks at, in words, or nothing."""
    if "channels" not in network:
        return ""
    size, stride = (
        " then ".join(f"{rows} × {columns}" for rows, columns in np.reshape(network[key], (-1, 2)))
        for key in ("kernel_size", "stride")
    )
    told = f"kernel size {size}, stride {stride}, padding {network['padding']}, readout {network['readout']}"
    return f"images of {' × '.join(map(str, network['image']))}, {told}; "
