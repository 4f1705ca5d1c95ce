"""What a design leaves of a network's kernel on its training set: a resolvent of the contrasts, and queries for them.

The kernel may come with a scale and with an output bias beside it: the design does to all of them the same, and a trend
takes the bias up.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

from stpbnn.scale.design import PLAIN, Design, Query, Reduced
from stpbnn.scale.resolvent import Resolvent

__all__ = ["Contrasts"]

NO_BLOCKS = Reduced(*[np.empty((0, 0))] * 3)


class Contrasts(NamedTuple):
    """A design, the blocks of the kernel that have to do with its trend, and the part of the columns in the trend."""

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
