"""Regressors at finite width: what those that fix the order parameters and those that average over them share."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from sklearn.base import MultiOutputMixin

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.regressors.learnable_network import LearnableNetwork
from stpbnn.regressors.solver import Solver, WithSolver, only_exact
from stpbnn.scale import MEANS, IteratedScale, Mean, NetworkProblem, keeps_mean, pose

__all__ = ["OrderParameterRegressor"]


class OrderParameterRegressor(WithSolver, MultiOutputMixin, LearnableNetwork):
    """Regressors whose kernel has order parameters; a theory says whether they are a mixture over their posterior."""

    _networks = (FullyConnected, Convolutional)
    _mixture: ClassVar[bool]
    closure: kernels.Closure
    mean: Mean

    def __init__(
        self,
        network: Network | None = None,
        *,
        temperature: Any = 0.01,
        trend: Literal["zero", "constant", "linear"] = "zero",
        closure: kernels.Closure = "nested",
        mean: Mean = "auto",
        solver: Solver = "auto",
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.trend = trend
        self.closure = closure
        self.mean = mean
        self.solver = solver
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def _check_settings(self) -> None:
        super()._check_settings()
        check.one_of("closure", self.closure, kernels.CLOSURES)
        check.one_of("mean", self.mean, MEANS)
        if isinstance(self.network, Convolutional):
            self._refuse_unknown_images(self.network)

    def _refuse_unknown_images(self, network: Convolutional) -> None:
        """Refuse convolutional networks of several outputs, deep ones that average, and those that are to be learned.

        A readout that averages gives all positions of the last layer one weight: a singular matrix, on whose root the
        layers below it stand.
        """
        if network.outputs > 1:
            raise ValueError(
                f"network: got a Convolutional of {network.outputs} outputs, expected one; use NNGPRegressor, or "
                "stpbnn.sample"
            )
        if network.depth > 1 and network.readout == "mean":
            raise ValueError(
                f"network: got a Convolutional of {network.depth} hidden layers with readout='mean', expected one "
                "hidden layer, or readout='flatten'; use NNGPRegressor, or stpbnn.sample"
            )
        if self.optimizer is not None:
            raise ValueError(
                f"optimizer: got {self.optimizer!r} for a Convolutional, expected None; learn with NNGPRegressor, and "
                "give its network_ and temperature_"
            )

    def _only_exact(self, outputs: int) -> str | None:
        net = FullyConnected(outputs=outputs) if self.network is None else self.network
        return only_exact(net, self.closure, self.mean, mixture=self._mixture)

    def _pose(self) -> NetworkProblem:
        """Return the problem of the network on the training set."""
        net, data = self.network_, (self.X_train_, self.y_train_, self.temperature_)
        if self.solver_ == "iterative":
            return IteratedScale.iterated(net, *data, mixture=self._mixture)
        keep_mean = keeps_mean(net, self.mean)
        return pose(net, *data, self.closure, self._design, keep_mean=keep_mean, mixture=self._mixture)
