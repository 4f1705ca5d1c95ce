"""The saddle points of the effective action, and the log evidence there."""

from __future__ import annotations

import contextlib

import numpy as np
from jaxtyping import Float

from stpbnn.action import spectral
from stpbnn.action.elastic import elastic_minimum
from stpbnn.action.layered import Evaluation, LayeredAction, descend
from stpbnn.action.point import SaddlePoint, laplace
from stpbnn.kernels import (
    Closure,
    feature_map,
    input_tiles,
    lower_triangle,
    map_tiles,
    symmetric_kernel,
)
from stpbnn.network import FullyConnected

__all__ = [
    "along_the_product",
    "gaussian_log_evidence",
    "interpolating",
    "layered_saddle_points",
    "one_scale",
    "saddle_points",
]


def saddle_points(
    net: FullyConnected,
    X: Float[np.ndarray, "P N0"],
    y: Float[np.ndarray, " P"],
    temperature: float,
    closure: Closure = "nested",
) -> list[SaddlePoint]:
    """Return the minima of the effective action of a network with one output, the lowest first.

    The landscape of the global closure is one-dimensional: all of its minima are found. With one hidden layer there
    is nothing else to do; otherwise they are the starts for the closure that was asked for.

    Parameters
    ----------
    net : FullyConnected
        The network; activations that are not odd are treated in the zero-mean form.
    X : array of shape (P, N_0)
        Training inputs.
    y : array of shape (P,)
        Targets.
    temperature : float
        T, the variance of the noise.
    closure : {"nested", "global", "wishart"}
        How the order parameters enter the kernel.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A(Q) is singular, or S has no minimum (T = 0 only).

    References
    ----------
    Theory notes, section 4, eq. (4.1).

    Examples
    --------
    One hidden layer of linear units at T = 0 has a closed form (4.3).

    >>> import jax
    >>> net = FullyConnected((4,), "linear")
    >>> with jax.enable_x64(True):
    ...     point, *others = saddle_points(net, np.eye(2), np.array([1.0, 2.0]), 0.0)
    >>> bool(np.isclose(point.order_parameters[0], ((1 - 0.5) + ((1 - 0.5) ** 2 + 4 * 0.5 * 5) ** 0.5) / 2))
    True
    """
    if net.depth == 1 or closure == "global":
        K = symmetric_kernel(feature_map(net), net.prior, X)
        return one_scale(spectral.tridiagonalise(K, y), net, temperature)
    return [point for point, _ in layered_saddle_points(net, X, y, temperature, closure)]


def layered_saddle_points(
    net: FullyConnected, X: Float[np.ndarray, "P N0"], y: Float[np.ndarray, " P"], temperature: float, closure: Closure
) -> list[tuple[SaddlePoint, Evaluation]]:
    """Return the minima of a deep network's action with what was factorised there, the lowest first."""
    action = LayeredAction(net, input_tiles(net.prior, X), y, temperature, closure)
    spectrum = spectral.tridiagonalise(lower_triangle(map_tiles(feature_map(net), action.tiles), len(X)), y)
    found = one_scale(spectrum, net, temperature)
    starts = [_start(net, closure, spectrum, X, temperature, point) for point in found]
    if closure == "wishart":  # which is known to be positive definite about Q = 1 alone
        starts.append((np.zeros(net.depth), np.diag(2 * action.widths)))
    return _descended(action, starts)


def _start(
    net: FullyConnected,
    closure: Closure,
    spectrum: spectral.Spectrum,
    X: Float[np.ndarray, "P N0"],
    temperature: float,
    point: SaddlePoint,
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, "L L"]]:
    """Return log Q and an approximate Hessian near a minimum of the global closure."""
    log_q = np.log(point.order_parameters)
    try:
        with np.errstate(all="ignore"):
            near, hessian = elastic_minimum(net, closure, spectrum, X, temperature, log_q)
    except np.linalg.LinAlgError:
        return log_q, point.hessian
    good = np.isfinite(hessian).all() and np.isfinite(near).all() and np.linalg.eigvalsh(hessian)[0] > 0
    return (near, hessian) if good else (log_q, point.hessian)


def one_scale(spectrum: spectral.Spectrum, net: FullyConnected, temperature: float) -> list[SaddlePoint]:
    """Return the minima of the action of the global closure, which is that of one hidden layer, the lowest first."""
    widths, bias = np.asarray(net.widths, dtype=np.float64), net.prior.bias_variance
    found = [
        along_the_product(spectrum, u, widths, temperature, bias)
        for u in spectral.minima(spectrum, widths, temperature, bias)
    ]
    return sorted(found, key=lambda point: point.action)


def interpolating(quadratic: float, log_det: float, width: int, examples: int) -> SaddlePoint:
    """Return the saddle point of one hidden layer without biases at T = 0, in closed form.

    Parameters
    ----------
    quadratic, log_det : float
        y^T K_1^{-1} y and log det K_1.
    width, examples : int
        N_1 and P.

    References
    ----------
    Theory notes, eq. (4.3).
    """
    N, load = float(width), examples / width
    gap = 1 - load
    root = np.hypot(gap, 2 * np.sqrt(quadratic / N))
    Q = (gap + root) / 2 if gap > 0 else 2 * quadratic / N / (root - gap)
    if not Q > 0:
        raise np.linalg.LinAlgError("the action has no minimum at T = 0: it falls without bound as Q goes to zero")
    action = N * (Q - np.log(Q)) + examples * np.log(Q) + log_det + quadratic / Q
    residual = abs(N * (Q - 1) + examples - quadratic / Q) / (N * (Q + 1))
    hessian = np.array([[N * Q + quadratic / Q]])
    evidence = laplace(float(action), hessian, np.array([N]), N, examples)
    return SaddlePoint(np.array([Q]), float(action), float(residual), hessian, evidence)


def along_the_product(
    spectrum: spectral.Spectrum, u: float, widths: Float[np.ndarray, " L"], temperature: float, bias: float
) -> SaddlePoint:
    """Return the stationary point of the global closure at log Q = u of the narrowest layer."""
    Q = spectral.order_parameters(u, widths)
    terms = spectral.terms(spectrum, float(np.log(Q).sum()), temperature, bias)
    gradient = widths * (Q - 1) + terms.slope
    residual = np.max(np.abs(gradient) / (widths * (Q + 1)))
    hessian = np.diag(widths * Q) + terms.curvature
    action = float(widths @ (Q - np.log(Q)) + terms.value)
    evidence = laplace(action, hessian, widths, float(widths.sum()), len(spectrum.vectors))
    return SaddlePoint(Q, action, float(residual), hessian, evidence)


def _descended(
    action: LayeredAction, starts: list[tuple[Float[np.ndarray, " L"], Float[np.ndarray, "L L"]]]
) -> list[tuple[SaddlePoint, Evaluation]]:
    """Return the minima that are reached from those starts at which the kernel is positive definite."""
    found = []
    for start, hessian in starts:
        with contextlib.suppress(np.linalg.LinAlgError):
            found.append(descend(action, start, hessian))
    if not found:
        raise np.linalg.LinAlgError(
            f"with the closure {action.closure!r} the kernel is not positive definite where the minimum was looked for"
        )
    return sorted(_distinct(found), key=lambda pair: pair[0].action)


def _distinct(pairs: list[tuple[SaddlePoint, Evaluation]]) -> list[tuple[SaddlePoint, Evaluation]]:
    """Drop the points that were reached twice."""
    kept: list[tuple[SaddlePoint, Evaluation]] = []
    for point, at in pairs:
        if not any(np.allclose(point.order_parameters, other.order_parameters, rtol=1e-6) for other, _ in kept):
            kept.append((point, at))
    return kept


def gaussian_log_evidence(log_det: float, quadratic: float, examples: int) -> float:
    """Return log N(y; 0, A) = −½ [log det A + y^T A^{-1} y + P log 2π]."""
    return float(-(log_det + quadratic + examples * np.log(2 * np.pi)) / 2)
