"""Hyper-parameters chosen by the evidence, where that is asked for: precisions and temperature of a regressor."""

from __future__ import annotations

import copy
import warnings
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.kernels import hyperparameters, nngp_map
from stpbnn.regressors.base import NetworkRegressor
from stpbnn.regressors.optimise import check_optimizer, minimise
from stpbnn.regressors.prediction import NOTHING_EXPLAINED, explained
from stpbnn.scale import FactorisedKernel

__all__ = ["EvidenceRegressor"]

PRECISION_BOUNDS = (1e-5, 1e5)  # that of the readout over the mean square of the targets, whose inverse is its unit
TEMPERATURE_BOUNDS = (1e-10, 1e5)  # in units of the mean square of the targets


class EvidenceRegressor(NetworkRegressor):
    """Regressors with a log evidence; a theory adds `_evidence_gradient`."""

    optimizer: Any
    n_restarts_optimizer: int
    random_state: Any
    log_marginal_likelihood_: float
    converged_: bool

    def _check_settings(self) -> None:
        super()._check_settings()
        check.integer("n_restarts_optimizer", self.n_restarts_optimizer, minimum=0)
        if self.optimizer is not None:
            check_optimizer(self.optimizer)

    def _evidence_gradient(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the gradient of log_marginal_likelihood_ in the logarithms of the precisions and the temperature."""
        raise NotImplementedError

    @property
    def hyperparameters_(self) -> dict[str, float]:
        """Precisions and temperature by name, as given or learned."""
        check_is_fitted(self, "X_train_")
        values = np.exp(hyperparameters.log_values(self.network_)).tolist()
        return dict(zip(hyperparameters.names(self.network_), values, strict=True)) | {"temperature": self.temperature_}

    def _log_hyperparameters(self) -> np.ndarray:
        """Return θ: the logarithms of the precisions and, unless it is zero, of the temperature."""
        theta = hyperparameters.log_values(self.network_)
        return np.append(theta, np.log(self.temperature_)) if self.temperature_ > 0 else theta

    def _evaluate(self, theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> EvidenceRegressor:
        """Return this regressor conditioned at other hyper-parameters."""
        other = copy.copy(self)
        learned = len(hyperparameters.names(self.network_))
        other.network_ = hyperparameters.with_values(self.network_, theta[:learned])
        other.temperature_ = float(np.exp(theta[learned])) if self.temperature_ > 0 else 0.0
        other._condition(X, y)
        return other

    def _bounds(self, y: np.ndarray) -> np.ndarray:
        """Return the bounds of θ. Precisions that act on the outputs are sought in units of the targets also."""
        unit = float(np.mean(y**2)) or 1.0
        lowest, highest = PRECISION_BOUNDS
        of_outputs = lowest / max(unit, 1.0), highest / min(unit, 1.0)
        bounds = dict.fromkeys(hyperparameters.names(self.network_), PRECISION_BOUNDS)
        bounds |= dict.fromkeys(bounds.keys() & {"weight_precision", "bias_precision"}, of_outputs)
        readout = f"weight_precision[{self.network_.depth}]"
        bounds |= dict.fromkeys(bounds.keys() & {readout}, (lowest / unit, highest / unit))
        if self.temperature_ > 0:
            bounds["temperature"] = (TEMPERATURE_BOUNDS[0] * unit, TEMPERATURE_BOUNDS[1] * unit)
        return np.log(list(bounds.values()))

    def _start(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return θ as given, but for a common factor c of kernel and temperature.

        That is the one at which N(y; 0, c A) is highest, A at infinite width. Hence a search does not depend on the
        unit of the targets.
        """
        theta, net = self._log_hyperparameters(), self.network_
        if self.temperature_ == 0:
            return theta
        try:
            process = FactorisedKernel.of(net.prior, X, y, nngp_map(net), self.temperature_)
        except np.linalg.LinAlgError:
            return theta
        factor = float(np.vdot(y, process.alpha)) / y.size
        if factor > 0:
            readout = net.depth if isinstance(net.weight_precision, tuple) else 0
            theta[readout] -= np.log(factor) / (1 if readout else net.depth + 1)
            theta[-1] += np.log(factor)
        return theta

    def _choose(self, X: np.ndarray, y: np.ndarray) -> bool:
        if self.optimizer is None:
            return True
        start = self._start(X, y)
        names = [*hyperparameters.names(self.network_), "temperature"][: len(start)]

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                trial = self._evaluate(theta, X, y)
                if not trial.converged_:
                    raise np.linalg.LinAlgError("not converged")
                return -trial.log_marginal_likelihood_, -trial._evidence_gradient(X, y)[: len(theta)]

        theta, _, converged = minimise(
            objective,
            start,
            self._bounds(y),
            names,
            optimizer=self.optimizer,
            n_restarts=self.n_restarts_optimizer,
            random_state=self.random_state,
        )
        learned = len(hyperparameters.names(self.network_))
        self.network_ = hyperparameters.with_values(self.network_, theta[:learned])
        if self.temperature_ > 0:
            self.temperature_ = float(np.exp(theta[-1]))
        return converged

    def _judge(self) -> None:
        if self.optimizer is not None and explained(self.y_train_, self._means(self.X_train_)) < NOTHING_EXPLAINED:
            warnings.warn(
                f"temperature: learned as {self.temperature_:.3g}, where the network explains nothing of the targets "
                "and takes them as noise; standardise inputs and targets, or start from other values "
                "(n_restarts_optimizer)",
                ConvergenceWarning,
                stacklevel=4,
            )

    @in_float64
    def log_marginal_likelihood(self, theta: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """Return the log evidence of the training set at other hyper-parameters, and its gradient where asked.

        Parameters
        ----------
        theta : array of shape (n,) or None
            Logarithms of the values of `hyperparameters_`, in their order; without that of the temperature where the
            temperature is zero. None means the values themselves.
        eval_gradient : bool
            Whether to return also the gradient in theta, of shape (n,).

        Raises
        ------
        ValueError
            If theta has the wrong length, or the kernel plus temperature is singular there.
        """
        check_is_fitted(self, "X_train_")
        eval_gradient = check.boolean("eval_gradient", eval_gradient)
        there, length = self, len(self._log_hyperparameters())
        if theta is not None:
            theta = check.numeric("theta", theta)
            if theta.shape != (length,) or not np.isfinite(theta).all():
                names = ", ".join(list(self.hyperparameters_)[:length])
                raise ValueError(
                    f"theta: got {short(theta.tolist())}, expected {length} finite numbers: the logarithms of {names}"
                )
            try:
                there = self._evaluate(theta, self.X_train_, self.y_train_)
            except (np.linalg.LinAlgError, OverflowError) as error:
                raise ValueError(
                    f"theta: got {short(theta.tolist())}, where the evidence cannot be computed ({error})"
                ) from None
        value = there.log_marginal_likelihood_
        return (value, there._evidence_gradient(self.X_train_, self.y_train_)[:length]) if eval_gradient else value
