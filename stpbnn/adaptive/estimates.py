r"""What a move of the particles shows: averages with their control variate, and the response of the layer below."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stpbnn.adaptive.fields import Averages, Problem, padded, up
from stpbnn.adaptive.layers import Lower, Whole, features
from stpbnn.adaptive.neuron import Drive, posterior_readout
from stpbnn.adaptive.particles import Move, walk

__all__ = ["Snapshot", "estimate", "links", "modes", "screen", "snapshot"]

MODES = 3  # of the backward signal: the rest of Γ is a few per cent


class Snapshot(NamedTuple):
    """Clusters at one iteration, with their twins and readout, and the coefficient of the control variate.

    In deep networks also the modes (K, P) of the backward signal.
    """

    position: np.ndarray
    twin: np.ndarray
    covariance: np.ndarray
    mean: np.ndarray
    control: np.ndarray
    modes: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """The covariance of the readouts of the cluster's own units."""
        return self.covariance[:, :, :, : self.position.shape[1]]


def estimate(problem: Problem, moved: Move) -> tuple[Averages, np.ndarray]:
    """Return the moments of a move, with the control variate, and its coefficient (D, D)."""
    D, P = problem.outputs, len(problem.kernel)
    kernel, second, mean, untilted = (np.asarray(m, dtype=float)[..., :P] for m in moved.moments)
    control = np.asarray(jnp.einsum("midie->de", moved.readout.covariance[:, :, :, : problem.cluster]), dtype=float)
    control /= moved.position.shape[0] * problem.cluster
    control *= problem.precision * float(moved.acceptance * moved.likeness)
    known = np.kron(control, problem.kernel - untilted[:P])

    def whole(blocks: np.ndarray) -> np.ndarray:
        return blocks[:, :, :P].transpose(0, 2, 1, 3).reshape(D * P, D * P)

    return Averages(whole(kernel) + known, whole(second) + known, mean.ravel()), control


def snapshot(problem: Problem, moved: Move, felt: Drive, control: np.ndarray) -> Snapshot:
    """Return the particles of a move, in single precision as they are."""
    P, rank = problem.root.shape
    position, twin = (np.asarray(x)[..., : rank + links(problem)] for x in (moved.position, moved.twin))
    modes = np.empty((0, P), np.float32) if felt.modes is None else np.asarray(felt.modes)[:, :P]
    return Snapshot(
        position, twin, np.asarray(moved.readout.covariance), np.asarray(moved.readout.mean), control, modes
    )


def links(problem: Problem) -> int:
    """Return how many weights between layers a unit has among its coordinates."""
    return problem.cluster if isinstance(problem.sigma, Whole) else 0


def modes(problem: Problem, slopes: Float[np.ndarray, "P P"] | None) -> jax.Array:
    """Return the leading eigenvectors of Γ times the roots of its eigenvalues: readouts of prior precision λ_2."""
    found = np.zeros((MODES, len(problem.kernel)))
    if slopes is not None:
        P = len(slopes)
        values, vectors = eigh(slopes, subset_by_index=(max(0, P - MODES), P - 1))
        found[: len(values)] = (vectors * np.sqrt(problem.precision * np.maximum(values, 0))).T
    return padded(found, MODES, up(len(problem.kernel)))


@partial(jax.jit, static_argnames=("sigma",))
def screen(
    sigma: Lower, key: jax.Array, position: jax.Array, root: jax.Array, drive: Drive, steps: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Move units of the layer below, and return them and what their response takes away from Γ∘E[σσ^T]/λ_1.

    That is the prior second moment of what they add to the output, less that in the fields, at the same features.
    """

    def featured(z: jax.Array) -> jax.Array:
        return features(sigma, z, root, drive.modes)

    position, _, _ = walk(featured, key, position, drive, steps)
    there = featured(position)
    readout, _, _ = posterior_readout(there, drive)
    M, K, P = there.shape
    lost = jnp.eye(K, dtype=there.dtype) / drive.precision - readout.covariance[:, :, 0, :, 0]
    share = jnp.einsum("mk,mkp->mp", readout.mean[:, :, 0], there)
    return position, (there.reshape(-1, P).T @ (lost @ there).reshape(-1, P) - share.T @ share) / M
