"""The precisions of a classifier, learned by maximising the log evidence where the user asks for it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from stpbnn.kernels import hyperparameters
from stpbnn.regressors import Evidence, EvidenceSearch, NetworkHyperparameters

__all__ = ["LearnedPrecisions"]


class LearnedPrecisions(EvidenceSearch[NetworkHyperparameters]):
    """Classifiers with a log evidence; a theory adds `_condition` and `_evidence_gradient`."""

    network_: Any
    temperature: float
    converged_: bool
    X_train_: np.ndarray

    def _condition(self) -> None:
        """Condition on the training set, at network_."""
        raise NotImplementedError

    def _evidence_gradient(self) -> np.ndarray:
        """Return the gradient of log_marginal_likelihood_ in the logarithms of the precisions."""
        raise NotImplementedError

    @property
    def hyperparameters_(self) -> dict[str, float]:
        """The precisions by name, as given or learned."""
        check_is_fitted(self, "X_train_")
        return hyperparameters.values(self.network_)

    @property
    def _hyperparameters(self) -> NetworkHyperparameters:
        return NetworkHyperparameters(self.network_, self.temperature, known=True)

    def _take_up(self, found: NetworkHyperparameters) -> None:
        self.network_ = found.network

    def _start(self) -> NetworkHyperparameters:
        return self._hyperparameters

    def _bounds(self, start: NetworkHyperparameters) -> np.ndarray:
        return start.bounds(1.0, self._temperature_bounds)

    def _evidence(self, at: NetworkHyperparameters | None, *, gradient: bool) -> Evidence:
        there = self
        if at is not None:
            there = copy.copy(self)
            there._take_up(at)
            there._condition()
        slope = there._evidence_gradient() if gradient else np.empty(0)
        return Evidence(there.log_marginal_likelihood_, slope, there.converged_)
