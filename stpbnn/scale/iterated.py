r"""One scale of a kernel that is too large to be factorised: the same problem, posed by a Krylov space of K.

One space, started with the targets and with random probes of the trace, serves every scale. It grows until the mean of
f is known: of the solution :math:`\alpha` of :math:`(rK + b\,11^T + T)\,\alpha = y` with the residual :math:`\rho`,

.. math:: \frac{|\rho|}{\sqrt{T\, \mathrm{tr}\, rK (rK + T)^{-1}}}

is no less than the root mean square of the error of the mean at the training inputs, in units of that of the posterior
standard deviation there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas

from stpbnn._memory import available, refuse_beyond
from stpbnn.iterative import Krylov, RitzPairs, SpectralMeasure, TiledMatrix, enclosed, found, spectral_measure
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.tridiagonal import Diagonalisation

__all__ = ["NEGLIGIBLE", "IteratedProblem", "NumericalErrors", "Scales", "refuse_space"]

WIDTH = 32  # vectors of a block: targets and probes
FIRST, GROWTH = 12, 1.25  # blocks before the first look at what is known, and between two looks
FEWEST, MOST = 640, 6144  # dimensions of the space
SHARE = 0.5  # share of the memory beside the kernel that the space may take
SOUGHT, MEAN = 1e-3, 1e-2  # error of the mean, in standard deviations: at which the space stops, and that is accepted
SAMPLE, STEPS = 16, 4  # training inputs at which standard deviations are judged, and steps of Lanczos for that
STD = 0.1  # relative error of standard deviations that is accepted
NEGLIGIBLE = 1e-6  # weight of a scale
ROUNDING = float(np.finfo(np.float32).eps) / np.sqrt(12)  # root mean square error of entries in single precision
EVIDENCE, SCALE = 1e-3, 2e-3  # relative errors of the log evidence and of the order parameter that are accepted

Scales = Callable[[Resolvent], Float[np.ndarray, " n"]]


class NumericalErrors(NamedTuple):
    """The errors that the iterative solver leaves.

    Parameters
    ----------
    residual : float
        The norm of y − A α over that of y, after a product with the kernel in single precision.
    mean : float
        Error of the mean of f at the training inputs, its root mean square, in posterior standard deviations.
    std : float
        Relative error of the standard deviation of a new target at a sample of training inputs, its root mean square.
        Elsewhere it is smaller for rough kernels, as at the inputs themselves little but the smallest eigenvalues
        matters, and up to twice as large for smooth ones.
    log_evidence : float
        Standard error of the log evidence.
    log_order_parameter : float
        Standard error of log Q̄, or of the mean of log Q; zero where there is no such number.
    dimension : int
        Dimensions of the Krylov space.
    """

    residual: float
    mean: float
    std: float
    log_evidence: float
    log_order_parameter: float
    dimension: int

    def accepted(self, log_evidence: float) -> bool:
        """Return whether means, standard deviations, log evidence and order parameter are known well enough."""
        known = max(EVIDENCE * abs(log_evidence), 0.5)
        return self.mean < MEAN and self.std < STD and self.log_evidence < known and self.log_order_parameter < SCALE


@dataclass(frozen=True)
class IteratedProblem:
    """A resolvent on a Krylov space, with what is known of its errors.

    Parameters
    ----------
    resolvent : Resolvent
        Nodes of the spectrum with their multiplicities, and Ritz vectors as eigenvectors.
    measure : SpectralMeasure
        The same nodes, with the scatter of the probes.
    residual, size, std, misfit : float
        Norms of y − A α and of y, the relative error of standard deviations, and the error of y·A⁻¹y, at the first of
        the scales that were asked for.
    u : float
        The logarithm of that scale.
    """

    resolvent: Resolvent
    measure: SpectralMeasure
    residual: float
    size: float
    std: float
    misfit: float
    u: float

    @classmethod
    def of(
        cls, matrix: TiledMatrix, V: Float[np.ndarray, "P k"], temperature: float, bias: float, scales: Scales
    ) -> IteratedProblem:
        """Grow a Krylov space of K until the means at some scales are known.

        Parameters
        ----------
        matrix : TiledMatrix
            K.
        V : array of shape (P, k)
            Targets.
        temperature, bias : float
            T > 0 and b.
        scales : callable
            From the resolvent, as far as it is known, to the logarithms of the scales that matter, the most probable
            one first.
        """
        rng, P = np.random.default_rng(0), len(V)
        fixed = np.column_stack([V, np.ones(P)])[:, : V.shape[1] + bool(bias)]
        probes = rng.normal(size=(P, max(WIDTH - fixed.shape[1], WIDTH // 2)))
        probes *= np.sqrt(P) / np.linalg.norm(probes, axis=0)
        start = np.column_stack([fixed, probes])
        space = Krylov(matrix.product, start, _dimensions(P))

        def posed(
            pairs: RitzPairs, closed: tuple[np.ndarray, np.ndarray] | None = None
        ) -> tuple[Resolvent, SpectralMeasure]:
            along = pairs.vectors.T @ space.coordinates(start)
            drawn = along[:, fixed.shape[1] :]
            measure = spectral_measure(pairs, drawn, P, matrix.trace, matrix.squares, closed=closed, precision=ROUNDING)
            columns = along[:, : V.shape[1]]
            ones = along[:, V.shape[1]] if bias else np.zeros(len(along))
            return _resolvent(measure, columns, ones, temperature, bias), measure

        def known(pairs: RitzPairs) -> bool:
            resolvent, _ = posed(pairs)
            at = resolvent.at(scales(resolvent))
            alpha = np.einsum("ij,njk->ink", pairs.vectors, at.alpha)
            outside = space.outside(alpha.reshape(len(alpha), -1)).reshape(len(at.scales), -1)
            errors = at.scales * np.linalg.norm(outside, axis=1) / np.sqrt(temperature * at.freedom * V.shape[1])
            return bool(errors.max() < SOUGHT)

        blocks, target, growing = 0, FIRST, True
        while growing:
            growing = space.grow()
            blocks += growing
            if blocks >= target or not growing:
                pairs = space.pairs()
                target = int(np.ceil(GROWTH * blocks))
                growing = growing and not known(pairs)
        values, vectors = space.closed(pairs)
        closed = values, vectors @ (pairs.vectors.T @ space.coordinates(probes))
        pairs = _refined(matrix, space, pairs)
        resolvent, measure = posed(pairs, closed)
        resolvent = replace(resolvent, basis=Diagonalisation(space.rotated(pairs.vectors)))
        u = float(scales(resolvent)[0])
        alpha = resolvent.coefficients(u)
        product = matrix.product(alpha, np.float64)
        rest = V - np.exp(u) * product - bias * alpha.sum(axis=0) - temperature * alpha
        std = _std_error(matrix, resolvent, u, rng.choice(P, min(P, SAMPLE), replace=False))
        # y·α misses y·A⁻¹y by α·(y − A α), and by what rounding adds to α·K α
        lost = np.exp(u) * ROUNDING * np.sqrt(2 * matrix.squares) / P * float(np.vdot(alpha, alpha))
        misfit = float(np.hypot(np.vdot(alpha, rest), lost))
        return cls(resolvent, measure, float(np.linalg.norm(rest)), float(np.linalg.norm(V)), std, misfit, u)

    def errors(self, curvature: float = 0.0, slope_of_misfit: float = 1.0) -> NumericalErrors:
        """Return the errors at the scale, given the second derivative of the action in its logarithm.

        The slope is that of −2 log Z in y·A⁻¹y.
        """
        r, T, k = np.exp(self.u), self.resolvent.temperature, self.measure.nodes
        outputs = self.resolvent.columns.shape[1]
        share = r * k / (r * k + T)
        freedom = float(share @ self.measure.weights) * outputs
        slope = outputs * self.measure.error(lambda k: r * k / (r * k + T))
        return NumericalErrors(
            self.residual / self.size if self.size else 0.0,
            float(self.residual / np.sqrt(T * freedom)) if freedom else 0.0,
            self.std,
            float(np.hypot(outputs * self.measure.error(lambda k: np.log(r * k + T)), slope_of_misfit * self.misfit))
            / 2,
            slope / curvature if curvature else 0.0,
            len(k),
        )


def _refined(matrix: TiledMatrix, space: Krylov, pairs: RitzPairs) -> RitzPairs:
    """Return Ritz pairs whose largest values have the digits that double precision gives them.

    The rest of the spectrum is known by what these leave of the sum of the squares: they are large, and it is small.
    """
    count, values = min(int(np.count_nonzero(found(pairs))), WIDTH), pairs.values.copy()
    if not count:
        return pairs
    top = space.vectors(pairs.vectors[:, len(values) - count :])
    values[len(values) - count :] = np.einsum("pk,pk->k", top, matrix.product(top, np.float64))
    order = np.argsort(values)
    return RitzPairs(values[order], pairs.vectors[:, order], pairs.residuals[order])


def _std_error(matrix: TiledMatrix, resolvent: Resolvent, u: float, rows: np.ndarray) -> float:
    r"""Return the relative error of the standard deviations of new targets at some training inputs.

    What the space leaves of k, that is k', enters the variance by :math:`k' \cdot (rK + T)^{-1} k'`, for which a mean
    over all inputs is taken, and which a few steps of Lanczos enclose. Rounding, which changes K by no more than its
    own norm, changes the variance at an input by :math:`T^2 a \cdot \delta K\, a`, with a the column of
    :math:`(rK + T)^{-1}` there: :math:`T |a|^2` is no more than the entry of its diagonal.
    """
    units = np.zeros((matrix.size, len(rows)))
    units[rows, range(len(rows))] = 1.0
    k, at = matrix.product(units), resolvent.at(np.array([u]))
    U, r, T = resolvent.eigenvectors, np.exp(u), resolvent.temperature
    inside = blas.dgemm(1.0, U, k, trans_a=1)
    left = k - blas.dgemm(1.0, U, inside)
    squares = np.einsum("pk,pk->k", left, left)
    explained = inside.T**2 @ (1 / at.shifted[0])
    variances = r * k[rows, range(len(rows))] - r**2 * (explained + at.outside[0] * squares)
    bounds = enclosed(lambda V: r * matrix.product(V) + T * V, left, T, STEPS)
    truncated = r**2 * np.abs(at.outside[0] * squares - bounds).max(axis=0)
    rounded = r * ROUNDING * np.sqrt(matrix.squares) * (T - np.clip(variances, 0, T)) / T
    lost = np.hypot(truncated, rounded) / (2 * (np.maximum(variances, 0) + T))
    return float(np.sqrt(np.mean(lost**2)))


def refuse_space(P: int) -> int:
    """Refuse more examples than there is memory for; return the fewest dimensions of their Krylov space."""
    fewest = min(P, FEWEST)
    refuse_beyond(8 * P * fewest, f"X: got P = {P} examples, whose Krylov space", "take fewer examples")
    return fewest


def _dimensions(P: int) -> int:
    """Return how many dimensions a Krylov space may have."""
    fewest = refuse_space(P)
    return int(np.clip(SHARE * available() / (8 * P), fewest, min(P, MOST)))


def _resolvent(
    measure: SpectralMeasure,
    columns: Float[np.ndarray, "k D"],
    ones: Float[np.ndarray, " k"],
    temperature: float,
    bias: float,
) -> Resolvent:
    """Return the resolvent in the basis of Ritz vectors, whose coordinates among the examples are not given."""
    k, between, basis = measure.nodes, np.zeros(len(measure.nodes) - 1), Diagonalisation(np.empty((0, 0)))
    return Resolvent(k, k, between, columns, ones, basis, temperature, bias, False, measure.weights)
