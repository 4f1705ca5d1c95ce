"""Kernels: the input Gram matrix, the NNGP recursion and the renormalised closures of finite networks."""

from typing import TYPE_CHECKING, Any

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
    fluctuation_map,
    mean_map,
    nngp_map,
    renormalised_map,
)
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

if TYPE_CHECKING:
    from stpbnn.kernels.nngp_kernel import NNGPKernel

__all__ = [
    "CLOSURES",
    "Closure",
    "CrossKernel",
    "Gram",
    "KernelMap",
    "NNGPKernel",
    "Tile",
    "contraction",
    "cross_kernel",
    "cross_kernels",
    "feature_map",
    "feature_mean",
    "feature_means",
    "features",
    "fluctuation_map",
    "hyperparameters",
    "input_gram",
    "input_tiles",
    "input_variances",
    "lower_triangle",
    "map_tiles",
    "mean_kept",
    "mean_map",
    "nngp",
    "nngp_map",
    "renormalised",
    "renormalised_map",
    "symmetric_kernel",
    "symmetric_kernels",
    "weight_tiles",
]


def __getattr__(name: str) -> Any:
    """Load the kernel of scikit-learn's interface when it is first used: no sampler needs scikit-learn."""
    if name != "NNGPKernel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stpbnn.kernels.nngp_kernel import NNGPKernel

    return NNGPKernel
