"""What hyper-parameters are learned by: the log evidence, or the leave-one-out log score in its place."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from stpbnn import _validation as check
from stpbnn.regressors.evidence_search import Evidence, Hyperparameters
from stpbnn.regressors.learnable import Learnable

__all__ = ["CRITERIA", "Criterion", "WithCriterion"]

Criterion = Literal["evidence", "leave-one-out"]
CRITERIA = ("evidence", "leave-one-out")


class WithCriterion[H: Hyperparameters](Learnable[H]):
    """Estimators that may be searched by their predictions of examples left out; a model adds that score."""

    criterion: str
    _scored: ClassVar[tuple[str, ...]] = ("gaussian",)  # the noises of which the score is known

    def _check_settings(self) -> None:
        check.one_of("criterion", self.criterion, CRITERIA)
        if self.criterion != "evidence" and (noise := self.noise) not in self._scored:
            raise ValueError(
                f"criterion: got {self.criterion!r} with noise={noise!r}, expected 'evidence', or noise="
                f"{' or '.join(map(repr, self._scored))}"
            )
        super()._check_settings()

    def _objective(self, at: H) -> Evidence:
        if self.criterion == "evidence":
            return super()._objective(at)
        return Evidence(*self._left_out_score(at))

    def _left_out_score(self, at: H) -> tuple[float, np.ndarray]:
        """Return the leave-one-out log score at other hyper-parameters, and its gradient in theta."""
        raise NotImplementedError
