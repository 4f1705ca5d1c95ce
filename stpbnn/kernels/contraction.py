r"""A scikit-learn kernel together with the pull-back of its gradient, without the array of all derivatives.

.. math:: W \mapsto \sum_{ij} W_{ij} \frac{\partial K_{ij}}{\partial \theta_k}

scikit-learn's kernels return :math:`\partial K/\partial\theta` as an array (P, P, n), which takes longer to fill than
the Cholesky factorisation of K. Sums, products and powers pass their weights down to the kernels that they are made
of, and for RBF and Matern kernels the sum is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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

__all__ = ["value_and_pullback"]

Square = Float[np.ndarray, "P P"]
Theta = Float[np.ndarray, " n"]
Pullback = Callable[[Square], Theta]


def value_and_pullback(kernel: Kernel, X: Float[np.ndarray, "P N0"]) -> tuple[Square, Pullback]:
    """Return K(X, X), and the function that takes weights W (P, P) to Σ_ij W_ij ∂K_ij/∂θ.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel
        The kernel; kinds that are not known here are asked for the whole array.
    X : array of shape (P, N_0)
        Inputs.

    Returns
    -------
    array of shape (P, P)
        The kernel.
    callable
        The pull-back: derivatives are in the order of `kernel.theta`. The weights need not be symmetric; only their
        symmetric part matters.

    Examples
    --------
    >>> K, pullback = value_and_pullback(2.0 * RBF(1.0), np.eye(2))
    >>> pullback(np.ones((2, 2))).round(4)
    array([5.4715, 2.943 ])
    """
    K, pullback = _of(kernel, X)
    return np.array(np.broadcast_to(K, (len(X), len(X)))), pullback


def _of(kernel: Kernel, X: Float[np.ndarray, "P N0"]) -> tuple[Any, Pullback]:
    """Return the same with a constant kernel as a number."""
    if isinstance(kernel, Sum | Product):
        (K1, pull1), (K2, pull2) = _of(kernel.k1, X), _of(kernel.k2, X)
        if isinstance(kernel, Sum):
            return K1 + K2, lambda W: np.concatenate([pull1(W), pull2(W)])
        return K1 * K2, lambda W: np.concatenate([pull1(W * K2), pull2(W * K1)])
    if isinstance(kernel, Exponentiation):
        K, pull = _of(kernel.kernel, X)
        return K**kernel.exponent, lambda W: pull(W * (kernel.exponent * K ** (kernel.exponent - 1)))
    if isinstance(kernel, NNGPKernel):
        return kernel(X), partial(kernel.contract, X)
    if type(kernel) is ConstantKernel:
        return kernel.constant_value, _free(kernel, lambda W: np.array([kernel.constant_value * W.sum()]))
    if type(kernel) is WhiteKernel:
        return kernel(X), _free(kernel, lambda W: np.array([kernel.noise_level * np.trace(W)]))
    if type(kernel) is RBF:
        K = kernel(X)
        return K, _free(kernel, lambda W: _along_length_scales(kernel, X, W * K))
    if type(kernel) is Matern and kernel.nu in SLOPES:
        scaled = X / kernel.length_scale
        return kernel(X), _free(
            kernel, lambda W: _along_length_scales(kernel, X, W * squareform(SLOPES[kernel.nu](pdist(scaled))))
        )
    K, slopes = kernel(X, eval_gradient=True)
    return K, lambda W: np.tensordot(W, slopes, 2)


def _free(kernel: Kernel, pullback: Pullback) -> Pullback:
    """Return the pull-back of a kernel of one kind of hyper-parameter, which may be fixed."""
    return pullback if kernel.n_dims else lambda W: np.empty(0)


# by ν of Matern kernels: −(1/r) dk/dr as a function of the scaled distance r; only r > 0 counts
SLOPES: dict[float, Callable[[np.ndarray], np.ndarray]] = {
    0.5: lambda r: np.exp(-r) / np.where(r > 0, r, np.inf),
    1.5: lambda r: 3 * np.exp(-np.sqrt(3) * r),
    2.5: lambda r: 5 / 3 * (1 + np.sqrt(5) * r) * np.exp(-np.sqrt(5) * r),
    np.inf: lambda r: np.exp(-(r**2) / 2),
}


def _along_length_scales(kernel: RBF, X: Float[np.ndarray, "P N0"], pulled: Square) -> Theta:
    """Return Σ_ij V_ij (x_id − x_jd)²/l_d² for every length scale, or summed over d where there is one."""
    scaled = (X - X.mean(axis=0)) / kernel.length_scale
    ends = pulled.sum(axis=0) + pulled.sum(axis=1)
    slopes = ends @ scaled**2 - 2 * np.sum(scaled * (pulled @ scaled), axis=0)
    return slopes if np.size(kernel.length_scale) > 1 else slopes.sum(keepdims=True)
