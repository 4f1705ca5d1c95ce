"""Kernels: the input Gram matrix, the NNGP recursion and the renormalised closures of finite networks."""

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

__all__ = [
    "CLOSURES",
    "Closure",
    "CrossKernel",
    "Gram",
    "KernelMap",
    "Tile",
    "cross_kernel",
    "cross_kernels",
    "feature_map",
    "feature_mean",
    "feature_means",
    "features",
    "fluctuation_map",
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
