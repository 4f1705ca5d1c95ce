"""Kernels: the input Gram matrix, the NNGP recursion and the renormalised closures of finite networks."""

from stpbnn.kernels.closures import (
    CLOSURES,
    Closure,
    Gram,
    feature_mean,
    features,
    input_gram,
    mean_kept,
    nngp,
    renormalised,
)

__all__ = ["CLOSURES", "Closure", "Gram", "feature_mean", "features", "input_gram", "mean_kept", "nngp", "renormalised"]
