r"""Features with a mean, one hidden layer: the scale of the kernel, and how much of the mean is there.

.. math::
    f \mid a, Q \sim N(a\,m,\ Q \tilde K + b\,11^T), \qquad \tilde K = K_1 - m m^T, \qquad
    a \sim N(0, 1), \quad Q = (a^2 + g)/N_1, \quad g \sim \chi^2_{N_1 - 1}

The readout weights v of N_1 units are a Gaussian vector with :math:`Q = |v|^2/N_1`, and a is one of its components.
Length and direction of such a vector are independent: with :math:`a = \sqrt{N_1 Q}\, t`,

.. math:: Q \sim \mathrm{Gamma}(\tfrac{N_1}2, \text{rate } \tfrac{N_1}2), \qquad
          p(t) \propto (1 - t^2)^{(N_1 - 3)/2}, \quad -1 < t < 1.

Given Q everything costs O(P) once, and the exponent is a parabola in t: the inner integral, over
:math:`s = \mathrm{artanh}\, t`, has one peak and costs nothing; the outer one is that of `scale`. Both integrands are
analytic and fall off on both sides, so that the trapezoidal rule converges exponentially, in variables that make long
tails short.

References
----------
Theory notes, eq. (3.3).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning

from stpbnn._special import log_gamma_ratio
from stpbnn.mixtures import scale
from stpbnn.mixtures.laws import Gamma
from stpbnn.mixtures.posterior import ACCURACY, OrderParameterPosterior, weighted

__all__ = ["MeanProblem", "moments", "posterior"]

GRID_STEP = 0.1  # of the search for minima in log Q
RISE = 66.0  # of the action above its minimum, at which the integrand, e^-33, is left out
NEGLIGIBLE = 1e-13  # weight, relative to the largest one, of nodes that are dropped
TOLERANCE = 1e-10
INTERVALS, MAX_INTERVALS = 16, 1024
HALVINGS = 80
LOWEST = -300.0  # of log Q, at T = 0


class MeanProblem(NamedTuple):
    """The problem posed by K̃ and the targets, the mean m rotated into the eigenbasis of K̃, and the width N_1."""

    fluctuation: scale.ScaleProblem
    mean: Float[np.ndarray, " P"]
    width: int

    @property
    def temperature(self) -> float:
        """T, the variance of the noise."""
        return self.fluctuation.temperature


class Parabola(NamedTuple):
    """−2 log N(y; a m, A) = base + μ (√(N Q) t − c)² at every Q."""

    base: Float[np.ndarray, " n"]
    mu: Float[np.ndarray, " n"]
    c: Float[np.ndarray, " n"]
    length: Float[np.ndarray, " n"]  # √(N Q)


def _parabola(problem: MeanProblem, u: Float[np.ndarray, " n"]) -> Parabola:
    """Complete the square in the amplitude of the mean: c fits the targets best, and base is what is left of them."""
    data, m = problem.fluctuation, problem.mean
    _, g, p, alpha = scale.inverse(data, u)
    _, _, _, of_mean = scale.inverse(data._replace(targets=m), u)
    mu = of_mean @ m
    c = np.where(mu > 0, of_mean @ data.targets / np.where(mu > 0, mu, 1), 0)[:, None]
    rest = np.sum((data.targets - c * m) * (alpha - c * of_mean), axis=1)
    log_det = np.log(p[:, 0]) - np.log(g).sum(axis=1)
    return Parabola(log_det + rest, mu, c[:, 0], np.sqrt(problem.width) * np.exp(u / 2))


def _log_sech(s: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    size = np.abs(s)
    small = np.log1p(-(np.tanh(np.minimum(size, 0.5)) ** 2)) / 2
    return np.where(size < 0.5, small, np.log(2) - size - np.log1p(np.exp(-2 * size)))


def _exponent(problem: MeanProblem, at: Parabola, s: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Return the exponent of the integrand in s, with the normalisation of its prior."""
    N = problem.width
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


def _directions(
    problem: MeanProblem, at: Parabola, intervals: int
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Return nodes t of the inner integral at every Q, and the logarithms of their weights times the integrand."""
    N = problem.width
    if N == 1:  # a² = Q: the two signs
        t = np.broadcast_to([-1.0, 1.0], (len(at.mu), 2))
        return t, -at.mu[:, None] * (at.length[:, None] * t - at.c[:, None]) ** 2 / 2 - np.log(2)

    def rises(s: np.ndarray) -> np.ndarray:
        t = np.tanh(s)
        return (N - 1) * t < at.mu * at.length * (at.c - at.length * t) / np.cosh(s) ** 2

    # beyond log(2 + |pull|/(N − 1)) the prior outweighs the data
    reach = np.log(2 + 4 * at.mu * at.length * (np.abs(at.c) + at.length) / (N - 1))
    peak = _bisect(rises, -reach, reach)
    level = _exponent(problem, at, peak[:, None])[:, 0] - RISE / 2

    def above(s: np.ndarray) -> np.ndarray:
        return _exponent(problem, at, s[:, None])[:, 0] > level

    beyond = 2 * np.abs(peak) + np.log(2) + (RISE + at.mu * (at.length + np.abs(at.c)) ** 2) / (N - 1)
    left, right = (_bisect(above, peak, peak + sign * beyond) for sign in (-1, 1))
    s, log_steps = _nodes(left, peak, right, intervals)
    return np.tanh(s), _exponent(problem, at, s) + log_steps


def _rows(
    problem: MeanProblem, u: Float[np.ndarray, " n"], intervals: int
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Return amplitudes a and log p(u) p(y | u) split over them, but for the P log 2π, at every u = log Q."""
    at = _parabola(problem, u)
    t, logs = _directions(problem, at, intervals)
    return at.length[:, None] * t, logs - (at.base + Gamma(float(problem.width)).value(u))[:, None] / 2


def _action(problem: MeanProblem, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return −2 log p(u, y) without the P log 2π: the direction is integrated out."""
    _, logs = _rows(problem, u, 2 * INTERVALS)
    return -2 * np.logaddexp.reduce(logs, axis=1)


class Bound(NamedTuple):
    """The action less its prior, were the direction free to fit the targets best: a lower bound; rise and fall in u."""

    value: Float[np.ndarray, " n"]
    freedom: Float[np.ndarray, " n"]
    pull: Float[np.ndarray, " n"]


def _bound(problem: MeanProblem, u: Float[np.ndarray, " n"]) -> Bound:
    data, at = problem.fluctuation, _parabola(problem, u)
    best = np.clip(at.c, -at.length, at.length)[:, None]
    alpha, of_mean = (scale.inverse(data._replace(targets=t), u).alpha for t in (data.targets, problem.mean))
    rest, solved = data.targets - best * problem.mean, alpha - best * of_mean
    found = scale.terms(data, u)
    pull = np.exp(u) * (solved**2 @ data.eigenvalues)
    return Bound(found.log_det + np.sum(rest * solved, axis=1), found.freedom, pull)


def _bracket(problem: MeanProblem) -> tuple[float, float]:
    """Return bounds of u that hold every point at which the action is near its minimum.

    What is left of the targets at the best |a| ≤ √(N Q) falls with u: where the prior pushes to the right harder than
    log det A to the left, the bound falls all the way. On the other side prior and log det A, which is convex, rise.
    """
    law, zero = Gamma(float(problem.width)), problem.temperature == 0

    def low(u: float) -> bool:
        at = np.array([u])
        bound = _bound(problem, at)
        falls = law.slope(at) + bound.freedom < (bound.pull if zero else 0.0)
        return bool(falls[0] and law.value(at)[0] + bound.value[0] > level)

    def high(u: float) -> bool:
        at = np.array([u])
        found = scale.terms(problem.fluctuation, at)
        return bool((law.slope(at) + found.freedom)[0] > 0 and (law.value(at) + found.log_det)[0] > level)

    level = float(_action(problem, np.arange(-20.0, 40.0)).min()) + RISE
    lower = upper = 0.0
    while not low(lower):
        lower -= 1.0
        if zero and lower < LOWEST:
            raise np.linalg.LinAlgError("the action has no minimum at T = 0: it falls without bound as Q goes to zero")
        if lower < -1000:
            raise OverflowError("the scale is below the smallest double")
    while not high(upper):
        upper += 1.0
    return lower, upper


def _minima(problem: MeanProblem) -> list[float]:
    lower, upper = _bracket(problem)
    grid = np.arange(lower - GRID_STEP, upper + 2 * GRID_STEP, GRID_STEP)
    values = _action(problem, grid)
    low = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:])) + 1

    def at(u: float) -> float:
        return float(_action(problem, np.array([u]))[0])

    return [float(minimize_scalar(at, bounds=(grid[i - 1], grid[i + 1]), method="bounded").x) for i in low]


def posterior(problem: MeanProblem) -> OrderParameterPosterior:
    r"""Return p(Q, a | y) as nodes and weights, by a trapezoidal rule in log Q and artanh t.

    The rule is made finer until log evidence and means of Q and a² agree to 1e-10 with those of the next finer one.

    Parameters
    ----------
    problem : MeanProblem
        Kernel, mean, targets and variances.

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
    >>> data = scale.diagonalise(np.array([[K]]), np.array([y]), T)
    >>> found = posterior(MeanProblem(data, data.eigenvectors.T @ np.array([m]), 1))
    >>> bool(abs(np.exp(found.log_evidence) / exact - 1) < 1e-10)
    True
    """
    minima, constant = np.array(_minima(problem)), len(problem.mean) * np.log(2 * np.pi) / 2
    left, right = np.array(scale.valleys(partial(_action, problem), list(minima), RISE)).T
    inside = (minima > left[:, None]) & (minima < right[:, None])
    peak = minima[np.where(inside, _action(problem, minima), np.inf).argmin(axis=1)]

    def rule(scales: int, directions: int) -> OrderParameterPosterior:
        u, log_steps = (array.ravel() for array in _nodes(left, peak, right, scales))
        amplitudes, logs = _rows(problem, u, directions)
        logs += log_steps[:, None] - constant
        log_q = np.repeat(u, logs.shape[1])[:, None]
        return weighted(log_q, logs.ravel(), np.inf, amplitudes.ravel(), negligible=NEGLIGIBLE)

    intervals = np.array([INTERVALS, INTERVALS])
    while True:
        result = rule(*intervals)
        errors = np.array([_difference(rule(*(intervals * finer)), result) for finer in ((2, 1), (1, 2))])
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
    return max(scale.difference(a, b), abs(np.log(second[0] / second[1])))


def moments(
    problem: MeanProblem,
    found: OrderParameterPosterior,
    projected: Float[np.ndarray, "q P"],
    variances: Float[np.ndarray, " q"],
    mean: Float[np.ndarray, " q"],
    within: Float[np.ndarray, "q q"] | None = None,
) -> scale.Moments:
    """Return mean and variance of f at every query point at every node; with `within`, covariances also.

    Parameters
    ----------
    problem : MeanProblem
        The training set.
    found : OrderParameterPosterior
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
    assert found.amplitudes is not None
    data = problem.fluctuation
    Q, node = np.unique(found.nodes[:, 0], return_inverse=True)
    of_targets = scale.moments(data, Q, projected, variances, within)
    of_mean = scale.moments(data._replace(targets=problem.mean), Q, projected, variances)
    means = of_targets.means[node] + found.amplitudes[:, None] * (mean - of_mean.means[node])
    covariances = None if of_targets.covariances is None else of_targets.covariances[node]
    return scale.Moments(means, of_targets.variances[node], covariances, of_targets.prior[node])
