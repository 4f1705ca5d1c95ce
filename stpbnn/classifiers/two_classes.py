"""Two classes at finite width: what the classifiers with order parameters share."""

from __future__ import annotations

from typing import Any

import numpy as np

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn.classifiers.network_classifier import NetworkClassifier
from stpbnn.network import FullyConnected

__all__ = ["TwoClassClassifier"]


class TwoClassClassifier(NetworkClassifier):
    """Classifiers of two classes, whose network has one output and a closure of its order parameters."""

    closure: kernels.Closure

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 1.0,
        closure: kernels.Closure = "nested",
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.closure = closure
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _check_settings(self) -> None:
        super()._check_settings()
        check.one_of("closure", self.closure, kernels.CLOSURES)
        if self.network is not None and self.network.outputs != 1:
            raise ValueError(
                f"network: got {self.network.outputs} outputs, expected 1, for two classes; take NNGPClassifier, or "
                "one class against the others with sklearn.multiclass.OneVsRestClassifier"
            )

    def _refuse_classes(self, classes: np.ndarray) -> None:
        super()._refuse_classes(classes)
        if len(classes) > 2:
            raise ValueError(
                "y: Only binary classification is supported. The type of the target is multiclass: got "
                f"{len(classes)} classes; take NNGPClassifier, or one class against the others with "
                "sklearn.multiclass.OneVsRestClassifier"
            )
