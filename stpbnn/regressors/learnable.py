"""Regressors with a log evidence."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from stpbnn.regressors.closed_form import ClosedForm
from stpbnn.regressors.errors import explained
from stpbnn.regressors.evidence_search import EvidenceSearch, Hyperparameters

__all__ = ["Learnable"]


class Learnable[H: Hyperparameters](EvidenceSearch[H], ClosedForm):
    """Regressors whose hyper-parameters are learned by their evidence; a model adds the means that it fits."""

    def _check_settings(self) -> None:
        super()._check_settings()
        self._check_search()

    def _fitted(self) -> Float[np.ndarray, "P ..."]:
        """Return the means of f at the training inputs, as targets are modelled."""
        raise NotImplementedError

    def _explained(self) -> float:
        """Return R² at the training inputs."""
        return explained(self._modelled, self._fitted())

    @property
    def _modelled(self) -> Float[np.ndarray, "P ..."]:
        """The targets as they are modelled."""
        return self.y_train_

    @property
    def _plausible(self) -> Float[np.ndarray, "P ..."]:
        """The targets by which their size is judged."""
        return self._modelled
