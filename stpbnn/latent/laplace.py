r"""Laplace's approximation of the posterior of latent functions, for a concave likelihood and a given kernel.

.. math::
    f \sim N(0, K), \qquad \log Z = \ell(\hat f) - \tfrac12 a^T \hat f - \tfrac12 \log\det(1 + K W), \qquad
    \hat f = K a, \quad a = \nabla \ell(\hat f), \quad W = -\nabla\nabla \ell(\hat f)

Nothing is divided by K, which may be singular. Several outputs are the columns of f and a; each has the kernel K. A
likelihood knows its derivatives, and the *curvature* that it has with a kernel: :math:`M = (K + W^{-1})^{-1}` as a
product with vectors, and the determinant.

As the kernel changes, the mode moves, and with it log Z by the `pull`

.. math::
    v = s - M K s, \qquad s_i = -\tfrac12 \mathrm{tr}\, \Sigma\, \partial W / \partial f_i, \quad \Sigma = K - K M K

References
----------
Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), chapters 3 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas

from stpbnn.latent.latent_gaussian import LatentGaussian

__all__ = ["Curvature", "Laplace", "Likelihood", "laplace_approximation", "symmetric_product"]

MAX_STEPS = 200
EXACT = 1e-12  # residual at which the search ends, in units of the steepest slope
CONVERGED = 1e-8  # above it, something was wrong
SLOW = 0.25  # a step that leaves more of the residual than that asks for a new factorisation
SMALLEST_STEP = 0.5**40
SUFFICIENT = 1e-4  # the part of the rise that the slope promises that is asked for
ROUNDING = 1e-13  # relative to the terms of the objective

Latent = Float[np.ndarray, "P ..."]
Square = Float[np.ndarray, "P P"]


@runtime_checkable
class Curvature(Protocol):
    """W at one place with a kernel K, factorised."""

    @property
    def log_det(self) -> float:
        """The logarithm of det(1 + K W)."""

    def damp(self, v: Latent) -> Latent:
        """Return M v, with M = (K + W^{-1})^{-1}."""

    def diagonal_blocks(self) -> Square:
        """Return the sum over outputs of the blocks of M that couple an output with itself; the lower triangle."""

    def pull(self) -> Latent:
        """Return s, the derivative of -½ log det(1 + K W) in f at fixed K."""

    def explained(self, cross: Float[np.ndarray, "n P"]) -> Float[np.ndarray, ...]:
        """Return k M k^T at each query point: (n,) of one output, (n, C, C) of several."""


@runtime_checkable
class Likelihood(Protocol):
    """A concave log likelihood of latent functions, already divided by the temperature."""

    @property
    def temperature(self) -> float:
        """T."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(P,), or (P, C)."""

    def value(self, f: Latent) -> float:
        """Return the log likelihood."""

    def gradient(self, f: Latent) -> Latent:
        """Return its gradient."""

    def curvature(self, f: Latent, K: Square) -> Curvature:
        """Return W at f with a kernel, whose lower triangle is read."""


def symmetric_product(K: Square, v: Latent) -> Latent:
    """Return K v for a symmetric K in Fortran's order, whose lower triangle is read."""
    if v.ndim == 1:
        return blas.dsymv(1.0, K, v, lower=1)
    return blas.dsymm(1.0, K, v, lower=1)


@dataclass(frozen=True)
class Laplace(LatentGaussian):
    """A Gaussian about the mode of the posterior of the latent functions.

    Parameters
    ----------
    residual : float
        The largest entry of the gradient minus a, in units of 1/T.
    likelihood : Likelihood
        What the labels say.

    Examples
    --------
    >>> from stpbnn.latent.bernoulli import Bernoulli
    >>> K, E = np.array([[1.0, 0.3], [0.3, 2.0]]), np.array([[0.0, 1.0], [1.0, 1.0]])
    >>> def at(h): return laplace_approximation(Bernoulli(np.array([1.0, -1.0])), np.asfortranarray(K + h * E))
    >>> slope = (at(1e-5).log_evidence - at(-1e-5).log_evidence) / 2e-5
    >>> bool(np.isclose(np.vdot(at(0.0).kernel_weights(), E), slope, rtol=1e-8))
    True
    """

    likelihood: Likelihood

    accuracy = CONVERGED

    @property
    def start(self) -> Latent:
        """The a with which the search for a kernel nearby may start."""
        return self.a

    @property
    def log_evidence(self) -> float:
        """Log Z."""
        quadratic = float(np.vdot(self.a, self.f))
        return self.likelihood.value(self.f) - quadratic / 2 - self.curvature.log_det / 2

    @property
    def pull(self) -> Latent:
        """The vector v: what log Z gains where a changes, by the mode that moves."""
        s = self.curvature.pull()
        return s - self.curvature.damp(symmetric_product(self.kernel, s))


def laplace_approximation(likelihood: Likelihood, K: Square, start: Latent | None = None) -> Laplace:
    """Return Laplace's approximation, by Newton's method.

    The objective is concave. A factorisation of the curvature serves as long as every step leaves a quarter of the
    residual or less, so that a few of them lead to the mode; the last one is made there.

    Parameters
    ----------
    likelihood : Likelihood
        What the labels say.
    K : array of shape (P, P)
        The kernel in Fortran's order, whose lower triangle is read.
    start : array of shape (P,) or (P, C), or None
        The a at which to start, such as that of a kernel nearby.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the kernel is not positive semidefinite.
    OverflowError
        If the numbers are out of the range of double precision.

    Examples
    --------
    >>> from stpbnn.latent.bernoulli import Bernoulli
    >>> found = laplace_approximation(Bernoulli(np.array([1.0, 1.0])), np.array([[1.0, 0.0], [0.5, 1.0]], order="F"))
    >>> found.f.round(4), found.converged
    (array([0.5491, 0.5491]), True)
    """
    a = np.zeros(likelihood.shape) if start is None else start
    f = symmetric_product(K, a)
    objective, gradient = likelihood.value(f) - np.vdot(a, f) / 2, likelihood.gradient(f)
    curvature, factorised, last = None, f, np.inf
    for _ in range(MAX_STEPS):
        rest = gradient - a
        residual = float(np.abs(rest).max()) * likelihood.temperature
        if not np.isfinite(residual):
            raise OverflowError
        if residual < EXACT or (residual < CONVERGED and residual > last / 2):
            break
        if curvature is None or residual > SLOW * last:
            curvature, factorised = likelihood.curvature(f, K), f
        last = residual
        push = symmetric_product(K, rest)
        step = rest - curvature.damp(push)
        along, promised = symmetric_product(K, step), float(np.vdot(push, step))
        part, rounding = 1.0, ROUNDING * (abs(objective) + abs(float(np.vdot(a, f))) + 1)
        while part > SMALLEST_STEP:
            there, f_there = a + part * step, f + part * along
            value = likelihood.value(f_there) - np.vdot(there, f_there) / 2
            if value >= objective + SUFFICIENT * part * promised - rounding:
                break
            part /= 2
        else:
            break
        a, f, objective, gradient = there, f_there, value, likelihood.gradient(f_there)
    f = symmetric_product(K, a)
    if curvature is None or np.abs(f - factorised).max() > EXACT:
        curvature = likelihood.curvature(f, K)
    residual = float(np.abs(likelihood.gradient(f) - a).max()) * likelihood.temperature
    return Laplace(K, a, f, residual, curvature, likelihood)
