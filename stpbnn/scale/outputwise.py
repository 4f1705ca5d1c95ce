"""Outputs that share a kernel but weigh the examples each by itself: one Gaussian law of f an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from stpbnn.predictive import Gaussian, IndependentOutputs, JointGaussian, Mixture, relative_rounding
from stpbnn.scale.design import Query
from stpbnn.scale.marginal_shapes import Shapes
from stpbnn.scale.units import Units

__all__ = ["Column", "ColumnSlopes", "Columns"]


class ColumnSlopes(NamedTuple):
    """Derivatives of the objective in the entries of K, in T and in the degrees of freedom of the noise."""

    kernel: Float[np.ndarray, "P P"]
    temperature: float
    noise_df: float


class Column(Protocol):
    """One output, conditioned on its targets."""

    @property
    def alpha(self) -> Float[np.ndarray, " P"]:
        """What the kernel with the training points is multiplied by to give the mean."""

    @property
    def converged(self) -> bool:
        """Whether the law was found."""

    @property
    def log_evidence(self) -> float:
        """The objective by which hyper-parameters are chosen."""

    @property
    def slopes(self) -> ColumnSlopes:
        """Its derivatives."""

    def explained(self, cross: Float[np.ndarray, "q P"], *, joint: bool) -> Float[np.ndarray, ...]:
        """Return what the targets take from the variances, or covariances, of the kernel at query points."""

    def shapes(self, query: Query) -> Shapes | None:
        """Return the shapes of the laws of f at query points, or nothing where all are Gaussian."""

    def left_out(self) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        """Return mean and variance of f at each training point given the other targets."""


@dataclass(frozen=True)
class Columns:
    """All outputs together.

    Parameters
    ----------
    columns : tuple of Column
        Each output.
    shape : tuple of int
        The shape of the targets, (P,) or (P, D).
    """

    columns: tuple[Column, ...]
    shape: tuple[int, ...]

    @property
    def error(self) -> float:
        """The relative error of the log evidence: none, or not known."""
        return 0.0 if all(column.converged for column in self.columns) else np.inf

    @property
    def lost(self) -> float:
        """What the rounding of K may have changed of the log evidence: little."""
        return 0.0

    @property
    def alpha(self) -> Float[np.ndarray, "P ..."]:
        """The coefficients of the mean."""
        return np.stack([column.alpha for column in self.columns], axis=-1).reshape(self.shape)

    @property
    def log_evidence(self) -> float:
        """The sum over outputs."""
        return float(sum(column.log_evidence for column in self.columns))

    @property
    def slopes(self) -> ColumnSlopes:
        """The derivatives of the sum."""
        slopes = [column.slopes for column in self.columns]
        return ColumnSlopes(*(sum(parts) for parts in zip(*slopes, strict=True)))  # type: ignore[arg-type]

    def mean(self, query: Query) -> Float[np.ndarray, "q ..."]:
        """Return the posterior mean of f."""
        return query.cross @ self.alpha

    def moments(self, query: Query, units: Units) -> tuple[Float[np.ndarray, "q ..."], Float[np.ndarray, "q ..."]]:
        """Return posterior mean and variance of f at each query point, in the units of the targets."""
        mean = self.mean(query)
        return units.restored(mean), units.size**2 * self._variance(query, mean.shape)

    def _variance(self, query: Query, shape: tuple[int, ...]) -> Float[np.ndarray, "q ..."]:
        """Return the posterior variance of f as it is modelled."""
        variances = [query.variances - column.explained(query.cross, joint=False) for column in self.columns]
        return np.maximum(np.stack(variances, axis=-1), 0).reshape(shape)

    def predictive(self, query: Query, noise: Any, units: Units) -> Any:
        """Return the law of f + noise, in the units of the targets.

        The noise is a variance, or weights and variances of the Gaussian laws that it is a mixture of.
        """
        mean = units.restored(self.mean(query))
        size = np.broadcast_to(units.size, mean.shape[1:]).reshape(-1)
        if query.within is None:
            return _added(mean, self._variance(query, mean.shape), noise, units, self._shapes(query, mean.shape))
        rounding, covariances = 0.0, []
        for column, unit in zip(self.columns, size, strict=True):
            matrix = query.within - column.explained(query.cross, joint=True)
            matrix = (matrix + matrix.T) / 2
            diagonal = np.maximum(np.diag(matrix), 0) + noise
            matrix = matrix + noise * np.eye(len(matrix))
            matrix[np.diag_indices_from(matrix)] = diagonal
            rounding = max(rounding, relative_rounding(query.variances, diagonal))
            covariances.append(unit**2 * matrix)
        if mean.ndim > 1:
            return IndependentOutputs.joint(mean, covariances, error=rounding)
        return JointGaussian(mean, np.diag(covariances[0]).copy(), covariances[0], rounding)

    def left_out(self, noise: Any, units: Units) -> Gaussian | Mixture:
        """Return the law of each target given the others."""
        mean, variance = (np.stack(parts, axis=-1).reshape(self.shape) for parts in self._left_out)
        return _added(units.restored(mean), np.maximum(variance, 0), noise, units)

    def _shapes(self, query: Query, shape: tuple[int, ...]) -> Shapes | None:
        """Return the shapes of all outputs; normal ones beside those of others."""
        return Shapes.beside([column.shapes(query) for column in self.columns], shape)

    @property
    def _left_out(self) -> Any:
        return zip(*(column.left_out() for column in self.columns), strict=True)


def _added(
    mean: np.ndarray, variance: np.ndarray, noise: Any, units: Units, shapes: Shapes | None = None
) -> Gaussian | Mixture:
    """Return the independent laws of f + noise, given those of f: its mean as targets, its variance as modelled."""
    if shapes is None and not isinstance(noise, tuple):
        return Gaussian(mean, units.size**2 * (variance + noise))
    weights, variances = noise if isinstance(noise, tuple) else (np.ones(1), np.atleast_1d(noise))
    centres, of_f = np.zeros((1, *mean.shape)), variance[None]
    if shapes is not None:
        weights = np.multiply.outer(shapes.weights, weights).ravel()
        centres, of_f = units.size * np.sqrt(variance) * shapes.means, variance * shapes.variances
    together = of_f[:, None] + variances.reshape((-1,) + (1,) * variance.ndim)  # variances of f plus noise
    means = np.broadcast_to((mean - units.offset + centres)[:, None], together.shape)
    parts = (part.reshape(-1, *mean.shape) for part in (means, units.size**2 * together))
    return Mixture(weights, *parts, offset=units.offset)
