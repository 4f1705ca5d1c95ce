"""Settings and learned values as numbers, strings, lists and dictionaries, as JSON holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.gaussian_process import kernels as sklearn_kernels
from sklearn.gaussian_process.kernels import Kernel

from stpbnn import activations
from stpbnn.kernels import NNGPKernel
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.scale import OrderParameterPosterior

__all__ = ["decoded", "encode"]

NETWORKS = {network.__name__: network for network in (Convolutional, FullyConnected)}
KERNELS = {
    name: getattr(sklearn_kernels, name)
    for name in (
        "ConstantKernel",
        "DotProduct",
        "ExpSineSquared",
        "Exponentiation",
        "Matern",
        "PairwiseKernel",
        "Product",
        "RBF",
        "RationalQuadratic",
        "Sum",
        "WhiteKernel",
    )
} | {"NNGPKernel": NNGPKernel}


def encode(what: str, value: Any) -> Any:
    """Return a value in numbers, strings, lists and dictionaries with the key "type"."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, OrderParameterPosterior):
        return {"type": "OrderParameterPosterior", **{key: encode(key, item) for key, item in value._asdict().items()}}
    if isinstance(value, np.ndarray):
        return {"type": "array", "values": value.tolist()}
    if isinstance(value, list | tuple):
        return {"type": type(value).__name__, "values": [encode(f"{what}[{i}]", v) for i, v in enumerate(value)]}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"type": "dict", "values": {key: encode(f"{what}[{key!r}]", item) for key, item in value.items()}}
    if isinstance(value, Network):
        name = value.sigma.name
        if name not in activations.available() or activations.get(name) != value.sigma:
            raise ValueError(
                f"{what}: got the activation {name!r}, expected a registered one: a file holds its name only; "
                "call stpbnn.activations.register before saving and before loading"
            )
        return {"type": type(value).__name__, **value.to_dict()}
    if isinstance(value, Kernel) and KERNELS.get(type(value).__name__) is type(value):
        parameters = value.get_params(deep=False)
        return {"type": type(value).__name__, **{key: encode(f"{what}.{key}", v) for key, v in parameters.items()}}
    shown = " ".join(repr(value).split())
    raise ValueError(
        f"{what}: got {shown}, which cannot be told by names and numbers; expected numbers, strings, networks, or "
        f"kernels of {', '.join(sorted(KERNELS))}"
    )


def _decode(code: Any) -> Any:
    if not isinstance(code, dict):
        return code
    fields = {key: value for key, value in code.items() if key != "type"}
    kind = code["type"]
    if kind == "array":
        return np.array(fields["values"], dtype=np.float64)
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](map(_decode, fields["values"]))
    if kind == "dict":
        return decoded(fields["values"])
    if kind == "OrderParameterPosterior":
        return OrderParameterPosterior(**decoded(fields))
    if kind in NETWORKS:
        return NETWORKS[kind](**fields)
    return KERNELS[kind](**decoded(fields))


def decoded(codes: dict[str, Any]) -> dict[str, Any]:
    """Return values by name, from what `encode` made of them."""
    return {name: _decode(code) for name, code in codes.items()}
