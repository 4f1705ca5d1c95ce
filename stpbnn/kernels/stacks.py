"""Kernels of a network at many values of its order parameters (4.1), for quadratures over them.

Where one tile holds the whole matrix, a call computes a stack of matrices: a small matrix costs less than a call.
Larger matrices are computed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from stpbnn._slices import slices
from stpbnn.kernels.closures import Closure, Gram
from stpbnn.kernels.maps import GramMap, renormalised_map
from stpbnn.kernels.tiles import CrossKernel, Tile, cross_kernel, input_cross_tile, lower_triangle, map_tiles
from stpbnn.network import FullyConnected

__all__ = ["cross_kernels", "symmetric_kernels"]

MOST, ENTRIES = 64, 2**18  # matrices of a stack, and numbers in it


@partial(jax.jit, static_argnames=("function", "part"))
def _stacked(function: Callable[..., Gram], arguments: tuple[Any, ...], Q: Any, gram: Gram, part: slice) -> Any:
    """Return the kernels for a stack of order parameters."""
    return jax.vmap(lambda q: function(*arguments, q, gram)[part])(Q)


def _stacks(kernels: GramMap, Q: Float[np.ndarray, "n L"], gram: Gram, part: slice) -> Iterator[list[np.ndarray]]:
    """Yield kernels at each Q; stacks that are not full are filled up with copies of the last Q."""
    size = max(1, min(MOST, ENTRIES // gram.entries.size))
    for rows in slices(len(Q), size):
        here = Q[rows]
        full = np.pad(here, ((0, size - len(here)), (0, 0)), mode="edge")
        found = [np.asarray(values) for values in _stacked(kernels.func, kernels.args[:-1], full, gram, part)]  # type: ignore[attr-defined]
        yield from ([values[i] for values in found] for i in range(len(here)))


def symmetric_kernels(
    net: FullyConnected, Q: Float[np.ndarray, "n L"], closure: Closure, tiles: list[Tile], examples: int
) -> Iterator[Float[np.ndarray, "P P"]]:
    """Yield the lower triangle of K^R(Q) on the training set for each Q, in Fortran's order.

    Parameters
    ----------
    net : FullyConnected
        The network.
    Q : array of shape (n, L)
        Order parameters, one row for each kernel.
    closure : {"nested", "global", "wishart"}
        How the order parameters enter the kernel.
    tiles : list of Tile
        C on the training set, as `input_tiles` returns it.
    examples : int
        P.
    """
    if len(tiles) > 1:
        for q in Q:
            yield lower_triangle(map_tiles(renormalised_map(net, q, closure), tiles), examples)
        return
    for (entries,) in _stacks(renormalised_map(net, Q, closure), Q, tiles[0].values, slice(1)):
        yield lower_triangle([tiles[0]._replace(values=entries)], examples)


def cross_kernels(
    net: FullyConnected,
    Q: Float[np.ndarray, "n L"],
    closure: Closure,
    X1: Float[np.ndarray, "q N0"],
    X2: Float[np.ndarray, "P N0"],
) -> Iterator[CrossKernel]:
    """Yield K^R(Q) between two sets of inputs, with the variances of both, for each Q."""
    tile = input_cross_tile(net.prior, X1, X2)
    if tile is None:
        for q in Q:
            yield cross_kernel(renormalised_map(net, q, closure), net.prior, X1, X2)
        return
    for entries, left, right in _stacks(renormalised_map(net, Q, closure), Q, tile, slice(3)):
        yield CrossKernel(entries[: len(X1), : len(X2)], left[: len(X1)], right[: len(X2)])
