"""Precisions of a classifier that are learned by maximising the log evidence, as far as that is asked for."""

from __future__ import annotations

import copy
from reprlib import repr as short
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.kernels import hyperparameters
from stpbnn.regressors import PRECISION_BOUNDS, check_optimizer, minimise

__all__ = ["LearnedPrecisions"]


class LearnedPrecisions:
    """A part of classifiers with a log evidence; a theory adds `_condition` and `_evidence_gradient`."""

    optimizer: Any
    n_restarts_optimizer: int
    random_state: Any
    network_: Any
    log_marginal_likelihood_: float
    converged_: bool
    X_train_: np.ndarray

    def _check_settings(self) -> None:
        """Refuse settings that are out of range."""
        check.integer("n_restarts_optimizer", self.n_restarts_optimizer, minimum=0)
        if self.optimizer is not None:
            check_optimizer(self.optimizer)

    def _condition(self, X: np.ndarray) -> None:
        """Set what is learned, at network_."""
        raise NotImplementedError

    def _evidence_gradient(self, X: np.ndarray) -> np.ndarray:
        """Return the gradient of log_marginal_likelihood_ in the logarithms of the precisions."""
        raise NotImplementedError

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The log evidence, under the name that it has in scikit-learn."""
        return self.log_marginal_likelihood_

    @property
    def hyperparameters_(self) -> dict[str, float]:
        """The precisions by name, as given or learned."""
        check_is_fitted(self, "X_train_")
        values = np.exp(hyperparameters.log_values(self.network_)).tolist()
        return dict(zip(hyperparameters.names(self.network_), values, strict=True))

    def _evaluate(self, theta: np.ndarray, X: np.ndarray) -> Self:
        """Return this classifier conditioned at other precisions."""
        other = copy.copy(self)
        other.network_ = hyperparameters.with_values(self.network_, theta)
        other._condition(X)
        return other

    def _choose(self, X: np.ndarray) -> bool:
        """Set network_ to precisions that suit the data, where that is asked for, and say if they do."""
        if self.optimizer is None:
            return True
        names = hyperparameters.names(self.network_)

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            trial = self._evaluate(theta, X)
            if not trial.converged_:
                raise np.linalg.LinAlgError("not converged")
            return -trial.log_marginal_likelihood_, -trial._evidence_gradient(X)

        theta, _, converged = minimise(
            objective,
            hyperparameters.log_values(self.network_),
            np.log([PRECISION_BOUNDS] * len(names)),
            names,
            optimizer=self.optimizer,
            n_restarts=self.n_restarts_optimizer,
            random_state=self.random_state,
        )
        self.network_ = hyperparameters.with_values(self.network_, theta)
        return converged

    @in_float64
    def log_marginal_likelihood(self, theta: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """Return the log evidence of the training labels at other precisions, and its gradient where asked.

        Parameters
        ----------
        theta : array of shape (n,) or None
            Logarithms of the values of `hyperparameters_`, in their order. None means the values themselves.
        eval_gradient : bool
            Whether to return also the gradient in theta, of shape (n,).

        Returns
        -------
        float, and where asked an array of shape (n,)
            Minus infinity, with a gradient of zeros, where the mode of the latent function cannot be computed.

        Raises
        ------
        ValueError
            If theta has the wrong length, or is not finite.
        """
        check_is_fitted(self, "X_train_")
        eval_gradient, names, there = check.boolean("eval_gradient", eval_gradient), list(self.hyperparameters_), self
        if theta is not None:
            theta = check.numeric("theta", theta)
            if theta.shape != (len(names),) or not np.isfinite(theta).all():
                raise ValueError(
                    f"theta: got {short(theta.tolist())}, expected {len(names)} finite numbers: the logarithms of "
                    f"{', '.join(names)}"
                )
            try:
                with np.errstate(all="ignore"):
                    there = self._evaluate(theta, self.X_train_)
            except (np.linalg.LinAlgError, OverflowError):
                return (-np.inf, np.zeros_like(theta)) if eval_gradient else -np.inf
        value = there.log_marginal_likelihood_
        return (value, there._evidence_gradient(self.X_train_)) if eval_gradient else value
