r"""Features of clusters, of one hidden layer and of several: what the readouts of a cluster are multiplied with.

Two hidden layers, f = Σ_j v_j σ(g_j)/√N_2, g_j = Σ_i W_ji σ(h_i)/√N_1 + b_j. Single out a unit i below. It adds
X_i ∘ σ(h_i)/√N_1 to f, where the backward signal X_i = Σ_j W_ji v_j σ'(g_j)/√N_2 is a function on the examples,
Gaussian of covariance Γ/λ_1, Γ = E[v² σ'(g) σ'(g)^T], before it meets the likelihood. In the K leading eigenvectors of
Γ that is a unit of K readouts.

Single out a unit j above. Its g_j − b_j is one combination of all units below, and with W turned such that this
combination is a unit of its own, it is also what such a unit would be: all the other units above read it with weights
that are independent of W_j, so that it adds X ∘ √λ_1 (g_j − b_j)/√N_1 to f besides v_j σ(g_j)/√N_2. Readouts of both
are integrated at once. Without the second part linear networks come out wrong by as much as P/N; with it, as the saddle
point has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from stpbnn.adaptive.neuron import Readout

__all__ = ["Backward", "Lower", "Units", "Upper", "Whole", "backward", "exact_twins", "features", "own_features"]

Sigma = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Upper:
    """Units of the second layer, one in a cluster: σ(g), and g without its bias in each mode of the backward signal.

    Where there is a bias, of this standard deviation, it is the first coordinate.
    """

    sigma: Sigma
    bias: float = 0.0

    def __call__(self, g: jax.Array) -> jax.Array:
        """Return σ(g)."""
        return self.sigma(g)


@dataclass(frozen=True)
class Lower:
    """Units of the first layer, one in a cluster: σ(h) in each mode of the backward signal."""

    sigma: Sigma

    def __call__(self, h: jax.Array) -> jax.Array:
        """Return σ(h)."""
        return self.sigma(h)


@dataclass(frozen=True)
class Whole:
    """A deep network as one cluster: coordinates (rows, ...) are the weights and biases of the last layer, ..., then h.

    `precisions` are those of the weights between hidden layers. There are as many rows as units in the widest layer;
    the others leave some of them free.
    """

    sigma: Sigma
    precisions: tuple[float, ...]
    widths: tuple[int, ...]
    bias: float = 0.0

    @property
    def rows(self) -> int:
        """How many rows of coordinates there are."""
        return max(self.widths)

    @property
    def links(self) -> int:
        """How many coordinates there are besides those of h: weights, and biases where there are any."""
        return sum(self.widths[:-1]) + len(self.precisions) * (self.bias > 0)

    def above(self, z: jax.Array, root: jax.Array, free: jax.Array | float) -> jax.Array:
        """Return σ of the last layer (M, N_L, P) at coordinates z (M, rows, ...); root and what is free make h."""
        end = self.links
        there = self.sigma((z[:, :, end:] @ root.T + free)[:, : self.widths[0]])
        for below, here, precision in zip(self.widths, self.widths[1:], self.precisions, strict=False):
            end, bias = end - below - (self.bias > 0), end - 1
            scale = jnp.sqrt(jnp.asarray(precision * below, z.dtype))
            g = z[:, :here, end : end + below] @ there / scale
            there = self.sigma(g + self.bias * z[:, :here, bias : bias + 1] if self.bias else g)
        return there


Units = Sigma | Upper | Lower | Whole


def features(sigma: Units, z: jax.Array, root: jax.Array, modes: jax.Array | None) -> jax.Array:
    """Return the features (M, rows, P) of clusters at coordinates z; those of its own units come first."""
    if isinstance(sigma, Whole):
        return sigma.above(z, root, 0.0)
    h = z @ root.T
    if modes is not None and isinstance(sigma, Lower):
        return sigma(h) * modes
    if modes is not None and isinstance(sigma, Upper):
        linked = h - sigma.bias * z[..., :1] if sigma.bias else h
        return jnp.concatenate([sigma(h), linked * modes], axis=1)
    return sigma(h)


def own_features(sigma: Units, z: jax.Array, along: jax.Array, free: jax.Array) -> jax.Array:
    """Return the features (M, n, q) of the units of clusters at new inputs, whose free coordinates are told."""
    if isinstance(sigma, Whole):
        return sigma.above(z, along, free)
    return sigma(z @ along.T + free)


def exact_twins(sigma: Units) -> float:
    """Return one where the mean of σσ^T over untilted clusters is the kernel of infinite width, zero elsewhere."""
    return 0.0 if isinstance(sigma, Whole) else 1.0


class Backward(NamedTuple):
    """Γ = E[v² σ'(g) σ'(g)^T] (P, P) over units above, and √N_2 times the mean of what they add as units below (P,)."""

    slopes: jax.Array
    share: jax.Array


def backward(sigma: Sigma | Upper, z: jax.Array, root: jax.Array, there: jax.Array, readout: Readout) -> Backward:
    """Return the backward signals of units at coordinates z (M, 1, P), from their features and readouts."""
    h = (z @ root.T)[:, 0]
    _, slope = jax.jvp(sigma, (h,), (jnp.ones_like(h),))
    second = readout.covariance[:, 0, 0, 0, 0] + readout.mean[:, 0, 0] ** 2
    share = jnp.einsum("mk,mkp->p", readout.mean[:, 1:, 0], there[:, 1:]) / len(h)
    return Backward(slope.T @ (slope * second[:, None]) / len(h), share)
