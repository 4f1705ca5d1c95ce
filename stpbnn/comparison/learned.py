"""What fitted closed forms have learned: order parameters, evidence, and which network they are of."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import numpy as np

from stpbnn.network import Convolutional
from stpbnn.scale import by_layer, products_of_layers

__all__ = ["learned"]


def _product(theory: Any, W: np.ndarray) -> np.ndarray:
    """Return the matrix of the outputs, (D, D), from those of all layers: at the saddle point, or its mean."""
    law = getattr(theory, "order_parameter_posterior_", None)
    if law is None:  # they share their eigenvectors
        return reduce(np.matmul, W)
    q, V = products_of_layers(law.nodes)
    return np.einsum("n,nab,nb,ncb->ac", law.weights, V, q, V)


def learned(fitted: list[Any]) -> dict[str, Any]:
    """Return what the regressors have learned, padded with NaN to a common number of layers."""
    orders = [np.asarray(getattr(t, "order_parameters_", [np.nan]), dtype=np.float64) for t in fitted]
    rows = [by_layer(getattr(t, "network_", None), q) for t, q in zip(fitted, orders, strict=True)]
    layers = max(len(row) for row in rows)
    padded = np.array([np.pad(row, (0, layers - len(row)), constant_values=np.nan) for row in rows])
    found: dict[str, Any] = {"order_parameters": (("theory", "layer"), padded)}
    outputs = max((q.shape[-1] for q in orders if q.ndim > 1), default=0)
    if outputs:
        empty = np.full((outputs, outputs), np.nan)
        whole = {3: _product, 2: lambda theory, q: q}
        matrices = np.array([whole.get(q.ndim, lambda *_: empty)(t, q) for t, q in zip(fitted, orders, strict=True)])
        images = any(isinstance(getattr(t, "network_", None), Convolutional) for t in fitted)
        kind = "position" if images else "output"
        found["order_parameter_matrix"] = (("theory", kind, f"other_{kind}"), matrices)
    scalars = {
        "action": "action_",
        "log_marginal_likelihood": "log_marginal_likelihood_",
        "readout_second_moment": "readout_second_moment_",
        "temperature": "temperature",
        "cluster": "cluster_",
    }
    for name, attribute in scalars.items():
        found[name] = ("theory", [_scalar(getattr(t, attribute, np.nan)) for t in fitted])
    networks = [getattr(t, "network_", None) for t in fitted]
    found["network"] = ("theory", ["" if net is None else json.dumps(net.to_dict()) for net in networks])
    for name in ("odd", "linear"):
        asked = [np.nan if net is None else float(getattr(net.sigma, name)) for net in networks]
        found[name] = ("theory", asked)
    found["regressor"] = ("theory", [_class(t) for t in fitted])
    found["converged"] = ("theory", [bool(getattr(t, "converged_", True)) for t in fitted])
    return found


def _class(theory: Any) -> str:
    """Return the name of the theory's class; of a class that others derived from one of this library, that one's."""
    own = (kind.__name__ for kind in type(theory).__mro__ if kind.__module__.startswith("stpbnn."))
    return next(own, type(theory).__name__)


def _scalar(value: Any) -> float:
    """Return a number; of a matrix over the outputs the mean of its diagonal, of a vector NaN."""
    if np.ndim(value) == 1:
        return np.nan
    return float(np.trace(value) / len(value)) if np.ndim(value) == 2 else float(value)
