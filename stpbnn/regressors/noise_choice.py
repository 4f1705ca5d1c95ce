r"""The choice of a noise by leave-one-out: that under which the targets, each given all others, are the likelier.

.. math:: \sum_i \log p(y_i \mid y_{-i}, \text{noise})

estimates the log density of new targets, among which are outliers where there were. The noise belongs to the law of a
target, so that scores under several noises are of the same data. The evidence judges the prior as well, and asks for
heavy tails where predictions lose by them.

References
----------
Vehtari, Gelman, Gabry, Statistics and Computing 27, 1413 (2017).
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from stpbnn.regressors.outliers import AUTO, TAILS, Noisy, WithOutliers
from stpbnn.regressors.solver import Solver
from stpbnn.scale import ACCURACY

__all__ = ["WithChosenNoise"]


class WithChosenNoise[H: Noisy](WithOutliers[H]):
    """Regressors with noise "auto" among their settings; a model adds its noise without outliers."""

    solver: Solver
    _plain: ClassVar[str] = "gaussian"

    def _fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        self.loo_log_scores_ = None
        if not (isinstance(self.noise, str) and self.noise == AUTO):
            return super()._fit(X, y, sample_weight)
        self.__dict__.pop("X_train_", None)  # not fitted, should what follows fail
        self._check_settings()
        if sample_weight is not None:
            self._refuse_weights()
        if self.solver == "iterative":
            raise ValueError(f"solver: got 'iterative' with noise={AUTO!r}, expected 'auto' or 'exact'")
        fits = [self._tried(noise, X, y) for noise in self._candidates]
        scores = {fit.noise: fit._trusted_score() for fit, _ in fits}
        best, told = max(fits, key=lambda found: scores[found[0].noise])
        settings = self.get_params(deep=False)
        self.__dict__.update({name: value for name, value in vars(best).items() if name not in settings})
        self.loo_log_scores_ = scores
        for one in told:
            warnings.warn(one.message, stacklevel=4)
        return self

    @property
    def _candidates(self) -> tuple[str, str]:
        """The noises that are to choose from."""
        return self._plain, TAILS

    def _tried(self, noise: str, X: Any, y: Any) -> tuple[Self, list[warnings.WarningMessage]]:
        """Return the same with one noise, fitted, and of what it has warned."""
        of_others = {"optimize_df": self._plain, "optimize_noise_df": TAILS}
        settings = {name: False for name, owner in of_others.items() if hasattr(self, name) and owner != noise}
        one = clone(self).set_params(noise=noise, solver="exact", **settings)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ConvergenceWarning)
            return one._fit(X, y), told

    def _trusted_score(self) -> float:
        """Return the leave-one-out log score, or minus infinity where its laws were not found."""
        found = not self._outliers or self._process.error < ACCURACY
        return self.loo_log_score() if found else -np.inf
