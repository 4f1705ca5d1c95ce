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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.special import expit

from stpbnn._linalg import mirrored
from stpbnn.latent.bernoulli import Bernoulli, BernoulliCurvature
from stpbnn.latent.laplace import laplace_approximation
from stpbnn.latent.latent_gaussian import LatentGaussian, scaled_factor

__all__ = ["Propagated", "Sites", "expectation_propagation", "swept"]

MAX_SWEEPS = 300
EXACT = 1e-9  # differences of moments, in standard deviations, at which sweeps end
CONVERGED = 1e-6  # and the largest that count as found
DAMPING, LEAST_DAMPING, GROWTH = 0.9, 0.05, 1.2  # the part of its way that a site goes in a sweep
STUCK = 0.98  # a sweep that leaves more of the residual than that is the last one, once the moments agree
HALVINGS = 80  # how often the bracket of the tilted mode is halved
REACH, STEP = 9.0, 0.7  # reach and step of the quadrature, in standard deviations of the cavity
LARGEST_STEP = 0.4  # largest step in units of f, on whose scale powers of the logistic function are smooth
MOST = 4000  # points of the quadrature to either side

Vector = Float[np.ndarray, " P"]
Square = Float[np.ndarray, "P P"]
Sites = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Propagated(LatentGaussian):
    """The Gaussian of expectation propagation.

    Parameters
    ----------
    residual : float
        The largest difference of a marginal moment from the tilted one, in standard deviations.
    log_evidence : float
        Log Z.
    start : tuple of two arrays
        The sites ν and τ.
    """

    log_evidence: float
    start: Sites

    accuracy = CONVERGED


def swept(
    sweep: Callable[[Sites], tuple[Propagated, Callable[[], Sites]]],
    sites: Sites,
    *,
    exact: float,
    damping: float,
    most: int,
) -> Propagated:
    """Return what sweeps over all sites at a time lead to, each damped.

    Parameters
    ----------
    sweep : callable
        From sites to the Gaussian that they make, and the function that gives the sites of the tilted moments.
    sites : tuple of two arrays
        Where the sweeps start.
    exact : float
        The residual below which they end.
    damping : float
        The largest part of its way that a site goes in a sweep.
    most : int
        How many sweeps there are at most.

    Raises
    ------
    OverflowError
        If the numbers are out of the range of double precision.
    """
    part, last = damping, np.inf
    for _ in range(most):
        found, matched = sweep(sites)
        residual = found.residual
        if not np.isfinite(residual):
            raise OverflowError
        if residual < exact or (residual < CONVERGED and residual > STUCK * last):
            break
        part = max(LEAST_DAMPING, part / 2) if residual > last else min(damping, GROWTH * part)
        last = residual
        (nu, tau), (new_nu, new_tau) = sites, matched()
        sites = nu + part * (new_nu - nu), tau + part * (new_tau - tau)
    return found


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

    def sweep(sites: Sites) -> tuple[Propagated, Callable[[], Sites]]:
        nu, tau = sites
        curvature, a, mean, variance = _conditioned(full, nu, tau)
        cavity_variance = 1 / (1 / variance - tau)
        cavity_mean = cavity_variance * (mean / variance - nu)
        log_z, tilted_mean, tilted_variance = _tilted(likelihood, cavity_mean, cavity_variance)
        means, variances = (tilted_mean - mean) / np.sqrt(variance), tilted_variance / variance - 1
        residual = max(float(np.abs(each).max()) for each in (means, variances))
        shift = cavity_mean + cavity_variance * nu
        of_sites = (shift**2 / (1 + cavity_variance * tau) - cavity_mean**2) / cavity_variance
        of_sites -= np.log1p(cavity_variance * tau)
        evidence = float((log_z - of_sites / 2).sum()) + float(nu @ mean) / 2 - curvature.log_det / 2

        def matched() -> Sites:
            precision = np.maximum(1 / tilted_variance - 1 / cavity_variance, 0)
            return tilted_mean / tilted_variance - cavity_mean / cavity_variance, precision

        return Propagated(K, a, mean, residual, curvature, evidence, sites), matched

    sites = _sites_at_the_mode(likelihood, K) if start is None else start
    return swept(sweep, sites, exact=EXACT, damping=DAMPING, most=MAX_SWEEPS)


def _sites_at_the_mode(likelihood: Bernoulli, K: Square) -> Sites:
    """Return the sites of Laplace's approximation."""
    at = laplace_approximation(likelihood, K)
    tau = at.curvature.root**2
    return at.a + tau * at.f, tau


def _conditioned(K: Square, nu: Vector, tau: Vector) -> tuple[BernoulliCurvature, Vector, Vector, Vector]:
    """Return the sites with K, and a, mean and variances of q."""
    root = np.sqrt(tau)
    factor = scaled_factor(K, root)
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
    low, high = np.zeros_like(mean), variance / T  # bounds of y (f - m)
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
