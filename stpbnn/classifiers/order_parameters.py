"""Classes at finite width: what the classifiers with order parameters share."""

from __future__ import annotations

from typing import Any

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn.classifiers.network_classifier import NetworkClassifier
from stpbnn.latent import Approximation, ClassesOfNetwork
from stpbnn.network import FullyConnected

__all__ = ["OrderParameterClassifier"]


class OrderParameterClassifier(NetworkClassifier):
    """Classifiers whose network has a closure of its order parameters; of several outputs one hidden layer."""

    closure: kernels.Closure

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 1.0,
        closure: kernels.Closure = "nested",
        approximation: Approximation = "auto",
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.closure = closure
        self.approximation = approximation
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def _check_settings(self) -> None:
        super()._check_settings()
        check.one_of("closure", self.closure, kernels.CLOSURES)

    def _network_for(self, classes: int) -> FullyConnected:
        network = super()._network_for(classes)
        if network.outputs > 1 and network.depth > 1:
            raise ValueError(
                f"network: got {network.depth} hidden layers and {network.outputs} outputs, expected one hidden layer "
                "for several outputs; take NNGPClassifier, or one class against the others with "
                "sklearn.multiclass.OneVsRestClassifier"
            )
        return network

    def _posed(self) -> ClassesOfNetwork:
        """Return the problem that the training set poses."""
        return ClassesOfNetwork(self.network_, self.X_train_, self._likelihood, self.closure, self.approximation)
