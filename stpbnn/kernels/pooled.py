r"""The kernel of a convolutional network's outputs: what its readout makes of the kernels at pairs of positions.

With :math:`K_{ij}` the kernels of the last hidden layer at positions i and j, d of them,

.. math:: \bar K = \frac1{\lambda_L d} \sum_i K_{ii}, \qquad \bar K = \frac1{\lambda_L d^2} \sum_{ij} K_{ij}

where the readout has weights of its own at each position, and where it sees their average.
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
from jaxtyping import Array, Float

from stpbnn._slices import slices
from stpbnn.kernels.closures import Gram
from stpbnn.kernels.patch_grams import patch_gram
from stpbnn.kernels.patches import Layers, PatchPair, filled, pair_tiles, patches
from stpbnn.network import Convolutional, Prior

__all__ = ["PooledMap"]

AHEAD = 2  # tiles that are under way while one is put into its place
ROWS = 256  # inputs whose variances are found at a time


def _entries(layers: Layers, pairs: bool, prior: Prior, seen: PatchPair) -> Array:
    K = patch_gram(layers, prior, seen, pairs=pairs).entries
    return jnp.mean(K, axis=(0, 1) if pairs else 0) / prior.precisions[-1]


_tile = jax.jit(_entries, static_argnums=(0, 1))


@partial(jax.jit, static_argnums=(0, 1))
def _variances(layers: Layers, pairs: bool, prior: Prior, X: Float[Array, "d n pixels"]) -> Float[Array, " n"]:
    """Return the variances, input by input."""
    same = jnp.ones((1, 1), dtype=bool)
    one = partial(_entries, layers, pairs, prior)
    return jax.lax.map(lambda x: one(PatchPair(x[:, None], x[:, None], same))[0, 0], jnp.moveaxis(X, 1, 0))


@partial(jax.jit, static_argnums=(0, 1))
def _tile_and_slopes(layers: Layers, pairs: bool, prior: Prior, seen: PatchPair) -> tuple[Array, Prior]:
    """Return a tile of K with the output bias, and its derivatives in the numbers of the prior."""

    def of(numbers: Prior) -> Array:
        return _entries(layers, pairs, numbers, seen) + numbers.bias_variance

    return of(prior), jax.jacfwd(of)(prior)


@partial(jax.jit, static_argnums=(0, 1))
def _pulled(layers: Layers, pairs: bool, prior: Prior, seen: PatchPair, weight: Array) -> Prior:
    return jax.grad(lambda p: jnp.vdot(weight, _entries(layers, pairs, p, seen) + p.bias_variance))(prior)


@dataclass(frozen=True)
class PooledMap:
    """From inputs to Q K̄ + b, the kernel of a convolutional network's outputs at one scale of its last features.

    Parameters
    ----------
    layers : Layers
        Activation and windows.
    pairs : bool
        Whether the readout sees the average over positions, so that all pairs of them count.
    prior : Prior
        L + 1 weight precisions and the bias variance of the hidden layers.
    scale, bias : float
        Q, and b, the variance of the output bias.
    """

    layers: Layers
    pairs: bool
    prior: Prior
    scale: float = 1.0
    bias: float = 0.0

    @classmethod
    def of(cls, net: Convolutional, scale: float = 1.0, bias: float = 0.0) -> PooledMap:
        """Return the map of a network.

        Examples
        --------
        >>> net = Convolutional((4,), kernel_size=1, image=(1, 2, 1), activation="linear")
        >>> with jax.enable_x64(True):
        ...     PooledMap.of(net).within(np.array([[3.0, 5.0]])).item()
        17.0
        """
        return cls(Layers.of(net), net.readout == "mean", net.prior, scale, bias)

    def within(self, X: Float[np.ndarray, "P features"]) -> Float[np.ndarray, "P P"]:
        """Return the lower triangle of the kernel of a set of inputs with itself, in Fortran's order."""
        lower = np.zeros((len(X), len(X)), order="F")
        for place, values in self._tiles(X, None, _tile):
            lower[place] = self.scale * values + self.bias
        return np.triu(lower.T).T

    def between(self, X1: Float[np.ndarray, "n features"], X2: Float[np.ndarray, "m features"]) -> Gram:
        """Return the kernel between two sets of inputs, with the variances of both, as NumPy arrays."""
        entries = np.empty((len(X1), len(X2)))
        for place, values in self._tiles(X1, X2, _tile):
            entries[place] = self.scale * values + self.bias
        return Gram(entries, self.variances(X1), self.variances(X2))  # type: ignore[arg-type]

    def variances(self, X: Float[np.ndarray, "n features"]) -> Float[np.ndarray, " n"]:
        """Return the variances at inputs."""
        found, rows = np.empty(len(X)), min(len(X), ROWS)
        for part in slices(len(X), rows):
            seen = filled(patches(self.layers, X[part]), rows)
            values = np.asarray(_variances(self.layers, self.pairs, self.prior, seen))
            found[part] = values[: part.stop - part.start]
        return self.scale * found + self.bias

    def slopes(self, X: Float[np.ndarray, "P features"]) -> tuple[np.ndarray, Prior]:
        """Return K̄ + 1/λ_b of a set of inputs with itself, and its derivatives in the numbers of the prior."""
        whole = [np.empty((len(X), len(X))) for _ in range(1 + len(jax.tree.leaves(self.prior)))]
        for place, found in self._tiles(X, None, _tile_and_slopes):
            for matrix, values in zip(whole, jax.tree.leaves(found), strict=True):
                matrix[place] = values
                matrix.T[place] = values
        return whole[0], jax.tree.unflatten(jax.tree.structure(self.prior), whole[1:])

    def pullback(self, X: Float[np.ndarray, "P features"], lower: Float[np.ndarray, "P P"]) -> Prior:
        """Return <W, ∂K/∂·> in the numbers of the prior for symmetric W, whose lower triangle is read."""
        total = jax.tree.map(lambda _: 0.0, self.prior)
        for rows, columns, seen in pair_tiles(self.layers, X, None, pairs=self.pairs):
            weight, part = np.zeros(seen.same.shape), lower[rows, columns]
            weight[: part.shape[0], : part.shape[1]] = (
                np.tril(part, -1) + np.tril(part) if rows == columns else 2 * part
            )
            found = _pulled(self.layers, self.pairs, self.prior, seen, weight)
            total = jax.tree.map(lambda a, b: a + float(b), total, found)
        return total

    def _tiles(
        self,
        X1: Float[np.ndarray, "n features"],
        X2: Float[np.ndarray, "m features"] | None,
        function: Callable[..., Any],
    ) -> Iterator[tuple[tuple[slice, slice], Any]]:
        """Yield places and values of tiles, while the next few of them are computed."""
        pending: deque[tuple[tuple[slice, slice], Any]] = deque()

        def settled() -> tuple[tuple[slice, slice], Any]:
            place, values = pending.popleft()
            sizes = tuple(slice(part.stop - part.start) for part in place)
            return place, jax.tree.map(lambda array: np.asarray(array)[sizes], values)

        for rows, columns, seen in pair_tiles(self.layers, X1, X2, pairs=self.pairs):
            pending.append(((rows, columns), function(self.layers, self.pairs, self.prior, seen)))
            if len(pending) > AHEAD:
                yield settled()
        while pending:
            yield settled()
