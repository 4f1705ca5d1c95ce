"""The noise that the user gives: one variance, one for each example, or weights of the examples beside one variance."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from stpbnn import _validation as check
from stpbnn.regressors.estimator import Estimator

__all__ = ["WithWeights", "check_noise", "checked_weights", "split"]


def check_noise(temperature: Any, examples: int | None = None) -> None:
    """Refuse what is neither a number from zero on nor an array of positive numbers, one an example."""
    if np.ndim(temperature) == 0:
        check.number("temperature", temperature, minimum=0, inclusive=True)
        return
    variances = check.numeric("temperature", temperature)
    expected = "expected a number, or a variance for each example"
    if variances.ndim != 1 or (examples is not None and len(variances) != examples):
        shape = "" if examples is None else f": shape ({examples},)"
        raise ValueError(f"temperature: got shape {variances.shape}, {expected}{shape}")
    if not (np.isfinite(variances).all() and variances.min(initial=1.0) > 0):
        raise ValueError(
            f"temperature: got variances from {variances.min():.3g} to {variances.max():.3g}, expected finite numbers "
            "greater than 0"
        )


def checked_weights(sample_weight: Any, examples: int, temperature: Any) -> Float[np.ndarray, " P"]:
    """Return the weights of the examples; refuse those that are negative, all zero, or beside a noise of zero."""
    weights = check.numeric("sample_weight", sample_weight)
    if weights.shape not in ((), (examples,)):
        raise ValueError(
            f"sample_weight: got shape {weights.shape}. Sample weights must be 1D array or scalar: expected "
            f"({examples},)"
        )
    if not (np.isfinite(weights).all() and weights.min(initial=0.0) >= 0 and weights.max(initial=0.0) > 0):
        raise ValueError("sample_weight: got negative or infinite weights, or only zeros, expected positive numbers")
    if np.ndim(temperature) or temperature == 0:
        raise ValueError(
            f"sample_weight: got weights with temperature={check.shown(temperature)}, expected one temperature greater "
            "than 0, that of examples of weight one"
        )
    return np.broadcast_to(weights, (examples,)).astype(np.float64)


def split(temperature: Any) -> tuple[float, Float[np.ndarray, " P"] | None]:
    """Return T and the variances of the noise in units of it; of an array T is the geometric mean."""
    if np.ndim(temperature) == 0:
        return float(temperature), None
    variances = np.asarray(temperature, dtype=np.float64)
    T = float(np.exp(np.log(variances).mean()))
    return T, variances / T


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
