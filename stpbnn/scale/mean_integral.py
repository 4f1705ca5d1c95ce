r"""Features with a mean, one hidden layer: the scale of the kernel, and how much of the mean is there.

.. math::
    f \mid a, Q \sim N(a\,m,\ Q \tilde K + b\,11^T), \qquad \tilde K = K_1 - m m^T, \qquad
    a \sim N(0, 1), \quad Q = (a^2 + g)/N_1, \quad g \sim \chi^2_{N_1 - 1}

The readout weights v of N_1 units are a Gaussian vector with :math:`Q = |v|^2/N_1`, and a is one of its components.
Length and direction of such a vector are independent: with :math:`a = \sqrt{N_1 Q}\, t`,

.. math:: Q \sim \mathrm{Gamma}(\tfrac{N_1}2, \text{rate } \tfrac{N_1}2), \qquad
          p(t) \propto (1 - t^2)^{(N_1 - 3)/2}, \quad -1 < t < 1.

Given Q everything costs O(P) once, and the exponent is a parabola in t: the inner integral, over
:math:`s = \mathrm{artanh}\, t`, has one peak and costs nothing; the outer one is that of `trapezoid`. Both integrands
are analytic and fall off on both sides, so that the trapezoidal rule converges exponentially, in variables that make
long tails short.

References
----------
Theory notes, eq. (3.3).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning

from stpbnn._special import log_gamma_ratio
from stpbnn.scale.minima import bracket_end, minima_of_values
from stpbnn.scale.posterior import ACCURACY, OrderParameterPosterior, weighted
from stpbnn.scale.priors import Gamma
from stpbnn.scale.resolvent import Moments, Resolvent
from stpbnn.scale.trapezoid import LOWEST, NO_MINIMUM, mean_difference, valleys

__all__ = ["mean_moments", "mean_posterior"]

RISE = 66.0  # height of the action above its minimum at which the integrand, e^-33, is dropped
NEGLIGIBLE = 1e-13  # weight, relative to the largest one, of nodes that are dropped
TOLERANCE = 1e-10
INTERVALS, MAX_INTERVALS = 16, 1024
HALVINGS = 48
SMALLEST = 1000.0  # largest -log Q: far below the smallest double


class Parabola(NamedTuple):
    """−2 log N(y; a m, A) = base + μ (√(N Q) t − c)² at every Q."""

    base: Float[np.ndarray, " n"]
    mu: Float[np.ndarray, " n"]
    c: Float[np.ndarray, " n"]
    length: Float[np.ndarray, " n"]  # √(N Q)


def _parabola(resolvent: Resolvent, width: int, u: Float[np.ndarray, " n"]) -> Parabola:
    """Complete the square in the amplitude of the mean: c fits the targets best, and base is what is left of them."""
    at = resolvent.at(u)
    mu, nu = at.quadratic[:, 1, 1], at.quadratic[:, 0, 1]
    c = np.where(mu > 0, nu / np.where(mu > 0, mu, 1), 0)
    rest, solved = _residual(resolvent, at.alpha, c)
    return Parabola(at.log_det + np.sum(rest * solved, axis=1), mu, c, np.sqrt(width) * np.exp(u / 2))


def _residual(
    resolvent: Resolvent, alpha: Float[np.ndarray, "n P 2"], amplitude: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n P"], Float[np.ndarray, "n P"]]:
    """Return y − a m and B^{-1} (y − a m)."""
    (y, m), a = resolvent.columns.T, amplitude[:, None]
    return y - a * m, alpha[:, :, 0] - a * alpha[:, :, 1]


def _log_sech(s: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    size = np.abs(s)
    small = np.log1p(-(np.tanh(np.minimum(size, 0.5)) ** 2)) / 2
    return np.where(size < 0.5, small, np.log(2) - size - np.log1p(np.exp(-2 * size)))


def _exponent(width: int, at: Parabola, s: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Return the exponent of the integrand in s, with the normalisation of its prior."""
    N = width
    constant = np.log(N / (2 * np.pi)) / 2 - log_gamma_ratio(N / 2, -0.5)[0]
    gap = at.length[:, None] * np.tanh(s) - at.c[:, None]
    return (N - 1) * _log_sech(s) - at.mu[:, None] * gap**2 / 2 + constant


def _bisect(inside: Callable[[np.ndarray], np.ndarray], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the points where `inside`, true at the left ends, ceases to be so."""
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        here = inside(middle)
        left, right = np.where(here, middle, left), np.where(here, right, middle)
    return (left + right) / 2


def _nodes(
    left: Float[np.ndarray, " n"], peak: Float[np.ndarray, " n"], right: Float[np.ndarray, " n"], intervals: int
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Return nodes between left and right, and log weights of the trapezoidal rule in x, node = peak + w sinh x.

    The peak is about eight standard deviations from the nearer end, w three of them: a Gaussian is hardly changed, and
    an exponential tail is cut short.
    """
    width = 3 / 8 * np.minimum(right - peak, peak - left)
    start, end = np.arcsinh((left - peak) / width), np.arcsinh((right - peak) / width)
    x, step = np.linspace(start, end, intervals + 1, axis=1), (end - start) / intervals
    return peak[:, None] + width[:, None] * np.sinh(x), np.log((step * width)[:, None] * np.cosh(x))


def _directions(width: int, at: Parabola, intervals: int) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Return nodes t of the inner integral at every Q, and the logarithms of their weights times the integrand."""
    N = width
    if N == 1:  # a² = Q: the two signs
        t = np.broadcast_to([-1.0, 1.0], (len(at.mu), 2))
        return t, -at.mu[:, None] * (at.length[:, None] * t - at.c[:, None]) ** 2 / 2 - np.log(2)

    def rises(s: np.ndarray) -> np.ndarray:
        t = np.tanh(s)
        return (N - 1) * t < at.mu * at.length * (at.c - at.length * t) / np.cosh(s) ** 2

    # beyond log(2 + |pull|/(N − 1)) the prior outweighs the data
    reach = np.log(2 + 4 * at.mu * at.length * (np.abs(at.c) + at.length) / (N - 1))
    peak = _bisect(rises, -reach, reach)
    level = _exponent(width, at, peak[:, None])[:, 0] - RISE / 2

    def above(s: np.ndarray) -> np.ndarray:
        return _exponent(width, at, s[:, None])[:, 0] > level

    beyond = 2 * np.abs(peak) + np.log(2) + (RISE + at.mu * (at.length + np.abs(at.c)) ** 2) / (N - 1)
    left, right = (_bisect(above, peak, peak + sign * beyond) for sign in (-1, 1))
    s, log_steps = _nodes(left, peak, right, intervals)
    return np.tanh(s), _exponent(width, at, s) + log_steps


def _rows(
    resolvent: Resolvent, width: int, u: Float[np.ndarray, " n"], intervals: int
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Return amplitudes a and log p(u) p(y | u) split over them, but for the P log 2π, at every u = log Q."""
    at = _parabola(resolvent, width, u)
    t, logs = _directions(width, at, intervals)
    return at.length[:, None] * t, logs - (at.base + Gamma(float(width)).value(u))[:, None] / 2


def mean_action(resolvent: Resolvent, width: int, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return −2 log p(u, y) without the P log 2π: the direction is integrated out."""
    _, logs = _rows(resolvent, width, u, 2 * INTERVALS)
    return -2 * np.logaddexp.reduce(logs, axis=1)


def mean_bracket(resolvent: Resolvent, width: int) -> tuple[float, float]:
    """Return bounds of u that hold every point at which the action is near its minimum.

    What is left of the targets at the best |a| ≤ √(N Q) falls with u: where the prior pushes to the right harder than
    log det A to the left, the bound falls all the way. On the other side prior and log det A, which is convex, rise.
    """
    law, zero = Gamma(float(width)), resolvent.temperature == 0

    def low(u: float) -> bool:
        place = np.array([u])
        parabola, at = _parabola(resolvent, width, place), resolvent.at(place)
        rest, solved = _residual(resolvent, at.alpha, np.clip(parabola.c, -parabola.length, parabola.length))
        fall = np.sum(solved * at.multiply(solved[:, :, None])[:, :, 0]) if zero else 0.0
        falls = law.slope(place)[0] + at.freedom[0] < fall
        return bool(falls and law.value(place)[0] + at.log_det[0] + np.vdot(rest, solved) > level)

    def high(u: float) -> bool:
        place = np.array([u])
        at = resolvent.at(place)
        return bool((law.slope(place) + at.freedom)[0] > 0 and (law.value(place) + at.log_det)[0] > level)

    level = float(mean_action(resolvent, width, np.arange(-20.0, 40.0)).min()) + RISE
    unbounded, tiny = np.linalg.LinAlgError(NO_MINIMUM), OverflowError("the scale is below the smallest double")
    lower = bracket_end(0.0, -1.0, low, *((LOWEST, unbounded) if zero else (SMALLEST, tiny)))
    return lower, bracket_end(0.0, 1.0, high, np.inf, tiny)


def mean_posterior(resolvent: Resolvent, width: int) -> OrderParameterPosterior:
    r"""Return p(Q, a | y) as nodes and weights, by a trapezoidal rule in log Q and artanh t.

    The rule is made finer until log evidence and means of Q and a² agree to 1e-10 with those of the next finer one.

    Parameters
    ----------
    resolvent : Resolvent
        K̃ with the columns y and m, and the variances, in the eigenbasis.
    width : int
        N_1.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A is singular, or p(Q | y) cannot be normalised (T = 0 only).

    References
    ----------
    Theory notes, eq. (3.3) and section 4 (finite N beyond the saddle).

    Examples
    --------
    One example of one unit: f = v φ with v ~ N(0, 1) and φ ~ N(m, K̃).

    >>> from scipy.integrate import quad
    >>> from scipy.stats import norm
    >>> y, m, K, T = 0.7, 0.5, 0.3, 0.1
    >>> exact = quad(lambda v: norm.pdf(v) * norm.pdf(y, v * m, (v * v * K + T) ** 0.5), -9, 9, epsabs=1e-13)[0]
    >>> found = mean_posterior(Resolvent.spectral(np.array([[K]]), np.array([[y, m]]), T), 1)
    >>> bool(abs(np.exp(found.log_evidence) / exact - 1) < 1e-10)
    True
    """

    def action(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return mean_action(resolvent, width, u)

    lowest = minima_of_values(action, *mean_bracket(resolvent, width))
    left, right = np.array(valleys(action, lowest, RISE)).T
    minima, constant = np.array(lowest), len(resolvent.ones) * np.log(2 * np.pi) / 2
    inside = (minima > left[:, None]) & (minima < right[:, None])
    peak = minima[np.where(inside, action(minima), np.inf).argmin(axis=1)]

    def rule(scales: int, directions: int) -> OrderParameterPosterior:
        u, log_steps = (array.ravel() for array in _nodes(left, peak, right, scales))
        amplitudes, logs = _rows(resolvent, width, u, directions)
        logs += log_steps[:, None] - constant
        log_q = np.repeat(u, logs.shape[1])[:, None]
        return weighted(log_q, logs.ravel(), np.inf, amplitudes.ravel(), negligible=NEGLIGIBLE)

    intervals = np.array([INTERVALS, INTERVALS])
    while True:
        result = rule(*intervals.tolist())
        errors = np.array([_difference(rule(*(intervals * finer).tolist()), result) for finer in ((2, 1), (1, 2))])
        if errors.sum() < TOLERANCE or intervals.max() >= MAX_INTERVALS:
            break
        intervals = np.where(errors > TOLERANCE / 2, 2 * intervals, intervals)
    if not errors.sum() < ACCURACY:
        warnings.warn(
            f"the quadrature over the order parameters did not converge: relative error {errors.sum():.1e} with "
            f"{intervals[0]} by {intervals[1]} intervals",
            ConvergenceWarning,
            stacklevel=2,
        )
    return result._replace(error=float(errors.sum()))


def _difference(a: OrderParameterPosterior, b: OrderParameterPosterior) -> float:
    """Return the largest relative difference of evidence, mean of Q and mean of a²."""
    second = [float(p.weights @ p.amplitudes**2) for p in (a, b)]  # type: ignore[operator]
    return max(mean_difference(a, b), abs(np.log(second[0] / second[1])))


def mean_moments(
    resolvent: Resolvent,
    posterior: OrderParameterPosterior,
    projected: Float[np.ndarray, "q P"],
    variances: Float[np.ndarray, " q"],
    mean: Float[np.ndarray, " q"],
    within: Float[np.ndarray, "q q"] | None = None,
) -> Moments:
    """Return mean and variance of f at every query point at every node; with `within`, covariances also.

    Parameters
    ----------
    resolvent : Resolvent
        K̃ with the columns y and m.
    posterior : OrderParameterPosterior
        Nodes Q and amplitudes a.
    projected : array of shape (q, P)
        K̃ between query points and training points, times the eigenvectors of K̃ of the training set.
    variances : array of shape (q,)
        K̃ of each query point with itself.
    mean : array of shape (q,)
        m at the query points.
    within : array of shape (q, q), optional
        K̃ between the query points.
    """
    assert posterior.amplitudes is not None
    Q, node = np.unique(posterior.nodes[:, 0], return_inverse=True)
    found = resolvent.moments(np.log(Q), projected, variances, within)
    of_targets, of_mean = found.means[node, :, 0], found.means[node, :, 1]
    covariances = None if found.covariances is None else found.covariances[node]
    means = of_targets + posterior.amplitudes[:, None] * (mean - of_mean)
    return Moments(means, found.variances[node], covariances, found.prior[node])
