r"""A Gaussian process under noise with the tails of Student's t: one output, conditioned by moment matching.

Hyper-parameters are judged by gentle sites (`moment_matching`), whose evidence is smooth. Laws are those of expectation
propagation proper from there on, where it has a fixed point, or else of the gentle sites. Covariances of those laws are
without the correlations of what targets tell; the linear response of the means to a source at another point knows them:

.. math:: C(x, x') = k(x, x') - k_x^T (M - R^T U R)\, k_{x'}, \qquad R = 1 - K M, \qquad
          U = N (1 - \Sigma N)^{-1}, \qquad N = \mathrm{diag}\, p + \tfrac12\, \mathrm{diag}\,s\,
          (1 + \Sigma^{\circ 2} \mathrm{diag}\, t)^{-1} \Sigma^{\circ 2}\, \mathrm{diag}\,s

with Σ the covariance of the training points, a = K^{-1} E f, and the derivatives p = ∂a/∂m + τ, s = ∂τ/∂m, t = ∂τ/∂v of
each site in its own moments m and v. Where that changes a variance more than it can be trusted with, it is left out.
Where that fixed point is there, the law of f at a single point has a shape of its own (`marginal_shapes`).

References
----------
Opper and Winther, JMLR 6, 2177 (2005); see `moment_matching`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from stpbnn.scale.design import Query
from stpbnn.scale.marginal_shapes import Shapes, marginal_shapes
from stpbnn.scale.moment_matching import Sites
from stpbnn.scale.outputwise import ColumnSlopes
from stpbnn.scale.student_noise import StudentNoise

__all__ = ["OutlierMoments"]

TRUSTED = 0.5  # relative change of a variance by the linear response

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]


@dataclass(frozen=True)
class OutlierMoments:
    """One output.

    Parameters
    ----------
    gentle : Sites
        By which hyper-parameters are judged.
    """

    gentle: Sites

    @classmethod
    def of(cls, K: Square, y: Vector, noise: StudentNoise, **search: Any) -> OutlierMoments:
        """Condition on targets; where the search for sites begins and ends is that of `Sites.of`.

        Examples
        --------
        The second of three targets of one constant is an outlier.

        >>> K = np.full((3, 3), 4.0)
        >>> found = OutlierMoments.of(K, np.array([1.0, 9.0, 1.1]), StudentNoise(0.01, 4.0))
        >>> (K @ found.alpha).round(2), found.converged
        (array([1.05, 1.05, 1.05]), True)
        """
        return cls(Sites.of(K, y, noise, **search))

    @cached_property
    def sites(self) -> Sites:
        """Those of the laws."""
        return self.gentle.exact or self.gentle

    @property
    def converged(self) -> bool:
        """Whether the fixed point was found."""
        return self.gentle.converged

    @property
    def log_evidence(self) -> float:
        """Log Z."""
        return self.gentle.log_evidence

    @property
    def slopes(self) -> ColumnSlopes:
        """Derivatives of log Z."""
        sites = self.gentle
        temperature, df = sites.noise_slopes
        kernel = (np.outer(sites.alpha, sites.alpha) - sites.matrix) / 2
        return ColumnSlopes(kernel, temperature / sites.noise.temperature, df)

    @property
    def alpha(self) -> Vector:
        """What the kernel with the training points is multiplied by to give the mean."""
        return self.sites.alpha

    def left_out(self) -> tuple[Vector, Vector]:
        """Return mean and variance of f at each training point given the other targets."""
        sites = self.sites
        left = 1 - sites.variances * sites.precision
        return (sites.means - sites.variances * sites.linear) / left, sites.variances / left

    @cached_property
    def response(self) -> Square | None:
        """The matrix U; nothing where the response is not to be trusted."""
        sites, size = self.sites, len(self.gentle.targets)
        if sites.power < 1:
            return None
        _, variance = sites.left
        (g, h), (h_m, fourth) = sites.told.slopes, sites.told.higher
        g_v, h_v = h_m / 2 + g * h, fourth / 2 + h**2 + g * h_m
        left = 1 + variance * h
        by_left = np.array([[h, g_v], [-h_m / left**2, (h**2 - h_v) / left**2]])  # of a and τ
        moments = np.array([[left, g + variance * g_v], [variance**2 * h_m, 2 * left - 1 + variance**2 * h_v]])
        (p, _), (s, t) = _chained(by_left, moments)
        p = p + sites.precision
        covariance = sites.covariances(sites.kernel)
        squares = covariance**2
        N = np.diag(p) + s[:, None] * np.linalg.solve(np.eye(size) + squares * t, squares * s) / 2
        U = np.linalg.solve((np.eye(size) - covariance @ N).T, N.T).T
        change = np.einsum("ij,ij->i", covariance @ U, covariance)
        return (U + U.T) / 2 if (np.abs(change) < TRUSTED * sites.variances).all() else None

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> Float[np.ndarray, ...]:
        """Return what the targets take from the variances, or covariances, of the kernel at query points."""
        told = self.sites.factors.explained(cross, joint=joint)
        if self.response is None:
            return told
        covariances = self.sites.covariances(cross)
        along = covariances @ self.response
        return told - (along @ covariances.T if joint else np.einsum("ij,ij->i", along, covariances))

    def shapes(self, query: Query) -> Shapes | None:
        """Return the shapes of the laws of f at query points, or nothing without expectation propagation proper."""
        sites = self.sites
        if sites.power < 1:
            return None
        variances = query.variances - sites.factors.explained(query.cross, joint=False)
        return marginal_shapes(sites, sites.covariances(query.cross), variances)


def _chained(by: Float[np.ndarray, "2 2 P"], through: Float[np.ndarray, "2 2 P"]) -> Float[np.ndarray, "2 2 P"]:
    """Return derivatives in the moments, given those of both in other variables."""
    solved = np.linalg.solve(np.moveaxis(through, -1, 0).mT, np.moveaxis(by, -1, 0).mT)
    return np.moveaxis(solved.mT, 0, -1)
