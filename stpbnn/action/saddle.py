"""The saddle points of the effective action, and the log evidence there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from stpbnn.action import spectral
from stpbnn.action.layered import LayeredAction, descend
from stpbnn.action.point import SaddlePoint, laplace
from stpbnn.activations import Activation
from stpbnn.kernels import Closure, Gram, features, nngp
from stpbnn.network import Prior

__all__ = ["along_the_product", "gaussian_log_evidence", "saddle_points"]


def saddle_points(
    sigma: Activation,
    prior: Prior,
    gram: Gram,
    y: Float[np.ndarray, " P"],
    widths: Sequence[int],
    temperature: float,
    closure: Closure = "nested",
) -> list[SaddlePoint]:
    """Return the minima of the effective action, the lowest first.

    The landscape of the global closure is one-dimensional: all of its minima are found. With one hidden layer there
    is nothing else to do; otherwise they are the starts for the closure that was asked for.

    Parameters
    ----------
    sigma : Activation
        The activation of the hidden layers.
    prior : Prior
        Weight precisions and bias variance.
    gram : Gram
        C of the training inputs.
    y : array of shape (P,)
        Targets.
    widths : sequence of int
        N_1..N_L.
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

    >>> import jax, jax.numpy as jnp
    >>> from stpbnn.kernels import input_gram
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((4,), "linear")
    >>> with jax.enable_x64(True):
    ...     point, *others = saddle_points(
    ...         net.sigma, net.prior, input_gram(net.prior, jnp.eye(2)), np.array([1.0, 2.0]), net.widths, 0.0
    ...     )
    >>> bool(np.isclose(point.order_parameters[0], ((1 - 0.5) + ((1 - 0.5) ** 2 + 4 * 0.5 * 5) ** 0.5) / 2))
    True
    """
    N = np.asarray(widths, dtype=np.float64)
    below = gram
    if len(N) > 1:
        below = nngp(sigma, prior._replace(precisions=prior.precisions[:-1]), gram)
    K = np.asarray(features(sigma, below, prior.precisions[-1]).entries)
    spectrum = spectral.tridiagonalise(K, y)
    found = [
        along_the_product(spectrum, u, N, temperature, prior.bias_variance)
        for u in spectral.minima(spectrum, N, temperature, prior.bias_variance)
    ]
    if len(N) > 1 and closure != "global":
        action = LayeredAction(sigma, prior, gram, y, N, temperature, closure)
        starts = [np.log(start.order_parameters) for start in found]
        found = _descended(action, starts if closure == "nested" else [*starts, np.zeros(len(N))])
    return sorted(found, key=lambda point: point.action)


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


def _descended(action: LayeredAction, starts: list[Float[np.ndarray, " L"]]) -> list[SaddlePoint]:
    """Return the minima that are reached from those starts at which the kernel is positive definite."""
    found = []
    for start in starts:
        with contextlib.suppress(np.linalg.LinAlgError):
            found.append(descend(action, start))
    if not found:
        raise np.linalg.LinAlgError(
            f"with the closure {action.closure!r} the kernel is not positive definite where the minimum was looked for"
        )
    return _distinct(found)


def _distinct(points: list[SaddlePoint]) -> list[SaddlePoint]:
    """Drop the points that were reached twice."""
    kept: list[SaddlePoint] = []
    for point in points:
        if not any(np.allclose(point.order_parameters, other.order_parameters, rtol=1e-6) for other in kept):
            kept.append(point)
    return kept


def gaussian_log_evidence(log_det: float, quadratic: float, examples: int) -> float:
    """Return log N(y; 0, A) = −½ [log det A + y^T A^{-1} y + P log 2π]."""
    return float(-(log_det + quadratic + examples * np.log(2 * np.pi)) / 2)
