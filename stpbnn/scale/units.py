"""The units of targets: what is modelled is the targets less their mean, over their standard deviation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["UNITS", "Units"]


class Units(NamedTuple):
    """y = offset + shift + size · normalised, each of shape () or (D,).

    The offset may be so large that the shift would be lost in it.

    Examples
    --------
    >>> units = Units.of(np.array([3.0, 5.0]))
    >>> units.normalised(np.array([3.0, 5.0])), units.restored(np.array([-1.0, 1.0]))
    (array([-1.,  1.]), array([3., 5.]))
    """

    offset: np.ndarray = np.zeros(())
    shift: np.ndarray = np.zeros(())
    size: np.ndarray = np.ones(())

    @classmethod
    def of(cls, y: np.ndarray) -> Units:
        """Return mean and standard deviation, output by output; targets that are constant to rounding keep the size."""
        offset = y.mean(axis=0)
        centred = y - offset
        spread, rounding = centred.std(axis=0), 2 * np.finfo(np.float64).eps * np.abs(y).max(axis=0)
        return cls(offset, centred.mean(axis=0), np.where(spread > rounding, spread, 1.0))

    def normalised(self, y: np.ndarray) -> np.ndarray:
        """Return targets as they are modelled."""
        return (y - self.offset - self.shift) / self.size

    def restored(self, f: np.ndarray) -> np.ndarray:
        """Return values of the model as targets."""
        return self.offset + (self.shift + self.size * f)


UNITS = Units()  # targets are modelled as they are
