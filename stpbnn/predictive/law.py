"""What all predictive laws share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Law", "levels"]


def levels(p: ArrayLike) -> np.ndarray:
    """Return probabilities as an array; refuse what is not between 0 and 1."""
    probabilities = np.asarray(p, dtype=float)
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ValueError(f"p: got {p!r}, expected probabilities between 0 and 1")
    return probabilities


class Law:
    """What all predictive laws share, on top of mean, variance, quantile and logpdf."""

    mean: np.ndarray
    variance: np.ndarray

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis."""
        raise NotImplementedError

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y: entry by entry, or of all values together for a joint law."""
        raise NotImplementedError

    @property
    def std(self) -> np.ndarray:
        """Standard deviations."""
        return np.sqrt(self.variance)

    def interval(self, p: float) -> np.ndarray:
        """Return the central interval of probability p: lower and upper ends along a new last axis."""
        levels(p)
        return self.quantile([(1 - p) / 2, (1 + p) / 2])

    def pdf(self, y: ArrayLike) -> np.ndarray:
        """Return the density at y: entry by entry, or of all values together for a joint law."""
        return np.exp(self.logpdf(y))
