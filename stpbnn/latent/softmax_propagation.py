r"""Expectation propagation for C classes: a Gaussian with the moments that the softmax of each example gives it.

A softmax knows the C - 1 contrasts :math:`g = H^T f` alone, with orthonormal columns H across (1, …, 1); their prior is
that of f. Each example has a site of C - 1 dimensions,

.. math::
    q(g) \propto N(g; 0, K \otimes 1) \prod_\mu e^{\nu_\mu^T g_\mu - g_\mu^T \Lambda_\mu g_\mu / 2}

whose moments follow from the derivatives of the tilted norm in the mean m and with the covariance V of the cavity,

.. math::
    \log \hat Z = \log E\, p(c \mid H g)^{1/T}, \quad g \sim N(m, V), \qquad
    b = \partial_m \log \hat Z, \quad D = \partial_m \partial_m^T \log \hat Z, \qquad
    \Lambda = -(1 + D V)^{-1} D, \quad \nu = b + \Lambda (m + V b)

by averages over a fixed even set of points, half of them drawn as from q and half as from the cavity, and weighted for
that. One sweep factorises a matrix of P (C - 1) rows.

References
----------
Minka, Proc. UAI 17, 362 (2001); Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), section 3.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, helmert, lapack, solve_triangular
from scipy.special import log_softmax, ndtri
from scipy.stats import qmc

from stpbnn._linalg import log_det_of, mirrored
from stpbnn._slices import slices
from stpbnn.latent.categorical import Categorical
from stpbnn.latent.laplace import laplace_approximation
from stpbnn.latent.latent_gaussian import positive_factor
from stpbnn.latent.propagation import Propagated, Sites, swept

__all__ = ["Contrasts", "propagate_softmax"]

MAX_SWEEPS = 100
EXACT = 1e-7  # differences of moments, in standard deviations, at which sweeps end
DAMPING = 0.8
POINTS = 9  # powers of two of the points of either half; each stands beside its opposite
BLOCK = 2**21  # numbers that are held at a time
LEAST = 1e-12  # the least variance, relative to the prior

Square = Float[np.ndarray, "P P"]
Blocks = Float[np.ndarray, "P d d"]


@dataclass(frozen=True)
class Contrasts:
    """Sites Λ = R R^T with a kernel: the Cholesky factor of B = 1 + R^T (K ⊗ 1) R, and H."""

    roots: Blocks
    factor: Float[np.ndarray, "Pd Pd"]
    basis: Float[np.ndarray, "C d"]

    @property
    def log_det(self) -> float:
        """The logarithm of det B."""
        return log_det_of(self.factor)

    def damp(self, v: Float[np.ndarray, "P d"]) -> Float[np.ndarray, "P d"]:
        """Return M v of contrasts, with M = R B^{-1} R^T."""
        inner = np.einsum("pca,pc->pa", self.roots, v)
        return np.einsum("pca,pa->pc", self.roots, cho_solve((self.factor, True), inner.ravel()).reshape(v.shape))

    def diagonal_blocks(self) -> Square:
        """Return the sum over contrasts of the blocks of M that couple one with itself, the lower triangle."""
        P, d, _ = self.roots.shape
        inverse, _ = lapack.dpotri(self.factor, lower=1)
        full = mirrored(inverse).reshape(P, d, P, d)
        found: Square = np.tril(np.einsum("pca,paqb,qcb->pq", self.roots, full, self.roots, optimize=True))
        return found

    def halves(self, cross: Float[np.ndarray, "n P"]) -> Float[np.ndarray, "Pd n d"]:
        """Return F^{-1} R^T k at each query point, whose squares are k M k^T."""
        P, d, _ = self.roots.shape
        columns = np.einsum("pca,np->panc", self.roots, cross).reshape(P * d, -1)
        return solve_triangular(self.factor, columns, lower=True, check_finite=False).reshape(P * d, len(cross), d)

    def explained(self, cross: Float[np.ndarray, "n P"]) -> Float[np.ndarray, "n C C"]:
        """Return k M k^T of the C functions at each query point."""
        halves = self.halves(cross)
        found = np.einsum("knc,knd->ncd", halves, halves, optimize=True)
        return self.basis @ found @ self.basis.T


def propagate_softmax(likelihood: Categorical, K: Square, start: Sites | None = None) -> Propagated:
    """Return the fixed point of expectation propagation, all sites at a time, damped; it starts at Laplace's mode.

    Parameters
    ----------
    likelihood : Categorical
        Labels and temperature.
    K : array of shape (P, P)
        The kernel in Fortran's order, whose lower triangle is read.
    start : tuple of arrays of shape (P, C - 1) and (P, C - 1, C - 1), or None
        Sites at which to start, such as those of a kernel nearby.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the kernel is not positive semidefinite.
    OverflowError
        If the numbers are out of the range of double precision.

    Examples
    --------
    >>> K = np.asfortranarray(np.diag([4.0, 4.0, 4.0]))
    >>> found = propagate_softmax(Categorical(np.eye(3)), K)
    >>> found.f[0].round(1), found.converged
    (array([ 1.4, -0.7, -0.7]), True)
    """
    full = mirrored(K)
    H = helmert(likelihood.shape[1]).T
    one = np.eye(H.shape[1])
    least = LEAST * np.diag(K)[:, None, None] * one + np.finfo(float).tiny

    def sweep(at: Sites) -> tuple[Propagated, Callable[[], Sites]]:
        nu, precision = at
        sites = _with_kernel(precision, full, H)
        a = nu - sites.damp(full @ nu)
        mean, halves = full @ a, sites.halves(full)
        covariance = np.diag(K)[:, None, None] * one + least
        covariance = covariance - np.einsum("kpc,kpd->pcd", halves, halves, optimize=True)
        # the cavity: V = (Σ^{-1} − Λ)^{-1}, and its mean
        cavity = _symmetric(np.linalg.solve(one - covariance @ precision, covariance))
        cavity_mean = mean + np.einsum("pcd,pd->pc", cavity, np.einsum("pcd,pd->pc", precision, mean) - nu)
        of_sites = _of_sites(nu, precision, cavity_mean, cavity)
        places = ((mean, covariance), (cavity_mean, cavity))
        log_z, b, D = _tilted(likelihood, H, places, (nu, precision, of_sites))
        shift = np.einsum("pcd,pd->pc", cavity, b)
        spread = np.sqrt(np.einsum("pcc->pc", covariance))
        means = (cavity_mean + shift - mean) / spread
        covariances = (cavity + cavity @ D @ cavity - covariance) / (spread[:, :, None] * spread[:, None, :])
        residual = max(float(np.abs(each).max()) for each in (means, covariances))
        evidence = float((log_z - of_sites).sum()) + float(np.vdot(nu, mean)) / 2 - sites.log_det / 2

        def matched() -> Sites:
            new = _positive(-np.linalg.solve(one + D @ cavity, D))
            return b + np.einsum("pcd,pd->pc", new, cavity_mean + shift), new

        return Propagated(K, a @ H.T, mean @ H.T, residual, sites, evidence, at), matched

    sites = _sites_at_the_mode(likelihood, K, H) if start is None else start
    return swept(sweep, sites, exact=EXACT, damping=DAMPING, most=MAX_SWEEPS)


def _sites_at_the_mode(likelihood: Categorical, K: Square, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sites of Laplace's approximation."""
    at = laplace_approximation(likelihood, K)
    pi = at.curvature.pi
    precision = _of_contrasts(pi, H) / likelihood.temperature
    return at.a @ H + np.einsum("pcd,pd->pc", precision, at.f @ H), precision


def _of_contrasts(pi: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Return H^T (diag π − π π^T) H for probabilities (..., C)."""
    mean = pi @ H
    return np.einsum("...k,kc,kd->...cd", pi, H, H, optimize=True) - mean[..., :, None] * mean[..., None, :]


def _with_kernel(precision: Blocks, K: Square, H: np.ndarray) -> Contrasts:
    """Return the sites with a kernel; LinAlgError where it is not positive semidefinite."""
    values, vectors = np.linalg.eigh(precision)
    roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    P, d, _ = roots.shape
    flat = roots.transpose(0, 2, 1).reshape(P * d, d)
    B = np.asfortranarray((flat @ flat.T) * np.repeat(np.repeat(K, d, axis=0), d, axis=1))
    B[np.diag_indices_from(B)] += 1
    return Contrasts(roots, positive_factor(B), H)


def _tilted(
    likelihood: Categorical, H: np.ndarray, places: Sequence[tuple[np.ndarray, Blocks]], sites: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log Ẑ of each example, its gradient b in the mean of the cavity, and the second derivatives D.

    The places are mean and covariance of q and of the cavity; the sites, with their logarithmic norms under the cavity,
    tell the densities of these two apart.
    """
    points, T = _even_points(H.shape[1]), likelihood.temperature
    laws = [(mean, np.linalg.cholesky(covariance)) for mean, covariance in places]
    parts = []
    for part in slices(len(laws[0][0]), BLOCK // (2 * len(points) * len(H))):
        chosen, (nu, precision, norms) = likelihood.targets[part], (each[part] for each in sites)
        g = np.concatenate(
            [mean[part, None] + np.matmul(points, root[part].transpose(0, 2, 1)) for mean, root in laws], axis=1
        )
        logs = log_softmax(g @ H.T, axis=2)
        of_q = np.einsum("pmc,pc->pm", g, nu) - np.einsum("pmc,pmc->pm", g @ precision, g) / 2 - norms[:, None]
        log_weights = np.einsum("pmk,pk->pm", logs, chosen) / T - np.logaddexp(of_q, 0) + np.log(2)
        top = log_weights.max(axis=1, keepdims=True)
        weights = np.exp(log_weights - top)
        total = weights.sum(axis=1)
        weights /= total[:, None]
        pi = np.exp(logs)
        slope = ((chosen[:, None] - pi) @ H) / T
        b = np.einsum("pm,pmc->pc", weights, slope)
        outward = np.matmul((weights[:, :, None] * slope).transpose(0, 2, 1), slope) - b[:, :, None] * b[:, None, :]
        mean_pi, inner = np.einsum("pm,pmk->pk", weights, pi), pi @ H
        curved = np.einsum("pk,kc,kd->pcd", mean_pi, H, H, optimize=True)
        curved -= np.matmul((weights[:, :, None] * inner).transpose(0, 2, 1), inner)
        parts.append((top[:, 0] + np.log(total / g.shape[1]), b, _symmetric(outward - curved / T)))
    log_z, b, D = (np.concatenate(some) for some in zip(*parts, strict=True))
    return log_z, b, D


@cache
def _even_points(dimensions: int) -> Float[np.ndarray, "m d"]:
    """Return a fixed set of points with mean zero and the identity as covariance, evenly spread."""
    half = ndtri(qmc.Sobol(dimensions, scramble=True, rng=0).random_base2(POINTS))
    points = np.concatenate([half, -half])
    return solve_triangular(np.linalg.cholesky(points.T @ points / len(points)), points.T, lower=True).T


def _of_sites(nu: np.ndarray, precision: Blocks, mean: np.ndarray, covariance: Blocks) -> np.ndarray:
    """Return log E exp(ν g − g Λ g / 2) under the cavity."""
    inner = np.eye(nu.shape[1]) + covariance @ precision
    shifted = mean + np.einsum("pcd,pd->pc", covariance, nu)
    pulled = np.linalg.solve(inner, shifted[..., None])[..., 0]  # the mean of cavity and site together
    linear = np.einsum("pc,pc->p", nu, mean + pulled)
    bent = np.einsum("pc,pcd,pd->p", mean, precision, pulled)
    return (linear - bent - np.linalg.slogdet(inner)[1]) / 2


def _symmetric(blocks: Blocks) -> Blocks:
    return (blocks + blocks.transpose(0, 2, 1)) / 2


def _positive(blocks: Blocks) -> Blocks:
    """Return the nearest positive semidefinite matrices."""
    values, vectors = np.linalg.eigh(_symmetric(blocks))
    return (vectors * np.maximum(values, 0)[:, None, :]) @ vectors.transpose(0, 2, 1)
