"""Noise that differs between examples: known variances as an array of temperatures, or weights beside one of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from stpbnn.regressors.estimator import Estimator
from stpbnn.regressors.noise import check_noise, checked_weights, split

__all__ = ["WithWeights"]


class WithWeights(Estimator):
    """Estimators that take a temperature, or a weight, for each example; a model adds `fit`."""

    noise_variances_: np.ndarray | None = None

    def _fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        self.noise_variances_ = None
        return super()._fit(X, y, sample_weight)

    def _weighted(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, np.ndarray]:
        weights = checked_weights(sample_weight, len(X), self.temperature)
        kept = weights > 0
        self.noise_variances_ = 1 / weights[kept]
        return X[kept], y[kept]

    def _take_up_noise(self) -> None:
        """Set the variances of the noise in units of T, where the temperature is an array; refuse a wrong length."""
        check_noise(self.temperature, len(self.X_train_))
        if np.ndim(self.temperature):
            self.noise_variances_ = split(self.temperature)[1]
