"""What a design leaves of a network's kernel on its training set: a resolvent of the contrasts, and queries for them.

The kernel may come with a scale and with an output bias beside it: the design does to all of them the same, and a trend
takes the bias up. At one scale it is a Gaussian process beside a trend, or with known noise: universal kriging.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve

from stpbnn import kernels
from stpbnn.kernels import KernelMap
from stpbnn.network import Prior
from stpbnn.predictive import Gaussian
from stpbnn.scale.design import PLAIN, Design, Query, Reduced
from stpbnn.scale.factorised import FactorisedKernel, well_conditioned_cholesky
from stpbnn.scale.leave_one_out import Resolved, left_out_gaussian
from stpbnn.scale.resolvent import Resolvent

__all__ = ["Contrasts", "RestrictedKernel", "conditioned_kernel"]

NO_BLOCKS = Reduced(*[np.empty((0, 0))] * 3)


class Contrasts(NamedTuple):
    """A design, the blocks of the kernel that concern its trend, and the part of the columns in the trend."""

    design: Design = PLAIN
    blocks: Reduced = NO_BLOCKS
    shared: Float[np.ndarray, "m ..."] = np.empty((0, 0))

    @classmethod
    def of(
        cls,
        design: Design,
        K: Float[np.ndarray, "P P"],
        V: Float[np.ndarray, "P k"],
        temperature: float,
        bias: float,
        *,
        spectral: bool,
    ) -> tuple[Self, Resolvent]:
        """Return the contrasts and their resolvent: the kernel in its eigenbasis, or in tridiagonal form.

        Parameters
        ----------
        design : Design
            Trend and noise.
        K : array of shape (P, P)
            The kernel without the output bias, of which the lower triangle is read; it may be overwritten.
        V : array of shape (P, k)
            Targets, and other vectors that go with them.
        temperature, bias : float
            T and b.
        spectral : bool
            Whether variances at many scales are wanted.
        """
        ones = design.targets(np.ones((len(V), 1)))[1][:, 0]
        blocks, (shared, columns) = design.reduced(K), design.targets(V)
        form = Resolvent.spectral if spectral else Resolvent.tridiagonal
        bias = 0.0 if len(design.tau) else bias
        resolvent = form(blocks.contrasts, columns, temperature, bias, ones=ones)
        return cls(design, blocks._replace(contrasts=np.empty((0, 0))), shared), resolvent

    def query(self, query: Query, X: Float[np.ndarray, "q N0"], temperature: float) -> Query:
        """Return the kernel of query points for the contrasts."""
        return self.design.query(query, self.design.basis(X), self.blocks, self.shared, temperature)


@dataclass(frozen=True)
class RestrictedKernel(FactorisedKernel):
    """A and α of the contrasts of a design, eq. (4.2) for f less its trend; the same kernel for every output.

    Parameters
    ----------
    design : Design
        Trend and noise.
    blocks : Reduced
        The kernel in the blocks of the design.
    trend : array of shape (m,) or (m, D)
        The part of the targets in the columns of the trend.
    """

    design: Design
    blocks: Reduced
    trend: Float[np.ndarray, "m ..."]

    @classmethod
    def restricted(
        cls,
        prior: Prior,
        X: Float[np.ndarray, "P N0"],
        y: Float[np.ndarray, "P ..."],
        kernel: KernelMap,
        temperature: float,
        design: Design,
    ) -> RestrictedKernel:
        """Factorise A of the contrasts and condition on targets y."""
        blocks = design.reduced(kernels.symmetric_kernel(kernel, prior, X))
        factor = well_conditioned_cholesky(blocks.contrasts + temperature * np.eye(len(blocks.contrasts)))
        trend, contrasts = design.targets(y)
        alpha = cho_solve((factor, True), contrasts, check_finite=False)
        process = cls(prior, X, kernel, alpha, temperature, design, blocks, trend)
        process.__dict__["factor"] = factor
        return process

    def _query(self, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Query:
        return self._reduced(super()._query(X, joint=joint), self.design.basis(X))

    def _reduced(self, query: Query, basis: Float[np.ndarray, "q m"]) -> Query:
        return self.design.query(query, basis, self.blocks, self.trend, self.temperature)

    def gradient(self, query: Query) -> Gaussian:
        """Return the law of the gradient of f at a point, given derivatives of the kernel as query points."""
        return self.law_of(self._reduced(query, self.design.basis_slopes), 0.0)

    def left_out(self, y: Float[np.ndarray, "P ..."]) -> Gaussian:
        """Return the law of each target given the others."""
        return left_out_gaussian(Resolved(self.design.expanded(self.alpha), self.design.diagonal(self.factor)), y)


def conditioned_kernel(
    prior: Prior,
    X: Float[np.ndarray, "P N0"],
    y: Float[np.ndarray, "P ..."],
    kernel: KernelMap,
    temperature: float,
    design: Design,
) -> FactorisedKernel:
    """Return a kernel of a network conditioned on targets y, beside a trend where there is one."""
    if design.plain:
        return FactorisedKernel.of(prior, X, y, kernel, temperature)
    return RestrictedKernel.restricted(prior, X, y, kernel, temperature, design)
