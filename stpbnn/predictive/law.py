"""What all predictive laws share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stpbnn import _validation as check
from stpbnn._random import random_numbers

__all__ = ["Law", "levels", "random", "values"]


def values(y: ArrayLike, mean: np.ndarray) -> np.ndarray:
    """Return values as numbers, of a shape that goes with that of the law."""
    y = check.numeric("y", y)
    try:
        np.broadcast_shapes(y.shape, mean.shape)
    except ValueError:
        raise ValueError(f"y: got shape {y.shape}, expected {mean.shape}, that of the law") from None
    return y


def random(n: Any, random_state: Any) -> tuple[int, np.random.RandomState]:
    """Return the number of draws and where they come from."""
    return check.integer("n", n, minimum=0), random_numbers(random_state)


def levels(p: ArrayLike) -> np.ndarray:
    """Return probabilities as an array; refuse what is not between 0 and 1."""
    probabilities = check.numeric("p", p)
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ValueError(f"p: got {check.shown(p)}, expected probabilities between 0 and 1")
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
        if levels(p).ndim:
            raise ValueError(f"p: got {check.shown(p)}, expected one probability")
        return self.quantile([(1 - p) / 2, (1 + p) / 2])

    def pdf(self, y: ArrayLike) -> np.ndarray:
        """Return the density at y: entry by entry, or of all values together for a joint law."""
        return np.exp(self.logpdf(y))
