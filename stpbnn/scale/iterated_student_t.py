"""A Student's t-process on more examples than can be factorised: noise inside the random scale, or beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from stpbnn.iterative import Blocks, TiledMatrix
from stpbnn.scale.iterated import NEGLIGIBLE, IteratedProblem, NumericalErrors
from stpbnn.scale.priors import InverseGamma
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.student_t import NoiseBeside, NoiseInside
from stpbnn.scale.trapezoid import scale_posterior

__all__ = ["IteratedInside", "iterated_beside", "iterated_inside"]


@dataclass(frozen=True)
class IteratedInside(NoiseInside):
    """The multivariate t on a Krylov space, which has no factor.

    Parameters
    ----------
    resolvent : Resolvent
        K and T, taken at the scale one.
    """

    resolvent: Resolvent

    @property
    def log_det(self) -> float:
        """The logarithm of the determinant of A."""
        return float(self.resolvent.at(np.zeros(1)).log_det[0])

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> tuple[np.ndarray, Any]:
        """Return k·A^{-1} k of each query point, and if `joint` of each pair."""
        at = self.resolvent.at(np.zeros(1))
        inside, outside = self.resolvent.projected(cross, joint=joint)
        root, left = inside / np.sqrt(at.shifted[0]), at.outside[0] * outside
        if joint:
            products = root @ root.T + left
            return np.diag(products), products
        return np.einsum("ij,ij->i", root, root) + left, None


def iterated_inside(
    blocks: Blocks, y: Float[np.ndarray, "P ..."], law: InverseGamma, temperature: float
) -> tuple[IteratedInside, NumericalErrors]:
    """Condition on targets with the noise inside the scale, given the function that makes blocks of K."""
    solved = IteratedProblem.of(
        TiledMatrix.of(len(y), blocks), y.reshape(len(y), -1), temperature, 0.0, lambda resolvent: np.zeros(1)
    )
    alpha = solved.resolvent.coefficients(0.0).reshape(y.shape)
    quadratic = float(solved.resolvent.at(np.zeros(1)).misfit[0])
    slope = (law.df + y.size) / (law.excess + quadratic)
    errors = solved.errors(slope_of_misfit=slope)
    return IteratedInside(np.empty((0, 0)), alpha, quadratic, law, temperature, solved.resolvent), errors


def iterated_beside(
    blocks: Blocks, y: Float[np.ndarray, "P ..."], law: InverseGamma, temperature: float
) -> tuple[NoiseBeside, NumericalErrors]:
    """Condition on targets with the noise beside the scale, given the function that makes blocks of K."""

    def scales(resolvent: Resolvent) -> Float[np.ndarray, " n"]:
        return scale_posterior(resolvent, law).scales_that_matter(NEGLIGIBLE)

    solved = IteratedProblem.of(TiledMatrix.of(len(y), blocks), y.reshape(len(y), -1), temperature, 0.0, scales)
    posterior = scale_posterior(solved.resolvent, law)
    return NoiseBeside(solved.resolvent, y.shape, law, posterior), solved.errors(posterior.curvature)
