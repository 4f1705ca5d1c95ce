"""Symmetric kernels of a training set, tile by tile of their lower triangle.

Every kernel map acts on the entries of a Gram matrix one by one, so that a tile of C is all that a tile of K^R needs.
Tiles have one shape, which is compiled once for all training sets; half of the matrix is never computed; and while one
tile is copied into place, the next are under way. What is stored is the lower triangle, in the order that LAPACK reads;
entries above it mean nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stpbnn.kernels.closures import input_gram
from stpbnn.kernels.maps import KernelMap
from stpbnn.network import Prior

__all__ = ["Tile", "input_tiles", "lower_triangle", "symmetric_kernel", "symmetrised", "weight_tiles"]

LARGEST, SMALLEST = 256, 16  # rows of a tile: what stays in a core's cache; fewer for small training sets
AHEAD = 4  # tiles that are under way while one is put into its place

_input_gram = jax.jit(input_gram)


class Tile(NamedTuple):
    """A tile of a symmetric matrix: its rows and columns below the diagonal, and the (b, b) values, columns first.

    Tiles at the lower and right edges are filled up with copies of the last example.
    """

    rows: slice
    columns: slice
    values: Any


def _blocks(X: Float[np.ndarray, "P N0"]) -> list[tuple[slice, Array]]:
    """Return blocks of as many rows each, the last one filled up, and where they lie."""
    P = len(X)
    size = min(LARGEST, max(SMALLEST, 1 << (P - 1).bit_length()))
    rows = [slice(start, min(start + size, P)) for start in range(0, P, size)]
    return [(part, jnp.asarray(X[np.minimum(np.arange(part.start, part.start + size), P - 1)])) for part in rows]


def _tiles(
    X: Float[np.ndarray, "P N0"], diagonal: Callable[[Array], Any], other: Callable[[Array, Array], Any]
) -> Iterator[Tile]:
    """Yield the tiles of the lower triangle, a few of them computed ahead."""
    blocks = _blocks(X)
    pending: deque[Tile] = deque()
    for i, (columns, left) in enumerate(blocks):
        for j, (rows, right) in enumerate(blocks[i:]):
            pending.append(Tile(rows, columns, other(left, right) if j else diagonal(left)))
            if len(pending) > AHEAD:
                yield pending.popleft()
    yield from pending


def input_tiles(prior: Prior, X: Float[np.ndarray, "P N0"]) -> list[Tile]:
    """Return the tiles of C, the Gram matrix of the inputs X (P, N_0)."""
    return list(_tiles(X, lambda x: _input_gram(prior, x), lambda x, y: _input_gram(prior, x, y)))


def lower_triangle(tiles: Iterable[Tile], examples: int) -> Float[np.ndarray, "P P"]:
    """Put the tiles of a symmetric matrix of that many examples together."""
    upper = np.zeros((examples, examples))
    for rows, columns, values in tiles:
        place = upper[columns, rows]
        place[...] = np.asarray(values)[: place.shape[0], : place.shape[1]]
    return upper.T


def symmetrised(lower: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """Return a symmetric matrix from its lower triangle."""
    below = np.triu(lower.T, 1)
    return (below.T + below + np.diag(np.diag(lower))).T


@jax.jit
def _own(kernel: KernelMap, prior: Prior, X: Array) -> Array:
    return kernel(input_gram(prior, X)).entries


@jax.jit
def _between(kernel: KernelMap, prior: Prior, X1: Array, X2: Array) -> Array:
    return kernel(input_gram(prior, X1, X2)).entries


def symmetric_kernel(kernel: KernelMap, prior: Prior, X: Float[np.ndarray, "P N0"]) -> Float[np.ndarray, "P P"]:
    """Return the lower triangle of a kernel of a set of inputs with itself.

    Parameters
    ----------
    kernel : KernelMap
        From C to the kernel.
    prior : Prior
        Weight precisions and bias variance.
    X : array of shape (P, N_0)
        Inputs.

    Examples
    --------
    >>> from stpbnn.kernels.maps import nngp_map
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((10,), "linear")
    >>> np.tril(symmetric_kernel(nngp_map(net), net.prior, np.array([[1.0], [2.0]]))).tolist()
    [[1.0, 0.0], [2.0, 4.0]]
    """
    tiles = _tiles(X, lambda x: _own(kernel, prior, x), lambda x, y: _between(kernel, prior, x, y))
    return lower_triangle(tiles, len(X))


def weight_tiles(tiles: Iterable[Tile], lower: Float[np.ndarray, "P P"]) -> list[Float[np.ndarray, "b b"]]:
    """Return tiles of W so that <W, K>, over both triangles, is the sum of their products with those of K.

    Parameters
    ----------
    tiles : iterable of Tile
        The tiles of C, which say where.
    lower : array of shape (P, P)
        A symmetric matrix W, whose lower triangle is read.
    """
    found = []
    for rows, columns, gram in tiles:
        weight = np.zeros(gram.entries.shape)
        part = lower.T[columns, rows]
        weight[: part.shape[0], : part.shape[1]] = 2 * part
        if rows == columns:
            weight = np.triu(weight, 1) + np.diag(np.diag(weight) / 2)
        found.append(weight)
    return found
