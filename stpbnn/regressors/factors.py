"""Whether an estimator has the factors of its kernel, the memory for them, and the refusal where there are none."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from stpbnn import _validation as check

__all__ = ["WithFactors"]


class WithFactors:
    """Estimators that factorise their kernel, unless they say otherwise."""

    _kernels: ClassVar[int] = 3  # how many matrices of the size of the kernel a fit holds

    @property
    def _factorised(self) -> bool:
        """Whether the kernel was factorised."""
        return True

    def _take_room(self, X: np.ndarray, y: np.ndarray) -> None:
        """Refuse a training set that there is no memory for."""
        check.room_for_kernels("X", len(X), matrices=self._kernels)

    def _needs_factors(self, what: str) -> None:
        """Refuse what needs the factors of the kernel, where there are none."""
        if not self._factorised:
            raise ValueError(f"{what}: needs a factorised kernel; fit with solver='exact', to fewer examples")
