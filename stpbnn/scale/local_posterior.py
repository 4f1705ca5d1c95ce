r"""The posterior of matrices of order parameters at finite width, by tempered particles.

Near its mode the law of the Cholesky coordinates z is close to a Gaussian q of precision half the Hessian of -2 log p.
Particles are drawn from q and led to the posterior through

.. math:: p_\tau(z) \propto q(z)\, w(z)^\tau, \qquad w(z) = \frac{p(z)\, N(y; 0, A(z))}{q(z)}, \qquad 0 \le \tau \le 1

with τ rising as fast as half of the particles stay effective: one step of importance sampling where q is good. Between
steps the particles are resampled and moved by rotations about the mode with fresh draws of q, which leave q as it is,
so that only w decides on them, in any number of dimensions. Independent populations tell the error.

Columns of L with few degrees of freedom have heavier tails than q. Where there are such, the readout weights
themselves, normal under the prior, are drawn in place of z, and w is the likelihood: always for very few, and for some
degrees of freedom unless the likelihood is too sharp for that, where the tails do not count.

References
----------
Theory notes, sections 3 and 4. Del Moral, Doucet, Jasra, J. R. Stat. Soc. B 68, 411 (2006). Cotter, Roberts, Stuart,
White, Stat. Sci. 28, 424 (2013).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning

from stpbnn.scale.local_action import LocalAction
from stpbnn.scale.local_minima import LocalMinimum, local_minima
from stpbnn.scale.posterior import OrderParameterPosterior

__all__ = ["ACCURACY", "local_posterior"]

ACCURACY = 0.02  # standard error of the log evidence, and of the means of W relative to their diagonals
POPULATIONS = 8
FEWEST, MOST = 128, 1024  # particles of a population
EFFECTIVE = 0.5  # the share of particles that stay effective in a step of τ
REFRESHED = 1.5  # how often the particles have been renewed when τ rises again, in units of accepted squared steps
MOST_MOVES, MOST_STEPS = 30, 40  # moves of the particles at one τ, and steps of τ
FEW_ACCEPTED, MANY_ACCEPTED = 0.3, 0.6
NEGLIGIBLE = 6.0  # by how much the log weight of a second mode lies below that of the first where it does not count
FEW_DEGREES, MANY_DEGREES = 6.0, 15.0  # exponents below which the particles start from the prior, and where never


class _Particles(NamedTuple):
    """White coordinates x and log w of each, by population."""

    x: Float[np.ndarray, "g n k"]
    log_w: Float[np.ndarray, "g n"]


class _Target(Protocol):
    """A law of white coordinates x, relative to a standard normal one."""

    @property
    def action(self) -> LocalAction:
        """The action."""

    @property
    def dimension(self) -> int:
        """The number of coordinates."""

    def factors(self, x: Float[np.ndarray, "... k"]) -> list[Float[np.ndarray, "... d r"]]:
        """Return L of every layer at x."""

    def log_w(self, x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Return log w: infinitely small where A is not positive definite."""


class _Sample(NamedTuple):
    """Particles with their log weights, the log evidence of each population, and whether they are at τ = 1."""

    x: Float[np.ndarray, "g n k"]
    log_weights: Float[np.ndarray, "g n"]
    log_evidence: Float[np.ndarray, " g"]
    reached: bool


@dataclass(frozen=True)
class _AboutMode:
    """The law of z = mode + R x, where R R^T is the covariance of q."""

    action: LocalAction
    mode: Float[np.ndarray, " k"]
    root: Float[np.ndarray, "k k"]

    @classmethod
    def of(cls, action: LocalAction, minimum: LocalMinimum) -> _AboutMode:
        covariance = cho_solve((cholesky(minimum.hessian / 2, lower=True), True), np.eye(len(minimum.z)))
        return cls(action, minimum.z, cholesky(covariance, lower=True))

    @property
    def dimension(self) -> int:
        return len(self.mode)

    def factors(self, x: Float[np.ndarray, "... k"]) -> list[Float[np.ndarray, "... d r"]]:
        return self.action.factors(self.mode + x @ self.root.T)

    def log_w(self, x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        z, k = self.mode + x @ self.root.T, self.dimension
        log_q = -np.sum(x**2, axis=1) / 2 - k * np.log(2 * np.pi) / 2 - np.log(np.diag(self.root)).sum()
        prior = self.action.prior(z) + sum(of.normalisation for of in self.action.triangles)
        return self.action.log_likelihoods(self.action.factors(z)) - prior / 2 - log_q


@dataclass(frozen=True)
class _FromPrior:
    """The law of the normal numbers that make up W, N at each position; at the last layer the readout weights."""

    action: LocalAction

    @property
    def dimension(self) -> int:
        return int(sum(of.positions * of.width for of in self.action.triangles))

    def factors(self, x: Float[np.ndarray, "... k"]) -> list[Float[np.ndarray, "... d r"]]:
        sizes = [int(of.positions * of.width) for of in self.action.triangles]
        parts = zip(self.action.triangles, np.split(x, np.cumsum(sizes)[:-1], axis=-1), strict=True)
        return [part.reshape(*x.shape[:-1], of.positions, -1) / np.sqrt(of.width) for of, part in parts]

    def log_w(self, x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        return self.action.log_likelihoods(self.factors(x))


def local_posterior(action: LocalAction, random: np.random.Generator) -> OrderParameterPosterior:
    """Return p(W | y) as weighted matrices (n, D, D) of all layers, with the evidence and the standard error of both.

    Parameters
    ----------
    action : LocalAction
        -2 log p(L, y), with the exponents of Wishart's law.
    random : numpy Generator
        Source of the particles.

    Warns
    -----
    ConvergenceWarning
        If the standard error stays above 0.02, or a second mode is too high to be left out.
    """
    degrees, found = min(e.min() for e in action.exponents), None
    if degrees < MANY_DEGREES:
        found = _explored(_FromPrior(action), random)
    if found is None or (degrees >= FEW_DEGREES and not found.error < ACCURACY):
        best, *others = local_minima(action)
        found = _explored(_AboutMode.of(action, best), random)
        rival = max((_laplace(at) - _laplace(best) for at in others), default=-np.inf)
        found = found._replace(error=np.inf) if rival > -NEGLIGIBLE else found
    if not found.error < ACCURACY:
        told = "is far from the prior, or has several modes"
        told = told if found.error == np.inf else f"is known to {found.error:.1e} only, expected {ACCURACY:g}"
        warnings.warn(
            f"the posterior of the order parameters {told}; raise the temperature or the channels, or use "
            "ProportionalLimitRegressor",
            ConvergenceWarning,
            stacklevel=3,
        )
    return found


def _explored(target: _Target, random: np.random.Generator) -> OrderParameterPosterior:
    """Return weighted matrices, as many as their standard error asks for."""
    count = FEWEST
    while True:
        x, log_weights, log_evidence, reached = _tempered(target, count, random)
        W = target.action.order_parameters(target.factors(x))
        error = _standard_error(W, softmax(log_weights, axis=1), log_evidence) if reached else np.inf
        if error < ACCURACY or count * (error / ACCURACY) ** 2 > MOST:  # more particles would not reach it
            break
        count *= 2
    weights = softmax((log_weights + (log_evidence - logsumexp(log_weights, axis=1))[:, None]).ravel())
    total = float(logsumexp(log_evidence) - np.log(POPULATIONS))
    return OrderParameterPosterior(W.reshape(-1, *W.shape[-2:]), weights, total, float(error))


def _laplace(minimum: LocalMinimum) -> float:
    """Return the log evidence of a mode up to a constant."""
    return -(minimum.at.value + np.linalg.slogdet(minimum.hessian)[1]) / 2


def _tempered(target: _Target, count: int, random: np.random.Generator) -> _Sample:
    """Return particles, led from q to the posterior in a bounded number of steps."""
    x = random.standard_normal((POPULATIONS, count, target.dimension))
    particles, tau, evidence, size = _Particles(x, _log_w(target, x)), 0.0, np.zeros(POPULATIONS), 0.7
    for _ in range(MOST_STEPS):
        rise = _rise(particles.log_w, 1 - tau)
        evidence = evidence + logsumexp(rise * particles.log_w, axis=1) - np.log(count)
        tau += rise
        if tau >= 1:
            return _Sample(particles.x, rise * particles.log_w, evidence, reached=True)
        particles = _resampled(particles, rise, random)
        particles, size = _moved(target, particles, tau, size, random)
    return _Sample(particles.x, np.zeros_like(particles.log_w), evidence, reached=False)


def _log_w(target: _Target, x: Float[np.ndarray, "g n k"]) -> Float[np.ndarray, "g n"]:
    return target.log_w(x.reshape(-1, x.shape[-1])).reshape(x.shape[:-1])


def _rise(log_w: Float[np.ndarray, "g n"], most: float) -> float:
    """Return by how much τ can rise."""

    def excess(rise: float) -> float:
        weights = softmax((rise * log_w).ravel())
        return 1 / float(np.sum(weights**2)) - EFFECTIVE * weights.size

    return most if excess(most) >= 0 else float(brentq(excess, 0.0, most, rtol=1e-3))


def _resampled(particles: _Particles, rise: float, random: np.random.Generator) -> _Particles:
    """Return particles of equal weight, drawn within each population by systematic resampling."""
    G, n = particles.log_w.shape
    cumulated = np.cumsum(softmax(rise * particles.log_w, axis=1), axis=1)
    marks = (random.random((G, 1)) + np.arange(n)) / n
    chosen = np.array([np.searchsorted(c / c[-1], m) for c, m in zip(cumulated, marks, strict=True)])
    chosen = np.minimum(chosen, n - 1)
    rows = np.arange(G)[:, None]
    return _Particles(particles.x[rows, chosen], particles.log_w[rows, chosen])


def _moved(
    target: _Target, particles: _Particles, tau: float, size: float, random: np.random.Generator
) -> tuple[_Particles, float]:
    """Return particles after moves that leave p_τ as it is, and the size of the steps that was found to suit."""
    (x, log_w), renewed = particles, 0.0
    for _ in range(MOST_MOVES):
        there = np.sqrt(1 - size**2) * x + size * random.standard_normal(x.shape)
        log_there = _log_w(target, there)
        accepted = np.log(random.random(log_w.shape)) < tau * (log_there - log_w)
        x = np.where(accepted[..., None], there, x)
        log_w = np.where(accepted, log_there, log_w)
        rate = float(accepted.mean())
        renewed += rate * size**2
        if renewed > REFRESHED:
            break
        size = size * 0.7 if rate < FEW_ACCEPTED else min(1.0, size * 1.3) if rate > MANY_ACCEPTED else size
    return _Particles(x, log_w), size


def _standard_error(
    W: Float[np.ndarray, "g n D D"], weights: Float[np.ndarray, "g n"], log_evidence: Float[np.ndarray, " g"]
) -> float:
    """Return the standard error, from the populations, of the log evidence and the means of W, the largest."""
    share = np.exp(log_evidence - logsumexp(log_evidence) + np.log(POPULATIONS))
    means = np.einsum("gn,gnij->gij", weights, W)
    scale = np.sqrt(np.diagonal(means.mean(axis=0)))
    relative = means / np.outer(scale, scale)
    spread = max(float(share.std(ddof=1)), float(relative.std(axis=0, ddof=1).max()))
    return spread / np.sqrt(POPULATIONS)
