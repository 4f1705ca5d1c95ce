"""What all predictive laws share, and independent laws of several query points side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stpbnn import _validation as check
from stpbnn._random import random_numbers

__all__ = ["Law", "SideBySide", "levels", "random", "values"]


def values(y: ArrayLike, mean: np.ndarray) -> np.ndarray:
    """Return y as an array that broadcasts against the law's mean."""
    y = check.numeric("y", y)
    try:
        np.broadcast_shapes(y.shape, mean.shape)
    except ValueError:
        raise ValueError(f"y: got shape {y.shape}, expected {mean.shape}, that of the law") from None
    return y


def random(n: Any, random_state: Any) -> tuple[int, np.random.RandomState]:
    """Return n as an integer, and the generator of `random_state`."""
    return check.integer("n", n, minimum=0), random_numbers(random_state)


def levels(p: ArrayLike) -> np.ndarray:
    """Return probabilities as an array; refuse what is not between 0 and 1."""
    probabilities = check.numeric("p", p)
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ValueError(f"p: got {check.shown(p)}, expected probabilities between 0 and 1")
    return probabilities


def _range(values: np.ndarray) -> str:
    """Return the lowest and the highest value, or the only one."""
    if not values.size:
        return "of none"
    lowest, highest = float(np.min(values)), float(np.max(values))
    return f"{lowest:.3g}" if lowest == highest else f"{lowest:.3g} to {highest:.3g}"


class Law:
    """What all predictive laws share, on top of mean, variance, quantile and logpdf."""

    mean: np.ndarray
    variance: np.ndarray

    def __repr__(self) -> str:
        """Return one line: the class, the shape, and the ranges of means and standard deviations."""
        ranges = [f"{name} {_range(getattr(self, name))}" for name in ("mean", "std")]
        return f"{type(self).__name__}({', '.join([f'shape {self.mean.shape}', *self._particulars(), *ranges])})"

    def _particulars(self) -> list[str]:
        """Return what the line about a law says besides shape and moments."""
        return []

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
        tail = round((1 - float(p)) / 2, 16)  # 0.025 for 0.95: what is beyond is the rounding of 1 − p
        return self.quantile([tail, (1 + p) / 2])

    def pdf(self, y: ArrayLike) -> np.ndarray:
        """Return the density at y: entry by entry, or of all values together for a joint law."""
        return np.exp(self.logpdf(y))


@dataclass(frozen=True, eq=False, repr=False)
class SideBySide(Law):
    """Independent laws, each of a query point of its own, such as mixtures whose weights differ from point to point.

    Parameters
    ----------
    laws : sequence of Law
        Laws of means of shape (1,) or (1, D).

    Attributes
    ----------
    mean, variance : arrays of shape (n,) or (n, D)
        Moments of the laws.

    Examples
    --------
    >>> from stpbnn.predictive import Gaussian
    >>> law = SideBySide([Gaussian(np.array([m]), np.array([1.0])) for m in (0.0, 1.0)])
    >>> law.mean, law.quantile(0.5)
    (array([0., 1.]), array([0., 1.]))
    """

    laws: Sequence[Any]
    mean: np.ndarray = field(init=False)
    variance: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        for name in ("mean", "variance"):
            object.__setattr__(self, name, np.concatenate([getattr(law, name) for law in self.laws]))

    def quantile(self, p: ArrayLike) -> np.ndarray:
        """Return quantiles; for an array of levels they lie along a new last axis."""
        return np.concatenate([law.quantile(p) for law in self.laws])

    def _each(self, method: str, y: ArrayLike) -> np.ndarray:
        y = np.broadcast_to(values(y, self.mean), self.mean.shape)
        return np.concatenate([getattr(law, method)(y[i : i + 1]) for i, law in enumerate(self.laws)])

    def cdf(self, y: ArrayLike) -> np.ndarray:
        """Return the probability of a value below y, entry by entry."""
        return self._each("cdf", y)

    def logpdf(self, y: ArrayLike) -> np.ndarray:
        """Return the log density at y, entry by entry."""
        return self._each("logpdf", y)

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw n independent values at each query point, along a new first axis."""
        n, rng = random(n, random_state)
        return np.concatenate([law.sample(n, rng) for law in self.laws], axis=1)
