r"""The posterior of one scale, by the trapezoidal rule over u = log r.

.. math:: y \mid r \sim N(0, B(r)), \qquad r \sim \text{mixing law}, \qquad
          -2 \log p(u \mid y) = -2 \log p(u) + \log\det B + y^T B^{-1} y + \text{const}

The integrand is analytic in u and falls off on both sides, so that the rule converges exponentially: halving the step
squares the error.

References
----------
Theory notes, section 4 (finite N beyond the saddle) and section 5.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from sklearn.exceptions import ConvergenceWarning

from stpbnn.scale.minima import bracket_end, minima
from stpbnn.scale.posterior import ACCURACY, OrderParameterPosterior, weighted
from stpbnn.scale.priors import MixingLaw
from stpbnn.scale.resolvent import Resolvent

__all__ = ["NO_MINIMUM", "bracket", "mean_difference", "posterior_of_action", "scale_posterior", "valleys"]

RISE = 80.0  # height of the action above its minimum at which the integrand, e^-40, is dropped
TOLERANCE = 1e-10
MAX_NODES = 4096  # in one valley
LOWEST = 300.0  # largest -u, at T = 0
NO_MINIMUM = "the action has no minimum at T = 0: it falls without bound as Q goes to zero"

Curve = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]


def bracket(
    resolvent: Resolvent, prior: Curve, centre: float, log_scale: Callable[[float], Any] = float
) -> tuple[float, float]:
    """Return bounds of u that hold every minimum of the action.

    tr B^{-1} rK rises with u, y^T B^{-1} y falls, and the law is convex. Hence left of a point where the law pushes
    to the right harder than the first pushes to the left, the action falls all the way; and right of a point where
    both outweigh what is left of y^T B^{-1} y, it rises all the way.

    Parameters
    ----------
    resolvent : Resolvent
        Kernel, targets and variances.
    prior : callable
        The slope of the prior's part of the action in u.
    centre : float
        Its most probable u.
    log_scale : callable
        The logarithm of the scale of the kernel at u, which rises with u.
    """

    def push(u: float) -> tuple[float, float, float]:
        at = resolvent.at(np.array([log_scale(u)]))
        return float((prior(np.array([u])) + at.rise)[0]), float(at.fall[0]), float(at.misfit[0])

    def falling(u: float) -> bool:
        pushed, fall, _ = push(u)
        return pushed < (fall if resolvent.temperature == 0 else 0.0)

    def rising(u: float) -> bool:
        if log_scale(u) > resolvent.highest - 1:
            pushed, fall, _ = push(u)
            if pushed > fall:
                return True
            raise np.linalg.LinAlgError("the posterior of the scale lies where the kernel is lost to rounding")
        pushed, _, misfit = push(u)
        return pushed > misfit - resolvent.unreachable

    lower = bracket_end(centre, -1.0, falling, LOWEST, np.linalg.LinAlgError(NO_MINIMUM))
    return lower, bracket_end(centre, 1.0, rising, np.inf, np.linalg.LinAlgError(NO_MINIMUM))


def valleys(action: Curve, minima: list[float], rise: float) -> list[tuple[float, float]]:
    """Return disjoint intervals of u; outside p(u | y) and e^u p(u | y) are below e^(-rise/2) of their peaks.

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


def scale_posterior(resolvent: Resolvent, law: MixingLaw) -> OrderParameterPosterior:
    r"""Return p(r | y) ∝ p(r) N(y; 0, B(r)) as nodes and weights, by quadrature over u = log r.

    The steps of the trapezoidal rule on the valleys of the action are halved until log evidence and mean of r agree to
    1e-10. Higher moments need not exist: the inverse gamma law has tails of a power.

    Parameters
    ----------
    resolvent : Resolvent
        Kernel, targets and variances.
    law : MixingLaw
        Prior of the scale.

    Raises
    ------
    numpy.linalg.LinAlgError
        If B is singular, or p(r | y) cannot be normalised (T = 0 only).

    Warns
    -----
    ConvergenceWarning
        If the accuracy is not reached.

    Examples
    --------
    At T = 0 the inverse gamma law gives the multivariate Student's t.

    >>> from scipy.stats import multivariate_t
    >>> from stpbnn.scale import InverseGamma
    >>> y, K = np.array([1.0, -0.5]), np.array([[1.0, 0.3], [0.3, 2.0]])
    >>> exact = multivariate_t.logpdf(y, shape=3 / 5 * K, df=5)
    >>> posterior = scale_posterior(Resolvent.spectral(K, y[:, None], 0.0), InverseGamma(5.0))
    >>> bool(abs(posterior.log_evidence - exact) < 1e-12)
    True
    """

    def action(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return law.value(u) + resolvent.at(u).value

    def slope(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return law.slope(u) + resolvent.at(u).slope

    found = minima(slope, *bracket(resolvent, law.slope, law.centre))
    return posterior_of_action(action, found, resolvent.size * np.log(2 * np.pi) / 2)


def posterior_of_action(
    action: Curve, minima: list[float], constant: float = 0.0, rise: float = RISE, tolerance: float = TOLERANCE
) -> OrderParameterPosterior:
    """Return the law of density exp(-action(u)/2 - constant) in u = log r, as nodes and weights.

    Parameters
    ----------
    action : callable
        -2 log p(u, y), of an array of u.
    minima : list of float
        Where it has its minima.
    constant : float
        What is left out of half the action.
    rise : float
        By how much the action rises above its minimum where the integrand is left out.
    tolerance : float
        Of log evidence and mean of r between a step and half of it.
    """
    intervals_of_u = valleys(action, minima, rise)

    def rule(n: int) -> OrderParameterPosterior:
        u = np.concatenate([np.linspace(left, right, n) for left, right in intervals_of_u])
        log_step = np.repeat([np.log((right - left) / (n - 1)) for left, right in intervals_of_u], n)
        return weighted(u[:, None], log_step - action(u) / 2 - constant, np.inf)

    intervals = 16
    result = rule(intervals + 1)
    while result.error > tolerance and intervals < MAX_NODES:
        intervals *= 2
        finer = rule(intervals + 1)
        result = finer._replace(error=mean_difference(finer, result))
    if not result.error < ACCURACY:
        warnings.warn(
            f"the quadrature over the order parameter did not converge: relative error {result.error:.1e} with "
            f"{intervals} intervals",
            ConvergenceWarning,
            stacklevel=2,
        )
    return result


def mean_difference(a: OrderParameterPosterior, b: OrderParameterPosterior) -> float:
    """Return the larger relative difference of evidence and mean."""
    return float(max(abs(a.log_evidence - b.log_evidence), *np.abs(np.log(a.mean / b.mean))))
