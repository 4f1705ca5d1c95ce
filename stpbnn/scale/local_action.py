r"""The effective action of matrices of order parameters, one for each pair of positions, in Cholesky coordinates.

.. math::
    S(W) = \sum_l N_l (\mathrm{tr}\,W_l - \log\det W_l) + \log\det A + y^T A^{-1} y, \qquad
    A = K(Q) + b\, 11^T + T\,1

Given its readout weights v, a linear network of one convolutional layer with N channels and d positions is a Gaussian
process of the kernel K(Q), :math:`Q_{ij} = \tfrac1N \sum_a v_{ai} v_{aj}`. Hence :math:`Q \sim W_d(N, 1/N)`, a Wishart
matrix, and S is -2 log p(Q, y) under the invariant measure :math:`\mathrm{d}Q\,\det Q^{-(d+1)/2}`. Several layers have
a matrix each, Q_l made of independent W_l by a `LocalChain`. With W = L L^T and :math:`u_j = \log L_{jj}` (Bartlett's
decomposition) the same law under du dL reads

.. math:: -2 \log p(L, y) = N |L|^2 - 2 \sum_j e_j u_j + \log\det A + y^T A^{-1} y, \qquad e_j = N - j + 1,

for j from 1 to min(N, d), the columns that L has; S is the same function with all :math:`e_j = N`.

References
----------
Aiudi, Pacelli et al., arXiv:2307.11807; theory notes, section 4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import block_diag, lapack

from stpbnn._linalg import log_det_of, lower_cholesky
from stpbnn._slices import slices
from stpbnn.scale.local_chain import Descent, LocalChain, Matrices, Pull, joined
from stpbnn.scale.patch_pairs import PatchPairs, pair_entries, pair_weights
from stpbnn.scale.saddle_point import gaussian_log_evidence, laplace
from stpbnn.scale.triangle import Triangle

__all__ = ["LocalAction", "LocalTerms", "of_invariant_measure", "of_wishart"]

TOGETHER = 2**22  # entries of kernels that are held at a time


def of_invariant_measure(width: int, positions: int) -> Float[np.ndarray, " d"]:
    """Return the exponents e of the action, whose minimum is the saddle point."""
    return np.full(positions, float(width))


def of_wishart(width: int, positions: int) -> Float[np.ndarray, " r"]:
    """Return the exponents e of the law of L, in which it is sampled."""
    return width - np.arange(min(width, positions), dtype=np.float64)


class LocalTerms(NamedTuple):
    """The action at one L of every layer, with its gradient in the coordinates and what was factorised."""

    value: float
    gradient: Float[np.ndarray, " k"]
    L: list[Float[np.ndarray, "d r"]]
    descent: Descent
    pulls: list[Pull]  # slopes of the data's part
    factor: Float[np.ndarray, "P P"]
    alpha: Float[np.ndarray, " P"]
    residual: float  # the size of the gradient, relative to N (W + 1)

    @property
    def order_parameters(self) -> Float[np.ndarray, "D D"]:
        """The order parameters W of all layers, block by block."""
        return joined(self.descent.W)


@dataclass(frozen=True)
class LocalAction:
    """The action of a training set as a function of z: layer by layer log L_jj on the diagonal, and L_ij below it.

    Parameters
    ----------
    pairs : PatchPairs
        M_ij.
    chain : LocalChain
        How the Q follow from the W.
    y : array of shape (P,)
        Targets.
    temperature, bias : float
        T and b.
    widths : sequence of int
        N of every layer.
    exponents : list of arrays of shape (r,)
        e of every layer; as many as its L has columns.
    """

    pairs: PatchPairs
    chain: LocalChain
    y: Float[np.ndarray, " P"]
    temperature: float
    bias: float
    widths: Sequence[int]
    exponents: list[Float[np.ndarray, " r"]]

    @cached_property
    def triangles(self) -> list[Triangle]:
        """The coordinates of every layer."""
        sizes = zip(self.chain.positions, self.widths, self.exponents, strict=True)
        return [Triangle(d, float(N), e) for d, N, e in sizes]

    def _split(self, z: Float[np.ndarray, "... k"]) -> list[Float[np.ndarray, "... k"]]:
        return np.split(z, np.cumsum([triangle.size for triangle in self.triangles])[:-1], axis=-1)

    def coordinates(self, L: Sequence[Float[np.ndarray, "d r"]]) -> Float[np.ndarray, " k"]:
        """Return z of factors L."""
        return np.concatenate([of.coordinates(part) for of, part in zip(self.triangles, L, strict=True)])

    def factors(self, z: Float[np.ndarray, "... k"]) -> list[Float[np.ndarray, "... d r"]]:
        """Return L of every layer at coordinates z."""
        return [of.factor(part) for of, part in zip(self.triangles, self._split(z), strict=True)]

    def order_parameters(self, L: Sequence[Float[np.ndarray, "... d r"]]) -> Float[np.ndarray, "... D D"]:
        """Return the order parameters W = L L^T of all layers, block by block."""
        return joined([part @ np.swapaxes(part, -1, -2) for part in L])

    def prior(self, z: Float[np.ndarray, "... k"]) -> Float[np.ndarray, ...]:
        """Return the prior's part of the action."""
        parts = [of.prior(part) for of, part in zip(self.triangles, self._split(z), strict=True)]
        return np.sum(parts, axis=0)

    def conditioned(self, Q: Matrices) -> tuple[Float[np.ndarray, "P P"], Float[np.ndarray, " P"]]:
        """Return the lower Cholesky factor of A and A^{-1} y; raise LinAlgError where A is not positive definite."""
        return self._factorised(self.pairs.kernels(pair_entries(Q)))

    def _factorised(
        self, triangle: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, "P P"], Float[np.ndarray, " P"]]:
        A = self.pairs.matrix(triangle + self.bias)
        A[np.diag_indices_from(A)] += self.temperature
        factor, failure = lower_cholesky(A, clean=True)
        if failure:
            raise np.linalg.LinAlgError(f"the leading minor of order {failure} is not positive")
        return factor, lapack.dpotrs(factor, self.y, lower=1)[0]

    def log_evidence(self, at: LocalTerms, hessian: Float[np.ndarray, "k k"]) -> float:
        """Return log p(y) at a minimum of the action, with the Gaussian fluctuation of log W."""
        prior = np.concatenate([np.full(of.size, of.width) for of in self.triangles])
        lowest = sum(of.width * of.positions for of in self.triangles)
        jacobian = sum(of.log_jacobian(L) for of, L in zip(self.triangles, at.L, strict=True))
        return laplace(at.value, hessian, prior, lowest, len(self.y)) + jacobian

    def log_likelihoods(self, L: Sequence[Float[np.ndarray, "n d r"]]) -> Float[np.ndarray, " n"]:
        """Return log N(y; 0, A) at each L; minus infinity where A is not positive definite."""
        count = len(L[0])
        found = np.full(count, -np.inf)
        for at in slices(count, TOGETHER // self.pairs.entries.shape[1]):
            W = [part[at] @ np.swapaxes(part[at], -1, -2) for part in L]
            for i, triangle in enumerate(self.pairs.kernels(pair_entries(self.chain.at(W).Q)), at.start):
                with contextlib.suppress(np.linalg.LinAlgError):
                    factor, alpha = self._factorised(triangle)
                    log_det, quadratic = log_det_of(factor), float(self.y @ alpha)
                    found[i] = gaussian_log_evidence(log_det, quadratic, len(self.y))
        return found

    def at(self, z: Float[np.ndarray, " k"]) -> LocalTerms:
        """Return the action at z and its gradient."""
        L = self.factors(z)
        descent = self.chain.at([part @ part.T for part in L])
        factor, alpha = self.conditioned(descent.Q)
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse -= np.outer(alpha, alpha)
        pulls = descent.pulled(self.pairs.contracted(inverse))
        value = self.prior(z) + log_det_of(factor) + self.y @ alpha
        each = [of.gradient(part, pull.inner) for of, part, pull in zip(self.triangles, L, pulls, strict=True)]
        sizes = [of.sizes(part) for of, part in zip(self.triangles, L, strict=True)]  # sizes of the terms that cancel
        gradient = np.concatenate(each)
        residual = float(np.abs(gradient / np.concatenate(sizes)).max())
        return LocalTerms(float(value), gradient, L, descent, pulls, factor, alpha, residual)

    def hessian(self, at: LocalTerms) -> Float[np.ndarray, "k k"]:
        """Return the Hessian of the action in z."""
        layers = list(zip(self.triangles, at.L, at.pulls, strict=True))
        moves, bent = at.descent.moved([of.moves(L) for of, L, _ in layers], at.pulls)
        entries = pair_entries(moves) * pair_weights(self.chain.positions)
        pulled = self.pairs.applied(at.alpha)
        white = lapack.dtrtrs(at.factor, pulled.T, lower=1)[0]
        curvature = 2 * white.T @ white - self.pairs.overlaps(at.factor)
        hessian = entries @ curvature @ entries.T + bent
        hessian += block_diag(*(of.curvature(L, pull.inner) for of, L, pull in layers))
        return (hessian + hessian.T) / 2
