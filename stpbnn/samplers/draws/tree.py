"""Draws as an xarray.DataTree in ArviZ's schema: named dimensions, coordinates, and how they came about."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import xarray as xr

from stpbnn.network import Convolutional, Network
from stpbnn.samplers.draws.overlap import REFERENCES, References
from stpbnn.samplers.draws.training_data import Data

__all__ = ["provenance", "to_datatree"]

DRAWS = ("chain", "draw")
PREDICTIONS = ("f", "f_mean", "f_variance")
OF_LADDER = {"power": ("rung",), "swap_prob": ("pair",), "stepping_stone": ("pair",)}
RECORDED_AS = {name: (name, "y") for name in ("log_likelihood", "posterior_predictive")} | {
    name: ("predictions", name) for name in (*PREDICTIONS, "class_probability", "eigenmode")
}


def provenance() -> dict[str, str]:
    """Return the versions, device and precision under which draws are made, and the time.

    Examples
    --------
    >>> sorted(provenance())[:3]
    ['arviz_version', 'created_at', 'device']
    """
    device = jax.devices()[0]
    return {f"{name}_version": version(name) for name in ("stpbnn", "jax", "numpyro", "arviz")} | {
        "python_version": platform.python_version(),
        "device": f"{device.platform}: {device.device_kind}",
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _dims(net: Network, name: str) -> tuple[str, ...]:
    """Return the dimensions of one draw of an observable, or of a weight array."""
    output = ("output",) if net.outputs > 1 else ()
    return {
        "kernel_scale": ("layer",),
        "Q": ("layer",),
        "readout_norm": output,
        "kernel_overlap": ("reference",),
        "log_likelihood": ("train_point",),
        "posterior_predictive": ("train_point", *output),
        "eigenmode": ("mode", *output),
        "class_probability": ("test_point", "class"),
        **dict.fromkeys(PREDICTIONS, ("test_point", *output)),
        "readout_overlap": ("position", "other_position"),
        "position_overlap": ("reference", "position"),
        **_weight_dims(net, output),
    }.get(name, ())


def _weight_dims(net: Network, output: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the dimensions of the weights by name."""
    L, layers = net.depth, range(1, net.depth + 1)
    weights: dict[str, tuple[str, ...]]
    if isinstance(net, Convolutional):
        weights = {f"W{n}": (f"row_{n}", f"column_{n}", f"channel_{n - 1}", f"channel_{n}") for n in layers}
        biases = {f"b{n}": (f"channel_{n}",) for n in layers}
        seen = "position_and_channel" if net.local else f"channel_{L}"
        return weights | biases | {"v": (seen, *output), f"b{L + 1}": output}
    weights = {f"W{n}": ("feature" if n == 1 else f"unit_{n - 1}", f"unit_{n}") for n in layers}
    return weights | {f"b{n}": (f"unit_{n}",) for n in layers} | {"v": (f"unit_{L}", *output), f"b{L + 1}": output}


def _dataset(variables: Mapping[str, tuple[tuple[str, ...], Any]]) -> xr.Dataset:
    """Return a dataset whose every dimension has a coordinate; layers count from one, references have names."""
    dataset = xr.Dataset({name: (dims, np.asarray(values)) for name, (dims, values) in variables.items()})
    coordinates = {dim: np.arange(size) + (dim == "layer") for dim, size in dataset.sizes.items()}
    return dataset.assign_coords(
        coordinates | {"reference": list(REFERENCES)} if "reference" in coordinates else coordinates
    )


def to_datatree(
    net: Network,
    data: Data,
    draws: Mapping[str, Any],
    statistics: Mapping[str, Any],
    attributes: Mapping[str, Any],
    references: References | None = None,
    kept: Mapping[int, Mapping[str, Any]] | None = None,
) -> xr.DataTree:
    """Return draws (chain, draw, ...) with sampler statistics (chain, draw), data and attributes as one tree.

    Parameters
    ----------
    net : Network
        The network.
    data : Data
        Training set and test points.
    draws : mapping of str to array
        Observables, and weights where they were kept.
    statistics : mapping of str to array
        The sampler's own numbers, one a draw.
    attributes : mapping
        Settings to record at the root beside versions, device and time.
    references : References, optional
        The eigenmodes of the kernel of infinite width.
    kept : mapping of int to mapping of str to array, optional
        The weights (chain, ...) of some draws, by the number of the draw, for the group `weights`.
    """
    groups: dict[str, dict[str, tuple[tuple[str, ...], Any]]] = {"posterior": {}}
    for name, values in draws.items():
        group, variable = RECORDED_AS.get(name, ("posterior", name))
        groups.setdefault(group, {})[variable] = (DRAWS + _dims(net, name), values)
    groups["sample_stats"] = {name: (DRAWS + OF_LADDER.get(name, ()), values) for name, values in statistics.items()}
    output = ("output",) if net.outputs > 1 else ()
    groups["observed_data"] = {"y": (("train_point", *output), data.y)}
    groups["constant_data"] = {"X": (("train_point", "feature"), data.X)}
    if references is not None and "eigenmode" in draws:
        modes = {"eigenvalue": (("mode",), references.eigenvalues)}
        groups["constant_data"] |= modes | {"eigenvector": (("mode", "train_point"), references.eigenvectors)}
    if data.X_test is not None:
        groups["predictions_constant_data"] = {"X_test": (("test_point", "feature"), data.X_test)}
        if data.y_test is not None:
            groups["predictions_constant_data"]["y_test"] = (("test_point", *output), data.y_test)
    sets = {name: _dataset(variables) for name, variables in groups.items()}
    if kept:
        stacked = {name: np.stack([each[name] for each in kept.values()], axis=1) for name in next(iter(kept.values()))}
        sets["weights"] = _dataset({name: (DRAWS + _dims(net, name), values) for name, values in stacked.items()})
        sets["weights"] = sets["weights"].assign_coords(draw=list(kept))
    if "classes" in attributes and "predictions" in sets:
        sets["predictions"] = sets["predictions"].assign_coords({"class": json.loads(attributes["classes"])})
    tree = xr.DataTree.from_dict(sets)
    tree.attrs.update(provenance() | {"network": json.dumps(net.to_dict())} | dict(attributes))
    return tree
