"""The solver: a factorisation of the kernel, or products with it where there are too many examples for one."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from stpbnn import _validation as check
from stpbnn._memory import available
from stpbnn.network import Convolutional, Network
from stpbnn.regressors.estimator import Estimator
from stpbnn.scale import Mean, NumericalErrors, keeps_mean, refuse_space

__all__ = ["SOLVERS", "Solver", "WithSolver", "only_exact"]

Solver = Literal["auto", "exact", "iterative"]
SOLVERS = ("auto", "exact", "iterative")
LARGEST_EXACT = 10_000  # examples that "auto" factorises: a minute or two


def only_exact(net: Network, closure: str, mean: Mean, *, mixture: bool = False) -> str | None:
    """Return what of a network, whose order parameters enter as one scale, the exact solver alone can do."""
    if isinstance(net, Convolutional):
        return "a Convolutional, expected a FullyConnected"
    if net.outputs > 1:
        return f"{net.outputs} outputs; fit one regressor an output"
    if net.depth > 1 and (closure != "global" or mixture):
        return (
            f"{net.depth} hidden layers, expected one: others have a kernel of their own at each value of the order "
            "parameters, but for the saddle point of closure='global'"
        )
    if keeps_mean(net, mean):
        return f"activation {net.sigma.name!r}, whose mean has a scale of its own; say mean='drop'"
    return None


class WithSolver(Estimator):
    """Estimators that can do without a factorisation; a model adds `_only_exact`, `_factorise` and `_iterate`."""

    solver: Solver
    solver_: str
    trend: str
    noise_variances_: np.ndarray | None = None
    numerical_errors_: NumericalErrors | None = None
    log_marginal_likelihood_: float

    def _check_settings(self) -> None:
        super()._check_settings()
        check.one_of("solver", self.solver, SOLVERS)

    def _only_exact(self, outputs: int) -> str | None:
        """Return what is given that the exact solver alone can do, with what to do instead."""
        raise NotImplementedError

    def _what_is_exact(self) -> str | None:
        """Return the same of settings that all these estimators have."""
        if getattr(self, "optimizer", None) is not None:
            return (
                f"optimizer={self.optimizer!r}; learn with solver='exact' from part of the examples, and give what was "
                "learned with optimizer=None"
            )
        if np.ndim(self.temperature) or self.temperature == 0:
            given = "an array" if np.ndim(self.temperature) else 0
            return f"temperature={given}, expected a number greater than 0"
        if self.trend != "zero" or self.noise_variances_ is not None:
            given = f"trend={self.trend!r}" if self.trend != "zero" else "weights of the examples"
            return f"{given}, expected trend='zero' and no weights"
        return None

    def _take_room(self, X: np.ndarray, y: np.ndarray) -> None:
        examples, outputs = len(X), 1 if y.ndim == 1 else y.shape[1]
        only = self._what_is_exact() or self._only_exact(outputs)
        if self.solver == "iterative" and only:
            raise ValueError(f"solver: got 'iterative' with {only}")
        short = 8 * self._kernels * examples**2 > available()
        large = self.solver == "auto" and only is None and (examples > LARGEST_EXACT or short)
        self.solver_ = "iterative" if large or self.solver == "iterative" else "exact"
        self.numerical_errors_ = None
        if self.solver_ == "exact":
            super()._take_room(X, y)
        else:
            refuse_space(examples)

    @property
    def _factorised(self) -> bool:
        return self.solver_ != "iterative"

    def _condition(self) -> None:
        if self._factorised:
            self._factorise()
        else:
            self._iterate()

    def _factorise(self) -> None:
        """Condition on the training set with a factorised kernel."""
        raise NotImplementedError

    def _iterate(self) -> None:
        """Condition on the training set with products of the kernel."""
        raise NotImplementedError

    def _take_up_errors(self, errors: NumericalErrors) -> None:
        """Set the errors of the iterative solver, and say so where they are too large."""
        self.numerical_errors_ = errors
        if errors.accepted(self.log_marginal_likelihood_):
            return
        self.converged_ = False
        warnings.warn(
            f"solver: the iterative solver reached {errors.mean:.1e} standard deviations for the mean, "
            f"{errors.std:.1e} of these, {errors.log_evidence:.1e} for the log evidence and "
            f"{errors.log_order_parameter:.1e} for log Q; raise the temperature, take fewer "
            "examples, or solver='exact'",
            ConvergenceWarning,
            stacklevel=5,
        )
