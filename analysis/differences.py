"""How far a theory is off from a posterior: relative to it, with all errors, and as a normal score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from stpbnn.comparison.verdicts import normal_score

POPULATIONS = 4


class Off(NamedTuple):
    """How far a theory is off, in units of the posterior's error, with two errors of its own and its normal score.

    The first error is that of both samplings, the second what the last doubling of the clusters changed.
    """

    value: float
    noise: float
    systematic: float
    z: float

    @property
    def covered(self) -> bool:
        """Whether the error bar of 95 % covers the difference."""
        return bool(abs(self.z) < ndtri(0.975))

    def __str__(self) -> str:
        more = "" if np.isnan(self.systematic) else f" ± {100 * self.systematic:.1f}"
        return f"{100 * self.value:+.1f} ± {100 * self.noise:.1f}{more}"


def offs(row: dict[str, Any], total: tuple[float, float], variance: tuple[float, float]) -> tuple[Off, Off]:
    """Return how far a row of clusters is off in the total and in the variance, of which value and error are given."""
    return _off(row, "", row["bias"] + row["variance"], *total), _off(row, "_variance", row["variance"], *variance)


def _off(row: dict[str, Any], part: str, found: float, truth: float, truth_error: float) -> Off:
    own, systematic = row["monte_carlo" + part], row["systematic" + part]
    z = z_value(found - truth, np.hypot(own, np.nan_to_num(systematic)), truth_error)
    return Off(found / truth - 1, np.hypot(own, truth_error) / truth, systematic / truth, z)


def z_value(difference: float, error: float, truth_error: float) -> float:
    """Return the normal score of a difference, one of whose errors comes from four populations."""
    return float(normal_score(np.float64(difference), np.float64(truth_error), np.float64(error), POPULATIONS - 1))


def counted(cases: list[tuple[Off, Off]], *within: float) -> list[str]:
    """Return in how many cases each part is near enough, and in how many the error bar covers the difference."""
    found = [f"{sum(abs(one[i].value) < near for one in cases)} ({100 * near:g} %)" for i, near in enumerate(within)]
    return found + [str(sum(one[i].covered for one in cases)) for i in range(len(within))]
