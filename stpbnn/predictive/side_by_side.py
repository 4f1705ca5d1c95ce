"""Laws of several query points that have nothing in common, as one law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stpbnn.predictive.law import Law, random, values

__all__ = ["SideBySide"]


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
