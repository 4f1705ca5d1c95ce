r"""The gradient of a scalar through a scikit-learn kernel, without the array of all derivatives.

.. math:: g_k = \sum_{ij} W_{ij} \frac{\partial K_{ij}}{\partial \theta_k}

scikit-learn's kernels return :math:`\partial K/\partial\theta` as an array (P, P, n), which takes longer to fill than
the Cholesky factorisation of K. Sums, products and powers pass their weights down to the kernels that they are made
of, and for RBF and Matern with one length scale a feature the sum is a product of matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist, squareform
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    Exponentiation,
    Kernel,
    Matern,
    Product,
    Sum,
    WhiteKernel,
)

from stpbnn.kernels.nngp_kernel import NNGPKernel

__all__ = ["contract"]

Square = Float[np.ndarray, "P P"]


def contract(kernel: Kernel, X: Float[np.ndarray, "P N0"], weights: Square) -> Float[np.ndarray, " n"]:
    """Return Σ_ij W_ij ∂K_ij/∂θ_k for all hyper-parameters θ of the kernel, in the order of `kernel.theta`.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel
        The kernel; kinds that are not known here are asked for the whole array.
    X : array of shape (P, N_0)
        Inputs.
    weights : array of shape (P, P)
        W, which need not be symmetric: only its symmetric part matters.

    Examples
    --------
    >>> contract(2.0 * RBF(1.0), np.eye(2), np.ones((2, 2))).round(4)
    array([5.4715, 2.943 ])
    """
    if isinstance(kernel, NNGPKernel):
        return kernel.contract(X, weights)
    if isinstance(kernel, Sum):
        return np.concatenate([contract(part, X, weights) for part in (kernel.k1, kernel.k2)])
    if isinstance(kernel, Product):
        return np.concatenate(
            [contract(kernel.k1, X, weights * kernel.k2(X)), contract(kernel.k2, X, weights * kernel.k1(X))]
        )
    if isinstance(kernel, Exponentiation):
        return contract(kernel.kernel, X, weights * (kernel.exponent * kernel.kernel(X) ** (kernel.exponent - 1)))
    known: Any = {ConstantKernel: _constant, WhiteKernel: _white, RBF: _stationary, Matern: _stationary}
    if type(kernel) not in known or getattr(kernel, "nu", np.inf) not in SLOPES:
        return np.tensordot(weights, kernel(X, eval_gradient=True)[1], 2)
    return np.empty(0) if not kernel.n_dims else known[type(kernel)](kernel, X, weights)


def _constant(kernel: ConstantKernel, X: Float[np.ndarray, "P N0"], weights: Square) -> Float[np.ndarray, " 1"]:
    return np.array([kernel.constant_value * weights.sum()])


def _white(kernel: WhiteKernel, X: Float[np.ndarray, "P N0"], weights: Square) -> Float[np.ndarray, " 1"]:
    return np.array([kernel.noise_level * np.trace(weights)])


# by ν of Matern, which is RBF at infinity: −(1/r) dk/dr as a function of the scaled distance r
SLOPES = {
    0.5: lambda r: np.exp(-r) / np.where(r > 0, r, np.inf),
    1.5: lambda r: 3 * np.exp(-np.sqrt(3) * r),
    2.5: lambda r: 5 / 3 * (1 + np.sqrt(5) * r) * np.exp(-np.sqrt(5) * r),
    np.inf: lambda r: np.exp(-(r**2) / 2),
}


def _stationary(kernel: RBF, X: Float[np.ndarray, "P N0"], weights: Square) -> Float[np.ndarray, " n"]:
    """∂k/∂log l_d = −(1/r) k'(r) (x_d − x'_d)²/l_d², for one length scale summed over d."""
    scaled = (X - X.mean(axis=0)) / kernel.length_scale
    slope = SLOPES[getattr(kernel, "nu", np.inf)](pdist(scaled))
    pulled = squareform(slope) * weights
    if np.size(kernel.length_scale) == 1:
        return np.array([np.vdot(pulled, squareform(pdist(scaled, "sqeuclidean")))])
    ends = pulled.sum(axis=0) + pulled.sum(axis=1)
    return ends @ scaled**2 - 2 * np.sum(scaled * (pulled @ scaled), axis=0)
