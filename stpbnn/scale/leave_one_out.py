r"""Leave-one-out in closed form: the law of each target given all others, at fixed hyper-parameters.

.. math:: y_i \mid y_{-i} \sim N\big(y_i - \alpha_i / d_i,\; 1/d_i\big), \qquad
          \alpha = A^{-1}(y - \mu), \quad d = \mathrm{diag}\, A^{-1}

is a Gaussian process with A = K + T and mean μ. Where A depends on an order parameter Q that is averaged over, leaving
out a target also changes the law of Q,

.. math:: p(Q \mid y_{-i}) \propto p(Q \mid y)\,/\,p(y_i \mid y_{-i}, Q).

References
----------
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 5.4.2; theory notes, eq. (4.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack
from scipy.special import softmax

from stpbnn.predictive import Gaussian, Mixture, SideBySide
from stpbnn.scale.units import UNITS, Units

__all__ = ["Resolved", "inverse_diagonal", "left_out_gaussian", "left_out_mixture", "side_by_side"]


class Resolved(NamedTuple):
    """A^{-1} (y − μ), of shape (..., P) or (..., P, D), and the diagonal of A^{-1}, (..., P)."""

    alpha: Float[np.ndarray, ...]
    diagonal: Float[np.ndarray, "... P"]

    def law(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of each target given the others, both of the shape of alpha."""
        several = y.ndim > 1
        variance = np.broadcast_to(1 / (self.diagonal[..., None] if several else self.diagonal), self.alpha.shape)
        return y - self.alpha * variance, np.array(variance)


def inverse_diagonal(factor: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " P"]:
    """Return the diagonal of A^{-1}, given the lower Cholesky factor of A."""
    inverse, _ = lapack.dpotri(factor, lower=1)
    return np.diag(inverse).copy()


def left_out_gaussian(resolved: Resolved, y: Float[np.ndarray, "P ..."]) -> Gaussian:
    """Return the law of each target given the others, of one Gaussian process.

    Examples
    --------
    Two targets of covariance 1/2 and variance 1: the mean of each is half the other, the variance 3/4.

    >>> A, y = np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([1.0, 2.0])
    >>> law = left_out_gaussian(Resolved(np.linalg.solve(A, y), inverse_diagonal(np.linalg.cholesky(A))), y)
    >>> law.mean.round(6), law.variance.round(6)
    (array([1. , 0.5]), array([0.75, 0.75]))
    """
    return Gaussian(*resolved.law(y))


def left_out_mixture(
    weights: Float[np.ndarray, " n"], resolved: Resolved, y: Float[np.ndarray, "P ..."], units: Units = UNITS
) -> SideBySide:
    """Return the law of each target given the others, of a mixture over nodes with these weights given all targets.

    Outputs of one example share the node, and are left out together.
    """
    means, variances = resolved.law(y)
    density = Gaussian(means, variances).logpdf(y)
    return side_by_side(weights, means, variances, density.reshape(*density.shape[:2], -1).sum(axis=2), units)


def side_by_side(
    weights: Float[np.ndarray, " n"],
    means: Float[np.ndarray, "n P ..."],
    variances: Float[np.ndarray, "n P ..."],
    density: Float[np.ndarray, "n P"],
    units: Units = UNITS,
) -> SideBySide:
    """Return a mixture an example, over nodes reweighted by the density of the example that is left out."""
    with np.errstate(divide="ignore"):  # nodes of weight zero
        reweighted = softmax(np.log(weights)[:, None] - density, axis=0)
    means, variances = units.shift + units.size * means, units.size**2 * variances
    return SideBySide(
        [
            Mixture(reweighted[:, i], means[:, i : i + 1], variances[:, i : i + 1], offset=units.offset)
            for i in range(means.shape[1])
        ]
    )
