"""Kernels: the input Gram matrix, the NNGP recursion and the renormalised closures of finite networks."""

from typing import TYPE_CHECKING, Any

from stpbnn.kernels import hyperparameters as hyperparameters
from stpbnn.kernels.closures import (
    CLOSURES,
    Closure,
    Gram,
    feature_mean,
    features,
    input_gram,
    input_variances,
    mean_kept,
    nngp,
    renormalised,
)
from stpbnn.kernels.closures import UNROLLED as UNROLLED
from stpbnn.kernels.maps import (
    KernelMap,
    feature_map,
    feature_means,
    first_variances,
    fluctuation_map,
    mean_map,
    nngp_map,
    renormalised_map,
)
from stpbnn.kernels.patch_grams import patch_kernels, position_kernels
from stpbnn.kernels.stacks import cross_kernels, symmetric_kernels
from stpbnn.kernels.tiles import (
    CrossKernel,
    Tile,
    cross_kernel,
    input_tiles,
    lower_triangle,
    map_tiles,
    symmetric_kernel,
    weight_tiles,
)
from stpbnn.kernels.weighed_pairs import pair_kernels, pair_variances

if TYPE_CHECKING:
    from stpbnn.kernels.contraction import Inputs, value_and_pullback
    from stpbnn.kernels.nngp_kernel import NNGPKernel
    from stpbnn.kernels.slopes import InputSlopes, kernel_slopes, network_slopes

OF_SCIKIT_LEARN = {
    "Inputs": "contraction",
    "value_and_pullback": "contraction",
    "NNGPKernel": "nngp_kernel",
    "InputSlopes": "slopes",
    "kernel_slopes": "slopes",
    "network_slopes": "slopes",
}

__all__ = [
    "CLOSURES",
    "Closure",
    "CrossKernel",
    "Gram",
    "InputSlopes",
    "Inputs",
    "KernelMap",
    "NNGPKernel",
    "Tile",
    "cross_kernel",
    "cross_kernels",
    "feature_map",
    "feature_mean",
    "feature_means",
    "features",
    "first_variances",
    "fluctuation_map",
    "hyperparameters",
    "input_gram",
    "input_tiles",
    "input_variances",
    "kernel_slopes",
    "lower_triangle",
    "map_tiles",
    "mean_kept",
    "mean_map",
    "network_slopes",
    "nngp",
    "nngp_map",
    "pair_kernels",
    "pair_variances",
    "patch_kernels",
    "position_kernels",
    "renormalised",
    "renormalised_map",
    "symmetric_kernel",
    "symmetric_kernels",
    "value_and_pullback",
    "weight_tiles",
]


def __getattr__(name: str) -> Any:
    """Load what knows the kernels of scikit-learn when it is first used: no sampler needs scikit-learn."""
    if name not in OF_SCIKIT_LEARN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{OF_SCIKIT_LEARN[name]}"), name)
