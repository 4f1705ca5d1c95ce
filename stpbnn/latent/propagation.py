r"""Expectation propagation for two classes: a Gaussian whose marginals have the moments of the true ones.

.. math::
    q(f) \propto N(f; 0, K) \prod_\mu e^{\nu_\mu f_\mu - \tau_\mu f_\mu^2 / 2}

Each site :math:`(\nu, \tau)` is such that q has mean and variance of the tilted law, in which the likelihood of that
example stands in the place of its site,

.. math:: \hat q_\mu(f) \propto \sigma(y_\mu f)^{1/T}\, N(f; m_{-\mu}, v_{-\mu})

with the moments of the cavity, q without the site. At the fixed point the evidence

.. math::
    \log Z = \sum_\mu \Big[\log \hat Z_\mu - \log \int e^{\nu_\mu f - \tau_\mu f^2/2} N(f; m_{-\mu}, v_{-\mu})\, df\Big]
    + \tfrac12 \nu^T \Sigma\, \nu - \tfrac12 \log\det(1 + K \tau)

is stationary in the sites, so that its derivative in K is :math:`\tfrac12 (a a^T - M)`, with f = K a the mean and
:math:`M = (K + \tau^{-1})^{-1}`.

References
----------
Minka, Proc. UAI 17, 362 (2001); Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), section 3.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, solve_triangular
from scipy.special import expit

from stpbnn._linalg import lower_cholesky, mirrored
from stpbnn.latent.bernoulli import Bernoulli, BernoulliCurvature
from stpbnn.latent.laplace import laplace_approximation

__all__ = ["Propagated", "expectation_propagation"]

MAX_SWEEPS = 300
EXACT, CONVERGED = 1e-9, 1e-6  # of the moments, in standard deviations: sweeps end; above it, something was wrong
DAMPING, LEAST_DAMPING, GROWTH = 0.9, 0.05, 1.2
HALVINGS = 80  # of the bracket of the tilted mode
REACH, STEP = 9.0, 0.7  # of the quadrature, in standard deviations of the cavity
LARGEST_STEP = 0.4  # of the quadrature, in units of f, in which powers of the logistic function are smooth
MOST = 4000  # of its points, to either side

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]
Sites = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Propagated:
    """The Gaussian of expectation propagation; it has the interface of `Laplace`.

    Parameters
    ----------
    kernel : array of shape (P, P)
        K, its lower triangle.
    a, f : arrays of shape (P,), or (P, C)
        The mean f = K a.
    residual : float
        The largest difference of a marginal moment from the tilted one, in standard deviations.
    curvature : BernoulliCurvature or Contrasts
        The sites with K.
    log_evidence : float
        Log Z.
    start : tuple of two arrays
        The sites ν and τ.
    """

    kernel: Square
    a: Float[np.ndarray, "P ..."]
    f: Float[np.ndarray, "P ..."]
    residual: float
    curvature: Any
    log_evidence: float
    start: Sites

    @property
    def converged(self) -> bool:
        """Whether the moments agree."""
        return self.residual < CONVERGED

    def kernel_weights(self) -> Square:
        """Return the derivative of log Z in the entries of K: weights on its lower triangle, which count for both."""
        weights = np.asfortranarray(self.curvature.diagonal_blocks())
        column = np.asfortranarray(self.a.reshape(len(self.kernel), -1))
        weights = np.tril(blas.dsyrk(1.0, column, beta=-1.0, c=weights, lower=1, overwrite_c=1))
        weights[np.diag_indices_from(weights)] /= 2
        return weights

    def law(
        self, cross: Float[np.ndarray, "n P"], variances: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
        """Return mean and variance of f at query points, as `Laplace.law` does."""
        mean, explained = cross @ self.a, self.curvature.explained(cross)
        if mean.ndim == 1:
            return mean, np.maximum(variances - explained, 0)
        return mean, variances[:, None, None] * np.eye(mean.shape[1]) - explained


def expectation_propagation(likelihood: Bernoulli, K: Square, start: Sites | None = None) -> Propagated:
    """Return the fixed point of expectation propagation, all sites at a time, damped; it starts at Laplace's mode.

    Parameters
    ----------
    likelihood : Bernoulli
        Labels and temperature.
    K : array of shape (P, P)
        The kernel in Fortran's order, whose lower triangle is read.
    start : tuple of two arrays of shape (P,), or None
        Sites at which to start, such as those of a kernel nearby.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the kernel is not positive semidefinite.
    OverflowError
        If the numbers are out of the range of double precision.

    Examples
    --------
    >>> K = np.array([[4.0, 0.0], [2.0, 4.0]], order="F")
    >>> found = expectation_propagation(Bernoulli(np.array([1.0, 1.0])), K)
    >>> found.f.round(4), round(found.log_evidence, 4), found.converged
    (array([1.5314, 1.5314]), -1.2157, True)
    """
    full = mirrored(K)
    nu, tau = _sites_at_the_mode(likelihood, K) if start is None else start
    damping, last = DAMPING, np.inf
    for _ in range(MAX_SWEEPS):
        curvature, a, mean, variance = _conditioned(full, nu, tau)
        cavity_variance = 1 / (1 / variance - tau)
        cavity_mean = cavity_variance * (mean / variance - nu)
        log_z, tilted_mean, tilted_variance = _tilted(likelihood, cavity_mean, cavity_variance)
        spread = np.sqrt(variance)
        residual = max(
            float(np.abs((tilted_mean - mean) / spread).max()), float(np.abs(tilted_variance / variance - 1).max())
        )
        if not np.isfinite(residual):
            raise OverflowError
        if residual < EXACT or (residual < CONVERGED and residual > 0.98 * last):
            break
        damping = max(LEAST_DAMPING, damping / 2) if residual > last else min(DAMPING, GROWTH * damping)
        last = residual
        new_tau = np.maximum(1 / tilted_variance - 1 / cavity_variance, 0)
        new_nu = tilted_mean / tilted_variance - cavity_mean / cavity_variance
        tau, nu = tau + damping * (new_tau - tau), nu + damping * (new_nu - nu)
    shift = cavity_mean + cavity_variance * nu
    sites = (shift**2 / (1 + cavity_variance * tau) - cavity_mean**2) / cavity_variance
    sites -= np.log1p(cavity_variance * tau)
    evidence = float((log_z - sites / 2).sum()) + float(nu @ mean) / 2 - curvature.log_det / 2
    return Propagated(K, a, mean, residual, curvature, evidence, (nu, tau))


def _sites_at_the_mode(likelihood: Bernoulli, K: Square) -> Sites:
    """Return the sites of Laplace's approximation."""
    at = laplace_approximation(likelihood, K)
    tau = at.curvature.root**2
    return at.a + tau * at.f, tau


def _conditioned(K: Square, nu: Vector, tau: Vector) -> tuple[BernoulliCurvature, Vector, Vector, Vector]:
    """Return the sites with K, and a, mean and variances of q."""
    root = np.sqrt(tau)
    B = np.asfortranarray(K * root[:, None] * root)
    B[np.diag_indices_from(B)] += 1
    factor, failure = lower_cholesky(B, clean=False)
    if failure:
        raise np.linalg.LinAlgError("the kernel is not positive semidefinite")
    curvature = BernoulliCurvature(root, np.zeros_like(root), factor)
    a = nu - curvature.damp(K @ nu)
    halves = solve_triangular(factor, root[:, None] * K, lower=True, check_finite=False)
    variance = np.diag(K) - np.einsum("ij,ij->j", halves, halves)
    return curvature, a, K @ a, np.maximum(variance, np.finfo(float).tiny)


def _tilted(likelihood: Bernoulli, mean: Vector, variance: Vector) -> tuple[Vector, Vector, Vector]:
    r"""Return log Ẑ, mean and variance of :math:`\sigma(y f)^{1/T} N(f; m, v)`, by the trapezoidal rule about its mode.

    To either side of the mode the law falls at least like the cavity.
    """
    y, T, std = likelihood.labels, likelihood.temperature, np.sqrt(variance)
    low, high = np.zeros_like(mean), variance / T  # of y (f - m)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rises = expit(-y * mean - middle) / T > middle / variance
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    mode = mean + y * (low + high) / 2
    step = np.maximum(np.minimum(STEP * std, LARGEST_STEP), REACH * std / MOST)
    half = int(np.ceil((REACH * std / step).max()))
    points = mode[:, None] + step[:, None] * np.arange(-half, half + 1)
    logs = -np.logaddexp(0, -y[:, None] * points) / T - (points - mean[:, None]) ** 2 / (2 * variance[:, None])
    top = logs.max(axis=1, keepdims=True)
    weights = np.exp(logs - top)
    total = weights.sum(axis=1)
    weights /= total[:, None]
    first = np.einsum("pn,pn->p", weights, points - mode[:, None])
    second = np.einsum("pn,pn->p", weights, (points - mode[:, None] - first[:, None]) ** 2)
    return top[:, 0] + np.log(total * step / (np.sqrt(2 * np.pi) * std)), mode + first, second
