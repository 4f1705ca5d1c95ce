"""Minima of the action of matrices of order parameters: quasi-Newton steps from several starts, then Newton's.

References
----------
Aiudi, Pacelli et al., arXiv:2307.11807; theory notes, section 4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky
from scipy.optimize import minimize

from stpbnn.scale.local_action import LocalAction, LocalTerms
from stpbnn.scale.local_chain import Matrices
from stpbnn.scale.one_scale import saddle_points_of_scale
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint
from stpbnn.scale.steps import newton_step

__all__ = ["LocalMinimum", "local_minima"]

STEPS, MEMORY = 3000, 30  # steps and memory of the quasi-Newton search
SHARE = 1e-6  # gradient, relative to N, at which the quasi-Newton search ends; steps below it are small
NEWTON_STEPS = 30
SMALL = 0.1  # the small start, in units of the best multiple of the unit matrix
SAME_VALLEY = 1e-3  # difference of entries of Q, far above the error of the quasi-Newton search
ROUNDING = 1e-9  # relative rounding of the action
CURVATURE = 1e-10  # smallest one of a Newton step, relative to that of the prior


class LocalMinimum(NamedTuple):
    """A minimum in the coordinates z, with the Hessian there."""

    z: Float[np.ndarray, " k"]
    at: LocalTerms
    hessian: Float[np.ndarray, "k k"]


def local_minima(action: LocalAction) -> list[LocalMinimum]:
    """Return the minima of the action that were found, the lowest first.

    The search starts from the best multiples of the unit matrix, which are all found for one layer; from a small one;
    and from large matrices along the task.
    """
    found: list[LocalMinimum] = []
    for start in _starts(action):
        with contextlib.suppress(np.linalg.LinAlgError):
            z = _approached(action, start)
            W = action.order_parameters(action.factors(z))
            if not any(
                np.allclose(W, other.at.order_parameters, rtol=SAME_VALLEY, atol=SAME_VALLEY) for other in found
            ):
                found.append(_polished(action, z))
    if not found:
        raise np.linalg.LinAlgError("no minimum of the action where the kernel plus temperature is regular")
    return sorted(found, key=lambda point: point.at.value)


def best_multiples(action: LocalAction) -> list[SaddlePoint]:
    """Return the minima of the action over multiples of the unit matrices: a layer has one scale of N d units.

    Several layers are taken to enter by the product of their scales.
    """
    units = [np.eye(d) for d in action.chain.positions]
    K = np.asarray(action.pairs.kernel(action.chain.at(units).Q))
    resolvent = Resolvent.tridiagonal(K, action.y[:, None], action.temperature, action.bias)
    return saddle_points_of_scale(resolvent, np.array([of.width * of.positions for of in action.triangles]))


def _starts(action: LocalAction) -> Iterator[Float[np.ndarray, " k"]]:
    units = [np.eye(d) for d in action.chain.positions]
    scales = [point.order_parameters for point in best_multiples(action)]
    for several in (*scales, SMALL * scales[0]):
        yield _coordinates(action, [scale * one for scale, one in zip(several, units, strict=True)])
    descent = action.chain.at([scale * one for scale, one in zip(scales[0], units, strict=True)])
    _, alpha = action.conditioned(descent.Q)
    stretched = []
    for pull, W, N in zip(
        descent.pulled(action.pairs.contracted(np.outer(alpha, alpha))), descent.W, action.widths, strict=True
    ):
        strength, axes = np.linalg.eigh(pull.inner / N)
        stretched.append(W + W[0, 0] ** 2 * strength[-1] * np.outer(axes[:, -1], axes[:, -1]))
    yield _coordinates(action, stretched)


def _coordinates(action: LocalAction, W: Matrices) -> Float[np.ndarray, " k"]:
    columns = [len(e) for e in action.exponents]
    return action.coordinates([cholesky(part, lower=True)[:, :r] for part, r in zip(W, columns, strict=True)])


def _approached(action: LocalAction, z: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return a point near the minimum in whose valley z lies."""

    def value_and_gradient(z: Float[np.ndarray, " k"]) -> tuple[float, Float[np.ndarray, " k"]]:
        try:
            at = action.at(z)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(len(z))
        return at.value, at.gradient

    limits = {"maxiter": STEPS, "maxfun": 2 * STEPS, "maxcor": MEMORY}
    options = limits | {"ftol": 1e-15, "gtol": SHARE * min(action.widths)}
    return minimize(value_and_gradient, z, jac=True, method="L-BFGS-B", options=options).x


def _polished(action: LocalAction, z: Float[np.ndarray, " k"]) -> LocalMinimum:
    """Return the minimum to rounding; one Hessian serves for all steps that are small."""
    at, moved = action.at(z), 0.0
    hessian = action.hessian(at)
    for _ in range(NEWTON_STEPS):
        if moved > SHARE:
            hessian = action.hessian(at)
        step = newton_step(at.gradient, hessian, CURVATURE * min(action.widths))
        there = action.at(z + step)
        if not (there.value <= at.value + ROUNDING * abs(at.value) and there.residual < at.residual / 2):
            break
        z, at, moved = z + step, there, float(np.abs(step).max())
    return LocalMinimum(z, at, hessian)
