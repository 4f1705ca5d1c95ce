"""Kernels of sets of inputs, tile by tile.

The products of the inputs are one matrix multiplication. Every kernel map acts on the entries of their Gram matrix one
by one, so that a tile of C is all that a tile of K^R needs. Tiles have few shapes, which are compiled once for all sets
of inputs; and while one tile is copied into place, the next are under way. The kernel of a set with itself is computed
by half: its lower triangle is stored in the order that LAPACK reads, with zeros above it.

Matrices of that size are multiplied by SciPy's BLAS, here and elsewhere: NumPy has a library of its own, whose threads
would wait for work on the cores that SciPy's and XLA's want.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import blas

from stpbnn._linalg import gram as products
from stpbnn._linalg import mirrored
from stpbnn._slices import slices
from stpbnn.kernels.closures import Gram
from stpbnn.kernels.maps import GramMap, KernelMap
from stpbnn.kernels.pooled import PooledMap
from stpbnn.network import Prior

__all__ = [
    "CrossKernel",
    "Tile",
    "cross_kernel",
    "input_cross_tile",
    "input_tiles",
    "lower_triangle",
    "map_tiles",
    "symmetric_kernel",
    "weight_tiles",
]

LARGEST, SMALLEST = 256, 16  # rows of a tile: what stays in a core's cache; fewer for small training sets
HALVES = range(128, LARGEST, 32)  # and where they leave out a part of what tiles are filled up with
SAVED = 0.75  # share of the entries that must not be exceeded then
AHEAD = 4  # tiles that are under way while one is put into its place


class Tile(NamedTuple):
    """A tile of a symmetric matrix: its rows and columns below the diagonal, and the (b, b) values, columns first.

    Tiles at the lower and right edges are filled up with copies of the last example.
    """

    rows: slice
    columns: slice
    values: Any


class CrossKernel(NamedTuple):
    """A kernel between two sets of inputs (n, m), with the variances of both sets: a `Gram` of NumPy arrays."""

    entries: Float[np.ndarray, "n m"]
    left: Float[np.ndarray, " n"]
    right: Float[np.ndarray, " m"]


def _size(examples: int) -> int:
    return min(LARGEST, max(SMALLEST, 1 << (examples - 1).bit_length()))


def _size_of_symmetric(examples: int) -> int:
    """Return the number of rows of a tile that wastes least at the edges of a triangle of several tiles."""

    def entries(size: int) -> int:
        number = -(-examples // size)
        return number * (number + 1) // 2 * size**2

    least = min(HALVES, key=entries)
    return least if examples > LARGEST and entries(least) < SAVED * entries(LARGEST) else _size(examples)


def _places(examples: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Yield columns and rows of the tiles of the lower triangle."""
    parts = slices(examples, size)
    return ((columns, rows) for i, columns in enumerate(parts) for rows in parts[i:])


def _filled(part: Float[np.ndarray, ...], *sizes: int) -> Array:
    """Return a copy of a tile, or of the variances beside it, filled up with copies of its last example."""
    missing = [(0, size - n) for size, n in zip(sizes, part.shape, strict=True)]
    return jax.device_put(np.pad(part, missing, mode="edge") if np.any(missing) else part.copy())


@partial(jax.jit, static_argnames="own")
def _gram(prior: Prior, scale: float, products: Array, left: Array, right: Array, own: bool) -> Gram:
    gram = Gram(*(scale * values + prior.bias_variance for values in (products, left, right)))
    # x = x' to the last digit: no rounding sets the diagonal apart
    return gram._replace(entries=jnp.fill_diagonal(gram.entries, gram.left, inplace=False)) if own else gram


@partial(jax.jit, static_argnames="own")
def _kernel(kernel: GramMap, prior: Prior, scale: float, products: Array, left: Array, right: Array, own: bool) -> Gram:
    return kernel(_gram(prior, scale, products, left, right, own))


@jax.jit
def _entries(kernel: GramMap, gram: Gram) -> Array:
    return kernel(gram).entries


def _ahead(tiles: Iterable[Tile]) -> Iterator[Tile]:
    """Yield tiles while the next few of them are computed."""
    pending: deque[Tile] = deque()
    for tile in tiles:
        pending.append(tile)
        if len(pending) > AHEAD:
            yield pending.popleft()
    yield from pending


def _sides(X: Float[np.ndarray, "n N0"], size: int) -> list[Array]:
    """Return the squares of the inputs along the side of each tile."""
    squares = np.einsum("ij,ij->i", X, X)
    return [_filled(squares[part], size) for part in slices(len(X), size)]


def _input_tiles(
    prior: Prior, X: Float[np.ndarray, "P N0"], upper: Float[np.ndarray, "P P"], function: Callable[..., Any]
) -> Iterator[Tile]:
    """Yield tiles of a function of products and squares of the inputs."""
    size, scale = _size_of_symmetric(len(X)), 1 / (prior.precisions[0] * X.shape[1])
    sides = _sides(X, size)
    for columns, rows in _places(len(X), size):
        left, right = sides[columns.start // size], sides[rows.start // size]
        products = _filled(upper[columns, rows], size, size)
        yield Tile(rows, columns, function(prior, scale, products, left, right, own=rows == columns))


def input_tiles(prior: Prior, X: Float[np.ndarray, "P N0"]) -> list[Tile]:
    """Return the tiles of C, the Gram matrix of the inputs X (P, N_0)."""
    return list(_input_tiles(prior, X, products(X), _gram))


def map_tiles(kernel: GramMap, grams: Iterable[Tile]) -> Iterator[Tile]:
    """Yield the tiles of a kernel from those of C."""
    return _ahead(tile._replace(values=_entries(kernel, tile.values)) for tile in grams)


def lower_triangle(
    tiles: Iterable[Tile], examples: int, upper: Float[np.ndarray, "P P"] | None = None
) -> Float[np.ndarray, "P P"]:
    """Return the lower triangle that tiles make up, written over a given matrix where asked."""
    upper = np.zeros((examples, examples)) if upper is None else upper
    for rows, columns, values in tiles:
        place = upper[columns, rows]
        part = np.asarray(values)[: place.shape[0], : place.shape[1]]
        place[...] = np.triu(part) if rows == columns else part
    return upper.T


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
    if isinstance(kernel, PooledMap):
        return kernel.within(X)
    upper = products(X)
    tiles = _ahead(_input_tiles(prior, X, upper, partial(_kernel, kernel)))
    return lower_triangle((tile._replace(values=tile.values.entries) for tile in tiles), len(X), upper)


def cross_kernel(
    kernel: KernelMap, prior: Prior, X1: Float[np.ndarray, "n N0"], X2: Float[np.ndarray, "m N0"] | None = None
) -> CrossKernel:
    """Return a kernel between two sets of inputs, or of one set with itself.

    Parameters
    ----------
    kernel : KernelMap
        From C to the kernel.
    prior : Prior
        Weight precisions and bias variance.
    X1, X2 : arrays of shape (n, N_0) and (m, N_0)
        Inputs.

    Examples
    --------
    >>> from stpbnn.kernels.maps import nngp_map
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((10,), "linear")
    >>> cross_kernel(nngp_map(net), net.prior, np.array([[1.0], [2.0]]), np.array([[3.0]])).entries.tolist()
    [[3.0], [6.0]]
    """
    if X2 is None:
        within, found = symmetric_kernel(kernel, prior, X1), cross_kernel(kernel, prior, X1, X1[:1])
        return CrossKernel(mirrored(within), found.left, found.left)
    if isinstance(kernel, PooledMap):
        return CrossKernel(*map(np.asarray, kernel.between(X1, X2)))
    entries, left, right = blas.dgemm(1.0, X2.T, X1.T, trans_a=1).T, np.empty(len(X1)), np.empty(len(X2))
    for rows, columns, gram in _ahead(_cross_tiles(kernel, prior, X1, X2, entries)):
        for place, values in zip((entries[rows, columns], left[rows], right[columns]), gram, strict=True):
            place[...] = np.asarray(values)[tuple(map(slice, place.shape))]
    return CrossKernel(entries, left, right)


def _cross_tiles(
    kernel: GramMap,
    prior: Prior,
    X1: Float[np.ndarray, "n N0"],
    X2: Float[np.ndarray, "m N0"],
    products: Float[np.ndarray, "n m"],
) -> Iterator[Tile]:
    """Yield tiles of a kernel between two sets of inputs, row by row."""
    scale = 1 / (prior.precisions[0] * X1.shape[1])
    for rows, columns, part in _product_tiles(X1, X2, products):
        yield Tile(rows, columns, _kernel(kernel, prior, scale, *part, own=False))


def _product_tiles(
    X1: Float[np.ndarray, "n N0"], X2: Float[np.ndarray, "m N0"], products: Float[np.ndarray, "n m"]
) -> Iterator[Tile]:
    """Yield tiles of the products of two sets of inputs with the squares of both, row by row."""
    sizes = _size(len(X1)), _size(len(X2))
    lefts, rights = (
        list(zip(slices(len(X), size), _sides(X, size), strict=True)) for X, size in zip((X1, X2), sizes, strict=True)
    )
    for rows, left in lefts:
        for columns, right in rights:
            yield Tile(rows, columns, (_filled(products[rows, columns], *sizes), left, right))


def input_cross_tile(prior: Prior, X1: Float[np.ndarray, "n N0"], X2: Float[np.ndarray, "m N0"]) -> Gram | None:
    """Return C between two sets of inputs in one tile that holds all of it, or None where it takes more tiles."""
    if max(len(X1), len(X2)) > LARGEST:
        return None
    ((_, _, part),) = _product_tiles(X1, X2, blas.dgemm(1.0, X2.T, X1.T, trans_a=1).T)
    return _gram(prior, 1 / (prior.precisions[0] * X1.shape[1]), *part, own=False)


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
        place = weight[: part.shape[0], : part.shape[1]]
        place[...] = np.triu(part) if rows == columns else part
        place *= 2
        if rows == columns:
            weight[np.diag_indices_from(weight)] /= 2
        found.append(weight)
    return found
