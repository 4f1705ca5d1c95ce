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
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from stpbnn import kernels
from stpbnn.action import SaddlePoint
from stpbnn.mixtures.laws import Gamma
from stpbnn.mixtures.posterior import OrderParameterPosterior, weighted
from stpbnn.mixtures.scale import Moments
from stpbnn.network import FullyConnected

__all__ = ["LayeredProblem", "moments", "posterior"]

SPACING, SHRINK = 1.5, 0.8  # in standard deviations
RISE = 36.0  # of the action above its minimum, at which the integrand, e^-18, is left out
TOLERANCE = 3e-4  # of the difference of the two lattices: at most 1e-5, mostly 1e-7, is left in their union
ACCURACY = float(TOLERANCE ** np.sqrt(2))  # what is left, of lattices that agree
MAX_NODES = 16384


class LayeredProblem(NamedTuple):
    """A training set: inputs, targets and noise variance T, and the network and closure that make a kernel of them."""

    net: FullyConnected
    X: Float[np.ndarray, "P N0"]
    y: Float[np.ndarray, " P"]
    temperature: float
    closure: kernels.Closure

    def kernel(self, Q: Float[np.ndarray, " L"]) -> kernels.KernelMap:
        """Return C → K^R(Q)."""
        return kernels.renormalised_map(self.net, Q, self.closure)


def _factor(problem: LayeredProblem, Q: Float[np.ndarray, " L"]) -> Float[np.ndarray, "P P"]:
    A = kernels.symmetric_kernel(problem.kernel(Q), problem.net.prior, problem.X)
    A[np.diag_indices_from(A)] += problem.temperature
    return cholesky(A, lower=True, overwrite_a=True, check_finite=False)


def _action(problem: LayeredProblem, log_q: Float[np.ndarray, " L"]) -> float:
    """Return -2 log p(log Q, y) without the P log 2π; infinity where A(Q) is not positive definite."""
    try:
        factor = _factor(problem, np.exp(log_q))
    except np.linalg.LinAlgError:
        return np.inf
    white = solve_triangular(factor, problem.y, lower=True, check_finite=False)
    prior = sum(Gamma(float(N)).value(u) for N, u in zip(problem.net.widths, log_q, strict=True))
    return float(prior + 2 * np.log(np.diag(factor)).sum() + white @ white)


def _grow(
    problem: LayeredProblem, points: list[SaddlePoint], basis: Float[np.ndarray, "L L"], shift: float
) -> tuple[Float[np.ndarray, "n L"], Float[np.ndarray, " n"]]:
    """Return log Q and action of the lattice points, shifted by a part of a cell, where the integrand matters."""
    origin = np.log(points[0].order_parameters)
    unit = np.eye(len(origin), dtype=int)
    action = partial(_action, problem)

    def place(index: tuple[int, ...]) -> Float[np.ndarray, " L"]:
        return origin + basis @ (np.array(index) + shift)

    def corners(point: SaddlePoint) -> Iterator[tuple[int, ...]]:
        cell = np.floor(np.linalg.solve(basis, np.log(point.order_parameters) - origin) - shift + 1e-9).astype(int)
        return (tuple((cell + corner).tolist()) for corner in itertools.product((0, 1), repeat=len(cell)))

    values = {index: action(place(index)) for point in points for index in corners(point)}
    waiting = list(values)
    lowest = min(values.values())
    while waiting:
        if len(values) > MAX_NODES:
            warnings.warn(
                f"the posterior of the order parameters is spread over more than {MAX_NODES} nodes; what lies beyond "
                "is left out",
                ConvergenceWarning,
                stacklevel=3,
            )
            break
        index = waiting.pop()
        if values[index] > lowest + RISE:
            continue
        for step in (*unit, *-unit):
            neighbour = tuple((np.array(index) + step).tolist())
            if neighbour not in values:
                values[neighbour] = action(place(neighbour))
                lowest = min(lowest, values[neighbour])
                waiting.append(neighbour)
    kept = {index: value for index, value in values.items() if value <= lowest + RISE}
    return np.array([place(index) for index in kept]), np.array(list(kept.values()))


def posterior(problem: LayeredProblem, points: list[SaddlePoint]) -> OrderParameterPosterior:
    r"""Return p(Q | y) ∝ Π_l Gamma(Q_l; N_l/2, N_l/2) N(y; 0, A(Q)) as nodes and weights.

    Parameters
    ----------
    problem : LayeredProblem
        Training set, network and closure.
    points : list of SaddlePoint
        Minima of the action, the lowest first; its Hessian sets the axes of the lattice.

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
    L = problem.net.depth
    precision = cholesky(points[0].hessian / 2, lower=True)
    whitening = solve_triangular(precision, np.eye(L), lower=True).T
    spacing, constant = SPACING, len(problem.y) * np.log(2 * np.pi) / 2
    while True:
        basis = spacing * whitening
        log_cell = np.linalg.slogdet(basis)[1] - constant
        lattices = [_grow(problem, points, basis, shift) for shift in (0.0, 0.5)]
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


def moments(
    problem: LayeredProblem, nodes: Float[np.ndarray, "n L"], X: Float[np.ndarray, "q N0"], *, joint: bool = False
) -> Moments:
    """Return mean and variance of f at every query point given every node; covariances also, where asked.

    Parameters
    ----------
    problem : LayeredProblem
        The training set.
    nodes : array of shape (n, L)
        Order parameters.
    X : array of shape (q, N_0)
        Query points.
    joint : bool
        Whether to return covariances between the query points.
    """
    prior = problem.net.prior
    means, variances, covariances, priors = [], [], [], []
    for Q in nodes:
        kernel, factor = problem.kernel(Q), _factor(problem, Q)
        k = kernels.cross_kernel(kernel, prior, X, problem.X)
        means.append(k.entries @ cho_solve((factor, True), problem.y, check_finite=False))
        white = solve_triangular(factor, k.entries.T, lower=True, check_finite=False)
        priors.append(k.left)
        variances.append(np.maximum(k.left - np.sum(white**2, axis=0), 0))
        if joint:
            covariances.append(kernels.cross_kernel(kernel, prior, X).entries - white.T @ white)
    return Moments(np.stack(means), np.stack(variances), np.stack(covariances) if joint else None, np.stack(priors))
