"""Products with a symmetric matrix in tiles of single precision, held in memory or made anew each time.

The lower triangle alone is held: 7.2 GB for 60,000 rows. A product is in single precision within a tile and in double
precision between tiles, each tile serving its rows and its columns at once. Tiles are shared out between the devices of
this process, and between processes where JAX's distributed runtime has started several: each works with its own tiles,
and the sum of what they find is known to all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stpbnn._memory import available
from stpbnn.iterative.hours import warn_of_hours

__all__ = ["Blocks", "TiledMatrix"]

LARGEST, SMALLEST = 2048, 64  # rows of a tile
VECTORS = 32  # vectors in the product whose time is measured
AHEAD = 4  # tiles that are under way on each device
HELD = 0.8  # share of the free memory that tiles may take; beyond it they are made anew for each product

Blocks = Callable[[slice, slice], Float[np.ndarray, "n m"]]


@partial(jax.jit, static_argnames="mirrored")
def _products(tile: jax.Array, rows: jax.Array, columns: jax.Array, mirrored: bool) -> tuple[jax.Array, ...]:
    """Return tile times columns and, of a tile beside the diagonal, the transposed tile times rows."""
    tile = tile.astype(columns.dtype)
    with jax.default_matmul_precision("highest"):
        first = (tile @ columns).astype(jnp.float64)
        return (first, (rows.T @ tile).T.astype(jnp.float64)) if mirrored else (first,)


@dataclass(frozen=True)
class TiledMatrix:
    """A symmetric matrix in tiles.

    Parameters
    ----------
    size : int
        P, the number of rows.
    blocks : callable
        From rows and columns to that block, in double precision.
    edge : int
        Rows of a tile.
    held : dict
        The tiles that are held, in single precision, by their place; none where they are made again for each product.
    trace, squares : float
        The sum of the diagonal, and of the squares of all entries, as they are in single precision.
    """

    size: int
    blocks: Blocks
    edge: int
    held: dict[tuple[int, int], jax.Array]
    trace: float
    squares: float

    @classmethod
    def of(cls, size: int, blocks: Blocks, *, edge: int | None = None, hold: bool | None = None) -> TiledMatrix:
        """Make every tile once, and hold them where there is memory for it.

        Examples
        --------
        >>> K = np.array([[2.0, 1.0], [1.0, 3.0]])
        >>> with jax.enable_x64(True):
        ...     tiled = TiledMatrix.of(2, lambda rows, columns: K[rows, columns])
        ...     tiled.trace, tiled.squares, tiled.product(np.ones((2, 1))).ravel()
        (5.0, 15.0, array([3., 4.]))
        """
        edge = edge or min(LARGEST, max(SMALLEST, 1 << (size - 1).bit_length()))
        hold = cls.bytes_held(size) < HELD * available() if hold is None else hold
        tiled = cls(size, blocks, edge, {}, 0.0, 0.0)
        tiled._look_ahead(hold)
        trace = squares = 0.0
        for i, j, device in tiled._places():
            block = blocks(tiled._part(i), tiled._part(j)).astype(np.float32).astype(np.float64)  # as in products
            trace += float(np.trace(block)) if i == j else 0.0
            squares += (1 + (i != j)) * float(np.vdot(block, block))
            if hold:
                tiled.held[i, j] = tiled._tile(block, device)
        return cls(size, blocks, edge, tiled.held, *_over_processes(np.array([trace, squares])).tolist())

    def _look_ahead(self, held: bool) -> None:
        """Warn where products take hours."""
        device, other = jax.local_devices()[0], min(self.size - 1, self.edge) // self.edge
        vectors = np.ones((self.edge, VECTORS), np.float32)

        def make() -> jax.Array:
            return self._tile(self.blocks(self._part(other), self._part(0)), device)

        def multiply(tile: jax.Array) -> list[np.ndarray]:
            return [np.asarray(part) for part in _products(tile, vectors, vectors, True)]

        warn_of_hours(self.size, self.edge, make, multiply, held=held, processes=jax.process_count())

    @staticmethod
    def bytes_held(size: int) -> int:
        """Return the bytes that the tiles of so many rows take on this process."""
        return 2 * size * (size + LARGEST) // jax.process_count()

    def _part(self, i: int) -> slice:
        return slice(i * self.edge, min((i + 1) * self.edge, self.size))

    def _places(self) -> Iterator[tuple[int, int, jax.Device]]:
        """Yield the places of this process's tiles in the lower triangle, and the device of each."""
        parts, (devices, processes) = -(-self.size // self.edge), (jax.local_devices(), jax.process_count())
        places = [(i, j) for i in range(parts) for j in range(i + 1)]
        mine = places[jax.process_index() :: processes]
        return ((*place, devices[n % len(devices)]) for n, place in enumerate(mine))

    def _tile(self, block: Float[np.ndarray, "n m"], device: jax.Device) -> jax.Array:
        """Return a block in single precision on its device, filled up with zeros."""
        tile = np.zeros((self.edge, self.edge), np.float32)
        tile[: block.shape[0], : block.shape[1]] = block
        return jax.device_put(tile, device)

    def product(self, V: Float[np.ndarray, "P m"], precision: Any = np.float32) -> Float[np.ndarray, "P m"]:
        """Return the matrix times V, within a tile in that precision."""
        parts = -(-self.size // self.edge)
        filled = np.zeros((parts, self.edge, V.shape[1]), precision)
        filled.reshape(-1, V.shape[1])[: self.size] = V
        there = {device: [jax.device_put(part, device) for part in filled] for device in jax.local_devices()}
        total, pending = np.zeros(filled.shape), deque[tuple[int, int, Any]]()
        for i, j, device in self._places():
            tile = self.held.get((i, j))
            if tile is None:
                tile = self._tile(self.blocks(self._part(i), self._part(j)), device)
            pending.append((i, j, _products(tile, there[device][i], there[device][j], i != j)))
            if len(pending) > AHEAD * len(there):
                _add(total, *pending.popleft())
        for found in pending:
            _add(total, *found)
        return _over_processes(total).reshape(-1, V.shape[1])[: self.size]


def _add(total: Float[np.ndarray, "n e m"], i: int, j: int, found: tuple[jax.Array, ...]) -> None:
    for place, part in zip((i, j), found, strict=False):
        total[place] += np.asarray(part)


def _over_processes(values: np.ndarray) -> np.ndarray:
    """Return the sum over all processes."""
    if jax.process_count() == 1:
        return values
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(values)).sum(axis=0)
