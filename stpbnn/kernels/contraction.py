r"""A scikit-learn kernel together with the pull-back of its gradient, without the array of all derivatives.

.. math:: W \mapsto \sum_{ij} W_{ij} \frac{\partial K_{ij}}{\partial \theta_k}

scikit-learn's kernels return :math:`\partial K/\partial\theta` as an array (P, P, n), which takes longer to fill than
the Cholesky factorisation of K. Sums, products and powers pass their weights down to the kernels that they are made
of. Symmetric matrices are held in LAPACK's packed form, as the vector of the P(P+1)/2 entries of the lower triangle,
column by column: half the work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import lapack
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

from stpbnn._slices import slices
from stpbnn.kernels.by_precisions import unit_tiles
from stpbnn.kernels.nngp_kernel import NNGPKernel
from stpbnn.kernels.tiles import Tile

__all__ = ["Inputs", "value_and_pullback"]

Square = Float[np.ndarray, "P P"]
Packed = Float[np.ndarray, " entries"]
Theta = Float[np.ndarray, " n"]

Profile = Callable[[Packed], tuple[Packed, Packed]]

KEPT = 2**22  # slopes of entries that are kept between a kernel and its pull-back
BLOCK = 2**14  # entries that are computed at a time: what stays in a core's cache
CLOSE = 1e-6  # share of the largest squared distance below which x_i² + x_j² − 2 x_i x_j loses too many digits


@dataclass(frozen=True)
class Inputs:
    """Inputs X (P, N_0), with what kernels need at any hyper-parameters, computed at first use."""

    X: Float[np.ndarray, "P N0"]

    @property
    def entries(self) -> int:
        """P(P+1)/2."""
        return len(self.X) * (len(self.X) + 1) // 2

    @cached_property
    def diagonal(self) -> Int[np.ndarray, " P"]:
        """The places of the diagonal among the entries."""
        P = len(self.X)
        return np.concatenate([[0], np.cumsum(np.arange(P, 1, -1))])

    @cached_property
    def squared_distances(self) -> Packed:
        """|x_i − x_j|²."""
        return _squared_distances(self.X)

    @cached_property
    def tiles(self) -> list[Tile]:
        """X X^T / N_0, tile by tile."""
        return unit_tiles(self.X)


def value_and_pullback(kernel: Kernel, inputs: Inputs) -> tuple[Square, Callable[[Square], Theta]]:
    """Return K(X, X), and the function that takes symmetric weights W (P, P) to Σ_ij W_ij ∂K_ij/∂θ.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel
        The kernel; kinds that are not known here are asked for the whole array.
    inputs : Inputs
        Inputs X (P, N_0); to be kept while the hyper-parameters change.

    Returns
    -------
    array of shape (P, P)
        The kernel.
    callable
        The pull-back: derivatives are in the order of `kernel.theta`. It reads the lower triangle of the weights.

    Examples
    --------
    >>> K, pullback = value_and_pullback(2.0 * RBF(1.0), Inputs(np.eye(2)))
    >>> pullback(np.ones((2, 2))).round(4)
    array([5.4715, 2.943 ])
    """
    K, pull = _of(kernel, inputs)
    return _lower(np.broadcast_to(K, inputs.entries), len(inputs.X)), lambda W: pull(_packed(W))


def _packed(lower: Square) -> Packed:
    return lapack.dtrttp(lower, uplo="L")[0]


def _lower(packed: Packed, P: int) -> Square:
    """Return the lower triangle, with zeros above it."""
    return lapack.dtpttr(P, packed, uplo="L")[0]


def _squared_distances(X: Float[np.ndarray, "P N0"]) -> Packed:
    return _packed(squareform(pdist(X, "sqeuclidean"), checks=False))


def _of(kernel: Kernel, inputs: Inputs) -> tuple[Any, Callable[[Packed], Theta]]:
    """Return the entries, or a number where all are equal, and the pull-back from the entries of symmetric weights."""
    if isinstance(kernel, Sum | Product):
        (K1, pull1), (K2, pull2) = _of(kernel.k1, inputs), _of(kernel.k2, inputs)
        if isinstance(kernel, Sum):
            return K1 + K2, lambda w: np.concatenate([pull1(w), pull2(w)])
        return K1 * K2, lambda w: np.concatenate([_weighted(pull1, K2, w), _weighted(pull2, K1, w)])
    if isinstance(kernel, Exponentiation):
        K, pull = _of(kernel.kernel, inputs)
        return K**kernel.exponent, lambda w: pull(w * (kernel.exponent * K ** (kernel.exponent - 1)))
    P = len(inputs.X)
    if isinstance(kernel, NNGPKernel):
        K, pulled = kernel.linearised(inputs)
        return _packed(K), lambda w: pulled(_lower(w, P))
    if type(kernel) is ConstantKernel:
        constant, learned = kernel.constant_value, _learned(kernel.constant_value_bounds)
        return constant, lambda w: np.full(learned, constant * (2 * w.sum() - w[inputs.diagonal].sum()))
    if type(kernel) is WhiteKernel:
        noise, learned = np.zeros(inputs.entries), _learned(kernel.noise_level_bounds)
        noise[inputs.diagonal] = kernel.noise_level
        return noise, lambda w: np.full(learned, kernel.noise_level * w[inputs.diagonal].sum())
    if type(kernel) is RBF or (type(kernel) is Matern and kernel.nu in PROFILES):
        return _stationary(kernel, inputs)

    def contract(w: Packed) -> Theta:
        slopes = kernel(inputs.X, eval_gradient=True)[1]
        return np.array([_inner(w, _packed(slope), inputs) for slope in np.moveaxis(slopes, 2, 0)])

    return _packed(kernel(inputs.X)), contract


def _learned(bounds: Any) -> int:
    """Return 1 or, for a number that is fixed, 0: scikit-learn's `n_dims` looks through all attributes of a kernel."""
    return int(not isinstance(bounds, str))


def _weighted(pull: Callable[[Packed], Theta], K: Any, w: Packed) -> Theta:
    """Return the pull-back of w K."""
    return pull(w * K) if np.ndim(K) else K * pull(w)


def _inner(w: Packed, v: Packed, inputs: Inputs) -> float:
    """Return Σ_ij W_ij V_ij over both triangles."""
    return 2 * (w @ v) - w[inputs.diagonal] @ v[inputs.diagonal]


def _half(r2: Packed) -> tuple[Packed, Packed]:
    r = np.sqrt(r2)
    decay = np.exp(-r)
    return decay, decay / np.where(r > 0, r, np.inf)


def _three_halves(r2: Packed) -> tuple[Packed, Packed]:
    z = np.sqrt(3 * r2)
    decay = np.exp(-z)
    return (1 + z) * decay, 3 * decay


def _five_halves(r2: Packed) -> tuple[Packed, Packed]:
    z = np.sqrt(5 * r2)
    decay = np.exp(-z)
    return (1 + z + z * z / 3) * decay, 5 / 3 * (1 + z) * decay


def _gaussian(r2: Packed) -> tuple[Packed, Packed]:
    decay = np.exp(-r2 / 2)
    return decay, decay


# by ν of Matern kernels: k and s = −(1/r) dk/dr as functions of r², of which s counts for r > 0 only
PROFILES: dict[float, Profile] = {
    0.5: _half,
    1.5: _three_halves,
    2.5: _five_halves,
    np.inf: _gaussian,
}


def _between(inputs: Inputs, places: Int[np.ndarray, " k"], v: Float[np.ndarray, " k"]) -> Float[np.ndarray, " N0"]:
    """Return Σ v (x_id − x_jd)² over some of the entries, from the differences themselves."""
    total = np.zeros(inputs.X.shape[1])
    for block in slices(len(places), BLOCK):
        at = places[block]
        j = np.searchsorted(inputs.diagonal, at, side="right") - 1
        i = j + at - inputs.diagonal[j]
        total += v[block] @ (inputs.X[i] - inputs.X[j]) ** 2
    return total


def _by_slopes(w: Packed, profile: Profile, scale: float, d2: Packed) -> Packed:
    """Return w s."""
    v = np.empty(len(w))
    for block in slices(len(w), BLOCK):
        np.multiply(w[block], profile(scale * d2[block])[1], out=v[block])
    return v


def _stationary(kernel: RBF, inputs: Inputs) -> tuple[Packed, Callable[[Packed], Theta]]:
    """Return the same for RBF and Matern kernels: ∂K_ij/∂log l_d = s_ij (x_id − x_jd)²/l_d², their sum for one l."""
    isotropic, scaled = np.size(kernel.length_scale) == 1, (inputs.X - inputs.X.mean(axis=0)) / kernel.length_scale
    if isotropic:
        d2, scale = inputs.squared_distances, float(1 / np.square(kernel.length_scale).item())
    else:
        d2, scale = _squared_distances(scaled), 1.0
    profile = PROFILES[getattr(kernel, "nu", np.inf)]
    K, slopes = np.empty(inputs.entries), np.empty(inputs.entries if inputs.entries <= KEPT else 0)
    for block in slices(len(d2), BLOCK):
        K[block], slope = profile(scale * d2[block])
        if len(slopes):
            slopes[block] = slope

    def pull(w: Packed) -> Theta:
        if not _learned(kernel.length_scale_bounds):
            return np.empty(0)
        v = w * slopes if len(slopes) else _by_slopes(w, profile, scale, d2)
        if isotropic:
            return np.array([2 * scale * (v @ d2)])
        close = np.flatnonzero(d2 <= CLOSE * d2.max())
        apart = _between(inputs, close, v[close]) / np.square(kernel.length_scale)
        v[close] = 0
        V = _lower(v, len(scaled))
        ends = V.sum(axis=0) + V.sum(axis=1)
        return 2 * apart + 2 * (ends @ scaled**2) - 4 * np.sum(scaled * (V @ scaled), axis=0)

    return K, pull
