"""Regressors with a log evidence."""

from __future__ import annotations

from stpbnn.regressors.closed_form import ClosedForm
from stpbnn.regressors.evidence_search import EvidenceSearch, Hyperparameters

__all__ = ["Learnable"]


class Learnable[H: Hyperparameters](EvidenceSearch[H], ClosedForm):
    """Regressors whose hyper-parameters are learned by their evidence."""

    def _check_settings(self) -> None:
        super()._check_settings()
        self._check_search()
