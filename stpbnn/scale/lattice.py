r"""Several order parameters: their posterior on a lattice about the saddle points, at one Cholesky a node.

In coordinates in which the Hessian of the action at the lowest saddle point is the unit matrix, the integrand is
close to a standard Gaussian whatever the network. A lattice of spacing h then integrates it with a relative error of
order :math:`e^{-2\pi^2/h^2}`, and the same lattice moved by half a cell errs by as much with the other sign: their
difference tells the error of each, and about its square is left in their union, which is what is returned. The
lattice grows from every saddle point until the integrand is negligible: a second mode or a long tail needs no care.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from stpbnn.scale.posterior import OrderParameterPosterior, weighted
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["lattice_posterior"]

Actions = Callable[[Float[np.ndarray, "n L"]], Float[np.ndarray, " n"]]

SPACING, SHRINK = 1.5, 0.8  # in standard deviations
RISE = 36.0  # height of the action above its minimum at which the integrand, e^-18, is dropped
TOLERANCE = 3e-4  # difference of the two lattices; the error of their union is at most 1e-5, mostly 1e-7
ACCURACY = float(TOLERANCE ** np.sqrt(2))  # what is left, of lattices that agree
MAX_NODES = 16384


def _grow(
    actions: Actions, points: list[SaddlePoint], basis: Float[np.ndarray, "L L"], shift: float
) -> tuple[Float[np.ndarray, "n L"], Float[np.ndarray, " n"]]:
    """Return log Q and action of the lattice points, shifted by a part of a cell, where the integrand matters."""
    origin = np.log(points[0].order_parameters)
    unit = np.eye(len(origin), dtype=int)

    def places(indices: Iterable[tuple[int, ...]]) -> Float[np.ndarray, "n L"]:
        return origin + (np.array(list(indices)) + shift) @ basis.T

    def corners(point: SaddlePoint) -> Iterator[tuple[int, ...]]:
        cell = np.floor(np.linalg.solve(basis, np.log(point.order_parameters) - origin) - shift + 1e-9).astype(int)
        return (tuple((cell + corner).tolist()) for corner in itertools.product((0, 1), repeat=len(cell)))

    values: dict[tuple[int, ...], float] = {}
    waiting = {index for point in points for index in corners(point)}
    lowest = np.inf
    while waiting:
        if len(values) > MAX_NODES:
            warnings.warn(
                f"the posterior of the order parameters is spread over more than {MAX_NODES} nodes; what lies beyond "
                "is left out",
                ConvergenceWarning,
                stacklevel=3,
            )
            break
        ring = sorted(waiting)
        found = actions(places(ring))
        values.update(zip(ring, found.tolist(), strict=True))
        lowest = min(lowest, found.min())
        inside = np.array(ring)[found <= lowest + RISE]
        waiting = {tuple(index) for step in (*unit, *-unit) for index in (inside + step).tolist()} - values.keys()
    kept = {index: value for index, value in values.items() if value <= lowest + RISE}
    return places(kept), np.array(list(kept.values()))


def lattice_posterior(actions: Actions, points: list[SaddlePoint], size: int) -> OrderParameterPosterior:
    r"""Return p(Q | y) ∝ Π_l Gamma(Q_l; N_l/2, N_l/2) N(y; 0, A(Q)) as nodes and weights.

    Parameters
    ----------
    actions : callable
        From log Q (n, L) to the n values of -2 log p(log Q, y) without the P log 2π; infinity where A(Q) is not
        positive definite.
    points : list of SaddlePoint
        Minima of the action, the lowest first; its Hessian sets the axes of the lattice.
    size : int
        P, the number of targets.

    Returns
    -------
    OrderParameterPosterior
        Its error estimates the relative error of evidence and posterior means: the difference of two lattices, raised
        to the power √2 that tells the next order where the integrand is not Gaussian, but not below the 1e-7 that
        leaving out the tails may cost.

    References
    ----------
    Theory notes, section 4 (finite N beyond the saddle).
    """
    L = len(points[0].order_parameters)
    precision = cholesky(points[0].hessian / 2, lower=True)
    whitening = solve_triangular(precision, np.eye(L), lower=True).T
    spacing, constant = SPACING, size * np.log(2 * np.pi) / 2
    while True:
        basis = spacing * whitening
        log_cell = np.linalg.slogdet(basis)[1] - constant
        lattices = [_grow(actions, points, basis, shift) for shift in (0.0, 0.5)]
        difference = _difference(*lattices)
        nodes = sum(len(values) for _, values in lattices)
        if difference < TOLERANCE or nodes / SHRINK**L > MAX_NODES:
            break
        spacing *= SHRINK
    if not difference < TOLERANCE:
        warnings.warn(
            f"the quadrature over the order parameters did not converge: two lattices of {nodes} nodes together differ "
            f"by {difference:.1e}",
            ConvergenceWarning,
            stacklevel=2,
        )
    log_q, values = (np.concatenate(parts) for parts in zip(*lattices, strict=True))
    return weighted(log_q, log_cell - np.log(2) - values / 2, max(difference ** np.sqrt(2), 1e-7))


def _difference(*lattices: tuple[Float[np.ndarray, "n L"], Float[np.ndarray, " n"]]) -> float:
    """Return the largest relative difference of evidence and unnormalised moments of Q_l between two lattices."""
    logs = [
        np.array([logsumexp(-S / 2), *(logsumexp(power * u - S / 2) for u in log_q.T for power in (0.5, 1))])
        for log_q, S in lattices
    ]
    return float(np.abs(logs[0] - logs[1]).max())
