r"""One scale of one kernel: posterior of the scale and predictive mixture after one eigendecomposition.

.. math:: y \mid r \sim N(0, A(r)), \qquad A(r) = r K + b\, 1 1^T + T\, 1, \qquad r \sim \text{mixing law}

With :math:`K = U \Lambda U^T` every value of the action costs O(P), and the means and variances at all nodes and all
query points are two matrix products. The integrand is analytic in u = log r and falls off on both sides, so that
the trapezoidal rule converges exponentially: halving the step squares the error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from sklearn.exceptions import ConvergenceWarning

from stpbnn.action.spectral import eigenbasis
from stpbnn.mixtures.laws import MixingLaw
from stpbnn.mixtures.posterior import ACCURACY, OrderParameterPosterior, weighted
from stpbnn.predictive.joint import relative_rounding

__all__ = [
    "Inverse",
    "Moments",
    "Problem",
    "ScaleProblem",
    "Terms",
    "bracket",
    "curvature",
    "diagonalise",
    "difference",
    "force",
    "inverse",
    "known",
    "moments",
    "posterior",
    "rounding_error",
    "terms",
    "valleys",
]

GRID_STEP = 0.1  # of the search for minima in u
RISE = 80.0  # of the action above its minimum, at which the integrand, e^-40, is left out
TOLERANCE = 1e-10
MAX_NODES = 4096  # in one valley
LOST = 0.01  # of the log evidence, to the rounding of K, unless that is a millionth of it


class ScaleProblem(NamedTuple):
    """K = U Λ U^T, the rotated targets U^T y and ones U^T 1, the noise variance T and the bias variance b."""

    eigenvalues: Float[np.ndarray, " P"]
    eigenvectors: Float[np.ndarray, "P P"]
    targets: Float[np.ndarray, " P"]
    ones: Float[np.ndarray, " P"]
    temperature: float
    bias_variance: float

    @property
    def size(self) -> int:
        """The number of targets."""
        return len(self.targets)

    @property
    def highest(self) -> float:
        """The highest u at which the terms can be computed: any."""
        return np.inf

    @property
    def unreachable(self) -> float:
        """What is left of y^T A^{-1} y at the largest scales: the targets in the null space of K."""
        return float(self.terms(np.array([300.0])).quadratic[0])

    def terms(self, u: Float[np.ndarray, " n"]) -> Terms:
        """Return the terms of the action that depend on the data."""
        return terms(self, u)


class Problem(Protocol):
    """What the posterior of a scale needs to know of kernel and targets."""

    @property
    def size(self) -> int:
        """The number of targets."""

    @property
    def temperature(self) -> float:
        """T, the variance of the noise."""

    @property
    def highest(self) -> float:
        """The highest u at which the terms can be computed."""

    @property
    def unreachable(self) -> float:
        """A number that y^T A^{-1} y is known to exceed at any scale."""

    def terms(self, u: Float[np.ndarray, " n"]) -> Terms:
        """Return the terms of the action that depend on the data."""


class Terms(NamedTuple):
    """log det A and y^T A^{-1} y, with the rise of the one, tr A^{-1} rK, and the fall of the other, α^T rK α, in u."""

    log_det: Float[np.ndarray, " n"]
    quadratic: Float[np.ndarray, " n"]
    freedom: Float[np.ndarray, " n"]
    pull: Float[np.ndarray, " n"]


class Moments(NamedTuple):
    """Means (n, q), variances (n, q) and, where asked, covariances (n, q, q) of f at q query points given each node.

    `prior` are the variances before conditioning, whose rounding the others have.
    """

    means: Float[np.ndarray, "n q"]
    variances: Float[np.ndarray, "n q"]
    covariances: Float[np.ndarray, "n q q"] | None
    prior: Float[np.ndarray, "n q"]

    def error(self, noise: float = 0.0) -> float:
        """Return the largest relative error of the covariances with noise of that variance."""
        pairs = zip(self.prior, self.variances, strict=True)
        return max(relative_rounding(before, after + noise) for before, after in pairs)


def diagonalise(
    K: Float[np.ndarray, "P P"], y: Float[np.ndarray, " P"], temperature: float, bias_variance: float = 0.0
) -> ScaleProblem:
    """Diagonalise K; eigenvalues that are zero to rounding are set to zero."""
    values, U = eigenbasis(K)
    return ScaleProblem(values, U, U.T @ y, U.sum(axis=0), temperature, bias_variance)


class Inverse(NamedTuple):
    """U^T A^{-1} U = diag(g) − b (g∘e)(g∘e)^T / p at every node, e = U^T 1, p = 1 + b e·(g∘e); and U^T A^{-1} y."""

    scales: Float[np.ndarray, "n 1"]
    g: Float[np.ndarray, "n P"]
    p: Float[np.ndarray, "n 1"]
    alpha: Float[np.ndarray, "n P"]


def inverse(problem: ScaleProblem, u: Float[np.ndarray, " n"]) -> Inverse:
    """Return A^{-1} in the eigenbasis and U^T A^{-1} y, at an array of u = log scale."""
    scales = np.exp(u)[:, None]
    shifted = scales * problem.eigenvalues + problem.temperature
    if not shifted.min() > 0:
        raise np.linalg.LinAlgError("the kernel plus temperature is singular")
    g, b = 1 / shifted, problem.bias_variance
    p = 1 + b * (g @ problem.ones**2)[:, None]
    drawn = b * (g @ (problem.ones * problem.targets))[:, None] / p
    return Inverse(scales, g, p, g * (problem.targets - drawn * problem.ones))


def terms(problem: ScaleProblem, u: Float[np.ndarray, " n"]) -> Terms:
    """Return the terms of the action that depend on the data, at an array of u = log scale.

    Raises
    ------
    numpy.linalg.LinAlgError
        If rK + T is singular, as it is for a singular kernel at T = 0.
    """
    scales, g, p, alpha = inverse(problem, u)
    scaled = scales * problem.eigenvalues
    output_bias = problem.bias_variance * ((scaled * g**2) @ problem.ones**2) / p[:, 0]
    return Terms(
        np.log(p[:, 0]) - np.log(g).sum(axis=1),
        alpha @ problem.targets,
        (scaled * g).sum(axis=1) - output_bias,
        np.sum(scaled * alpha**2, axis=1),
    )


def curvature(problem: ScaleProblem, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the second derivative of log det A + y^T A^{-1} y in u, at an array of them.

    With D = rK it is tr A^{-1}D − tr A^{-1}D A^{-1}D − α^T D α + 2 α^T D A^{-1} D α.
    """
    scales, g, p, alpha = inverse(problem, u)
    scaled, e, b = scales * problem.eigenvalues, problem.ones, problem.bias_variance
    share, drawn, beta = scaled * g, scaled * alpha, b / p[:, 0]
    through = share * g @ e**2  # of the rank-one term of A^{-1}
    traces = share.sum(axis=1) - beta * through
    squares = np.sum(share**2, axis=1) - 2 * beta * (share**2 * g @ e**2) + (beta * through) ** 2
    bent = np.sum(drawn**2 * g, axis=1) - beta * (drawn * g @ e) ** 2
    return traces - squares - np.sum(drawn * alpha, axis=1) + 2 * bent


def _action(problem: Problem, law: MixingLaw, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    data = problem.terms(u)
    return law.value(u) + data.log_det + data.quadratic


def force(problem: Problem, law: MixingLaw, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the slope of the action in u."""
    data = problem.terms(u)
    return law.slope(u) + data.freedom - data.pull


def bracket(problem: Problem, law: MixingLaw) -> tuple[float, float]:
    """Return bounds of u that hold every minimum of the action.

    tr A^{-1} rK rises with u, y^T A^{-1} y falls, and the law is convex. Hence left of a point where the law pushes
    to the right harder than the first pushes to the left, the action falls all the way; and right of a point where
    both outweigh what is left of y^T A^{-1} y, it rises all the way.
    """

    def falling(u: float) -> bool:
        data = problem.terms(np.array([u]))
        helping = data.pull if problem.temperature == 0 else 0.0
        return bool(np.all(law.slope(np.array([u])) + data.freedom < helping))

    def rising(u: float) -> bool:
        data = problem.terms(np.array([u]))
        return bool(np.all(law.slope(np.array([u])) + data.freedom > data.quadratic - floor))

    floor = problem.unreachable
    lower = upper = law.centre
    while not falling(lower):
        lower -= 1.0
        if lower < -300:
            raise np.linalg.LinAlgError("the action has no minimum at T = 0: it falls without bound as Q goes to zero")
    while not rising(upper):
        upper += 1.0
        if upper > problem.highest - 1:
            if force(problem, law, np.array([upper]))[0] > 0:
                break
            raise np.linalg.LinAlgError("the posterior of the scale lies where the kernel is lost to rounding")
    return lower, upper


def _minima(problem: Problem, law: MixingLaw) -> list[float]:
    lower, upper = bracket(problem, law)
    grid = np.linspace(lower - GRID_STEP, upper + GRID_STEP, int((upper - lower) / GRID_STEP) + 3)
    forces = force(problem, law, grid)
    rising = np.flatnonzero((forces[:-1] < 0) & (forces[1:] >= 0))
    return [brentq(lambda u: force(problem, law, np.array([u]))[0], grid[i], grid[i + 1]) for i in rising]


def valleys(
    action: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]], minima: list[float], rise: float
) -> list[tuple[float, float]]:
    """Return disjoint intervals of u, outside of which p(u | y) and e^u p(u | y) are below e^(-rise/2) of their peak.

    Parameters
    ----------
    action : callable
        -2 log p(u | y) up to a constant, of an array of u.
    minima : list of float
        Where it has its minima.
    rise : float
        By how much it may rise above the lowest of them.

    Raises
    ------
    OverflowError
        If there are none, or the valleys are narrower than rounding: the numbers are too large.
    """
    if not minima:
        raise OverflowError("the action of the scale has no minimum that rounding leaves")
    values = action(np.array(minima))
    lowest, level = minima[int(values.argmin())], values.min() + rise

    def height(u: float) -> float:
        return float(action(np.array([u]))[0] - 2 * max(u - lowest, 0.0) - level)

    def rim(start: float, step: float) -> float:
        end = start + step
        while height(end) < 0:
            start, step = end, 2 * step
            end = start + step
        return float(brentq(height, start, end))

    found: list[tuple[float, float]] = []
    for u in minima:
        if height(u) >= 0:
            continue
        left, right = rim(u, -1e-3), rim(u, 1e-3)
        if found and left <= found[-1][1]:
            found[-1] = (found[-1][0], max(right, found[-1][1]))
        else:
            found.append((left, right))
    if not found:
        raise OverflowError("the valleys of the action are lost to rounding")
    return found


def posterior(problem: Problem, law: MixingLaw) -> OrderParameterPosterior:
    r"""Return p(r | y) ∝ p(r) N(y; 0, A(r)) as nodes and weights, by quadrature over u = log r.

    The trapezoidal rule on the valleys of the action, with steps halved until log evidence and mean of r agree to
    1e-10. Higher moments need not exist: the inverse gamma law has tails of a power.

    Parameters
    ----------
    problem : Problem
        Kernel, targets and variances, as `diagonalise` gives them.
    law : MixingLaw
        Prior of the scale.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A is singular, or p(r | y) cannot be normalised (T = 0 only).

    References
    ----------
    Theory notes, section 4 (finite N beyond the saddle) and section 5.

    Examples
    --------
    At T = 0 the inverse gamma law gives the multivariate Student's t.

    >>> from scipy.stats import multivariate_t
    >>> from stpbnn.mixtures.laws import InverseGamma
    >>> y, K = np.array([1.0, -0.5]), np.array([[1.0, 0.3], [0.3, 2.0]])
    >>> exact = multivariate_t.logpdf(y, shape=3 / 5 * K, df=5)
    >>> bool(abs(posterior(diagonalise(K, y, 0.0), InverseGamma(5.0)).log_evidence - exact) < 1e-12)
    True
    """
    intervals_of_u = valleys(partial(_action, problem, law), _minima(problem, law), RISE)

    def rule(n: int) -> OrderParameterPosterior:
        u = np.concatenate([np.linspace(left, right, n) for left, right in intervals_of_u])
        log_step = np.repeat([np.log((right - left) / (n - 1)) for left, right in intervals_of_u], n)
        constant = problem.size * np.log(2 * np.pi) / 2
        return weighted(u[:, None], log_step - _action(problem, law, u) / 2 - constant, np.inf)

    intervals = 16
    result = rule(intervals + 1)
    while result.error > TOLERANCE and intervals < MAX_NODES:
        intervals *= 2
        finer = rule(intervals + 1)
        result = finer._replace(error=difference(finer, result))
    if not result.error < ACCURACY:
        warnings.warn(
            f"the quadrature over the order parameter did not converge: relative error {result.error:.1e} with "
            f"{intervals} intervals",
            ConvergenceWarning,
            stacklevel=2,
        )
    return result


def rounding_error(
    size: float,
    scales: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"],
    resolvents: Float[np.ndarray, "n P"],
    squares: Float[np.ndarray, " n"],
) -> float:
    r"""Return by how much the rounding of K may have changed the log evidence.

    .. math:: \tfrac12\, E\, |\alpha^T r\,\delta K\, \alpha - \mathrm{tr}\, A^{-1} r\,\delta K|, \qquad
              |\delta K| \approx \epsilon |K|

    It matters where T is below the scatter that K cannot fit: r then grows until r ε |K| is of the size of T.

    Parameters
    ----------
    size : float
        |K|, the largest eigenvalue.
    scales, weights : arrays of shape (n,)
        The posterior of r.
    resolvents : array of shape (n, P)
        The eigenvalues of A(r)^{-1}.
    squares : array of shape (n,)
        |α|² = |A(r)^{-1} y|², summed over outputs.
    """
    traces = np.sqrt(np.sum(resolvents**2, axis=1))
    eps = np.finfo(np.float64).eps * np.sqrt(resolvents.shape[1])
    return float(eps * size / 2 * ((weights * scales) @ (squares + traces)))


def known(lost: float, log_evidence: float) -> bool:
    """Return whether numbers can be trusted, given what rounding may have changed of the log evidence."""
    return lost < LOST * max(1.0, 1e-4 * abs(log_evidence))


def difference(a: OrderParameterPosterior, b: OrderParameterPosterior) -> float:
    """Return the larger relative difference of evidence and mean."""
    return float(max(abs(a.log_evidence - b.log_evidence), *np.abs(np.log(a.mean / b.mean))))


def moments(
    problem: ScaleProblem,
    scales: Float[np.ndarray, " n"],
    projected: Float[np.ndarray, "q P"],
    variances: Float[np.ndarray, " q"],
    within: Float[np.ndarray, "q q"] | None = None,
) -> Moments:
    """Return mean and variance of f at every query point given every scale r; with `within`, covariances also.

    Parameters
    ----------
    problem : ScaleProblem
        The training set.
    scales : array of shape (n,)
        Values of r.
    projected : array of shape (q, P)
        K between query points and training points, times the eigenvectors U; scale and output bias are put in here.
    variances : array of shape (q,)
        K of each query point with itself.
    within : array of shape (q, q), optional
        K between the query points.
    """
    r, g, p, alpha = inverse(problem, np.log(scales))
    b, e = problem.bias_variance, problem.ones
    means = r * (alpha @ projected.T) + b * (alpha @ e)[:, None]
    # k = r K_x + b 1:  k·A^{-1} k' = r² x·g x' + r b (x + x')·g e + b² e·g e − b (k·g e)(k'·g e)/p, b e·g e = p − 1
    along = (g * e) @ projected.T
    reached = r * along + (p - 1)
    explained = r**2 * (g @ projected.T**2) + b * (2 * r * along + (p - 1) - reached**2 / p)
    prior = r * variances + b
    spread = np.maximum(prior - explained, 0)
    if within is None:
        return Moments(means, spread, None, prior)
    of_node = partial(_covariance, projected, within, b)
    return Moments(means, spread, np.stack(list(map(of_node, r, g, p, along, reached))), prior)


def _covariance(
    x: Float[np.ndarray, "q P"],
    within: Float[np.ndarray, "q q"],
    b: float,
    r: Float[np.ndarray, " 1"],
    g: Float[np.ndarray, " P"],
    p: Float[np.ndarray, " 1"],
    along: Float[np.ndarray, " q"],
    reached: Float[np.ndarray, " q"],
) -> Float[np.ndarray, "q q"]:
    """Return the covariance of f between the query points at one node."""
    root = x * np.sqrt(g)
    bias = b * (r * (along[:, None] + along) + (p - 1) - np.outer(reached, reached) / p)
    return r * within + b - r**2 * (root @ root.T) - bias
