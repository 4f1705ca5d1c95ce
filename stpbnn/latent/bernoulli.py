r"""Two classes and one latent function: the logistic likelihood, by one Cholesky factorisation of the training set.

.. math::
    \ell(f) = -\tfrac1T \sum_\mu \log(1 + e^{-y_\mu f_\mu}), \qquad W = \mathrm{diag}\, \pi(1 - \pi)/T, \quad
    \pi = \frac{1}{1 + e^{-f}}, \qquad M = W^{1/2} B^{-1} W^{1/2}, \quad B = 1 + W^{1/2} K W^{1/2}

References
----------
Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), algorithms 3.1 and 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.special import expit

from stpbnn._linalg import log_det_of
from stpbnn.latent.latent_gaussian import scaled_factor

__all__ = ["Bernoulli", "BernoulliCurvature"]

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]


@dataclass(frozen=True)
class Bernoulli:
    """The logistic likelihood of labels -1 and +1, to the power 1/T.

    Examples
    --------
    >>> likelihood = Bernoulli(np.array([1.0, -1.0]), temperature=0.5)
    >>> round(likelihood.value(np.zeros(2)), 4), likelihood.gradient(np.zeros(2))
    (-2.7726, array([ 1., -1.]))
    """

    labels: Vector
    temperature: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """(P,)."""
        return self.labels.shape

    def value(self, f: Vector) -> float:
        """Return the log likelihood."""
        return -float(np.logaddexp(0, -self.labels * f).sum()) / self.temperature

    def gradient(self, f: Vector) -> Vector:
        """Return its gradient."""
        return self.labels * expit(-self.labels * f) / self.temperature

    def curvature(self, f: Vector, K: Square) -> BernoulliCurvature:
        """Return W at f with a kernel, whose lower triangle is read; LinAlgError where 1 + K W is not positive."""
        pi = expit(f)
        root = np.sqrt(pi * expit(-f) / self.temperature)
        return BernoulliCurvature(root, expit(-f) - pi, scaled_factor(K, root))


@dataclass(frozen=True)
class BernoulliCurvature:
    """W with a kernel: √W, the relative slope 1 − 2π of W in f, and the Cholesky factor of B."""

    root: Vector
    slope: Vector
    factor: Square

    @property
    def log_det(self) -> float:
        """The logarithm of det(1 + K W)."""
        return log_det_of(self.factor)

    def damp(self, v: Vector) -> Vector:
        """Return M v."""
        return self.root * cho_solve((self.factor, True), self.root * v, check_finite=False)

    @cached_property
    def inverse_diagonal(self) -> Vector:
        """The diagonal of B^{-1}."""
        inverse, _ = lapack.dtrtri(self.factor, lower=1)
        return np.einsum("ij,ij->j", *2 * (np.tril(inverse),))

    def diagonal_blocks(self) -> Square:
        """Return M, its lower triangle."""
        inverse, _ = lapack.dpotri(self.factor, lower=1)
        inverse *= self.root[:, None]
        inverse *= self.root
        return np.tril(inverse)

    def pull(self) -> Vector:
        """Return s = -½ (1 − diag B^{-1}) (1 − 2π): in Σ W nothing has to be divided by W."""
        return -(1 - self.inverse_diagonal) * self.slope / 2

    def explained(self, cross: Float[np.ndarray, "n P"]) -> Float[np.ndarray, " n"]:
        """Return k M k^T at each query point."""
        halves = solve_triangular(self.factor, self.root[:, None] * cross.T, lower=True, check_finite=False)
        return np.einsum("pn,pn->n", halves, halves)
