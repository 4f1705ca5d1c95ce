r"""The shapes of the laws of f at single points under Student's t noise: Gaussian laws, corrected target by target.

Where the other targets say little of an f_i, or its own target is far off, the law of f_i is skewed, and so are those
of f nearby. No Gaussian law has the ends of their intervals. At a query point the law q of f is corrected by what each
likelihood is more than the site that stands for it,

.. math:: p(f_*) \propto q(f_*) \prod_i \int q(f_i \mid f_*)\, \frac{p(y_i \mid f_i)}{e^{b_i f_i - \tau_i f_i^2/2}}\,
          \mathrm{d}f_i

as a function of :math:`z = (f_* - m)/\sqrt{v}` within REACH standard deviations; beyond, where targets would have to be
taken together, it is held. Targets that tell f_* little apart, :math:`\mathrm{Cov}(f_i, f_*)^2 / v` being small beside
T, are left out. Mean and variance stay as they were. With g the map from a standard normal u to the corrected law,
brought to mean zero and variance one, that is written as a mixture with the same weights at all points,

.. math:: \sum_k w_k\, N\big(E\, g(u_k + s\epsilon),\, \mathrm{Var}\, g(u_k + s\epsilon)\big), \qquad
          w_k \propto N(u_k; 0, 1 - s^2), \quad \epsilon \sim N(0, 1),

which for g(u) = u is the normal law, to 1e-5.

References
----------
Cseke and Heskes, JMLR 12, 417 (2011): the factorised correction; see `moment_matching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.special import ndtr
from scipy.stats import norm

from stpbnn._slices import slices
from stpbnn.scale.moment_matching import Sites

__all__ = ["Shapes", "marginal_shapes"]

TELLING = 0.05  # least square, relative to T, of what one standard deviation of f_* moves the mean of f_i by
REACH = 5.0  # standard deviations
PLACES = np.linspace(-REACH, REACH, 41)  # values of z at which the correction is found
FINE = np.linspace(-9, 9, 721)  # values of z at which the corrected law is integrated
ROWS = 2**10  # query points that are worked at together
BLOCK = 2**9  # pairs of query points and targets that are worked at together
KNOTS = 0.5 * np.arange(-9, 10)  # u_k
BLUR = 0.4  # s
WEIGHTS = norm.pdf(KNOTS, scale=np.sqrt(1 - BLUR**2)) / norm.pdf(KNOTS, scale=np.sqrt(1 - BLUR**2)).sum()
NORMAL = np.linspace(-7, 7, 281)  # values of u
SPREAD = norm.pdf(NORMAL, KNOTS[:, None], BLUR) / norm.pdf(NORMAL, KNOTS[:, None], BLUR).sum(axis=1, keepdims=True)


class Shapes(NamedTuple):
    """Laws of mean zero and variance one, mixtures of Gaussian laws with common weights."""

    weights: Float[np.ndarray, " m"]
    means: Float[np.ndarray, "m q ..."]
    variances: Float[np.ndarray, "m q ..."]

    @classmethod
    def beside(cls, outputs: Sequence[Shapes | None], shape: tuple[int, ...]) -> Shapes | None:
        """Return those of several outputs as one, of the shape of their means; nothing where all are Gaussian."""
        if not any(outputs):
            return None
        normal = KNOTS[:, None], np.full((len(KNOTS), 1), BLUR**2)
        parts = zip(*((each.means, each.variances) if each else normal for each in outputs), strict=True)
        stacked = (np.stack(np.broadcast_arrays(*part), axis=-1) for part in parts)
        return cls(WEIGHTS, *(each.reshape(-1, *shape) for each in stacked))


def marginal_shapes(sites: Sites, covariances: Float[np.ndarray, "q P"], variances: Float[np.ndarray, " q"]) -> Shapes:
    """Return the shapes of the laws of f at query points, given its covariances with the training points under q.

    Examples
    --------
    One target that is nearly known, and one of a function that has hardly anything to do with it.

    >>> from stpbnn.scale.student_noise import StudentNoise
    >>> K = np.array([[1.0, 1e-3], [1e-3, 1.0]])
    >>> sites = Sites.of(K, np.array([3.0, 0.0]), StudentNoise(0.1, 4.0)).exact
    >>> shapes = marginal_shapes(sites, K - K @ sites.matrix @ K, sites.variances)
    >>> third = shapes.weights @ (shapes.means**3 + 3 * shapes.means * shapes.variances)
    >>> third.round(1)
    array([-1.4,  0. ])
    """
    parts = [_shapes(sites, covariances[rows], variances[rows]) for rows in slices(len(variances), ROWS)]
    return Shapes(WEIGHTS, *(np.concatenate(part, axis=1) for part in zip(*parts, strict=True)))


def _shapes(
    sites: Sites, covariances: Float[np.ndarray, "q P"], variances: Float[np.ndarray, " q"]
) -> tuple[Float[np.ndarray, "m q"], Float[np.ndarray, "m q"]]:
    """Return the means and variances of the components."""
    g = np.tile(NORMAL, (len(variances), 1))
    for row, law in zip(*_corrected(sites, covariances, variances), strict=True):
        reached = np.concatenate([[0], np.cumsum(law[1:] + law[:-1])])
        g[row] = np.interp(ndtr(NORMAL), reached / reached[-1], FINE)
    means = SPREAD @ g.T
    within = SPREAD @ g.T**2 - means**2
    means = means - WEIGHTS @ means
    variance = WEIGHTS @ (means**2 + within)
    return means / np.sqrt(variance), within / variance


def _corrected(
    sites: Sites, covariances: Float[np.ndarray, "q P"], variances: Float[np.ndarray, " q"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n z"]]:
    """Return which query points have corrected laws, and the densities of these in z at the fine places."""
    correlated = np.max(covariances**2 / sites.variances, axis=1)  # no more than the variance, but for rounding
    spread = np.sqrt(np.maximum(np.maximum(variances, correlated), np.finfo(float).tiny))
    slopes = covariances / spread[:, None]
    query, target = np.nonzero(slopes**2 > TELLING * sites.noise.temperature)
    logs = np.zeros((len(variances), len(PLACES)))
    for block in slices(len(query), BLOCK):
        rows, columns = query[block], target[block]
        np.add.at(logs, rows, _correction(sites, columns, slopes[rows, columns]))
    rows = np.unique(query)
    held = CubicSpline(PLACES, logs[rows], axis=1)(np.clip(FINE, -REACH, REACH)) - FINE**2 / 2
    return rows, np.exp(held - held.max(axis=1, keepdims=True, initial=-np.inf))


def _correction(
    sites: Sites, target: Float[np.ndarray, " n"], slope: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n z"]:
    """Return the logarithm of what likelihoods are more than their sites, up to constants, at places of f_*."""
    tau, b = sites.precision[target, None], sites.linear[target, None]
    variance = np.maximum(sites.variances[target] - slope**2, 0)[:, None]  # variance of f_i given f_*
    mean = sites.means[target, None] + slope[:, None] * PLACES
    left = 1 - variance * tau
    away = sites.targets[target, None] - (mean - b * variance) / left
    told = sites.noise.told(away.ravel(), np.repeat(variance / left, len(PLACES))).value.reshape(away.shape)
    return told + (mean * (tau * mean - 2 * b) + b**2 * variance) / left / 2
