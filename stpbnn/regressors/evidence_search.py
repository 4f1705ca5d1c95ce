"""The log evidence of an estimator as a function of its hyper-parameters, and the search for its maximum."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.regressors.factors import WithFactors
from stpbnn.regressors.optimise import check_optimizer, minimise

__all__ = ["NOISE_DF_BOUNDS", "Evidence", "EvidenceSearch", "Hyperparameters"]

NOISE_DF_BOUNDS = (1.0, 1e5)
TEMPERATURE_BOUNDS = (1e-10, 1e5)

SEARCH_TOLERANCE = 1e7 * float(np.finfo(float).eps)  # SciPy's own


class Hyperparameters(Protocol):
    """What is learned, as a vector of logarithms."""

    @property
    def names(self) -> list[str]:
        """What is learned, in the order of theta."""

    @property
    def theta(self) -> Float[np.ndarray, " n"]:
        """The logarithms of what is learned."""

    def at(self, theta: Float[np.ndarray, " n"]) -> Self:
        """Return the same at other values of what is learned."""


class Evidence(NamedTuple):
    """The log evidence, its gradient in theta where asked for, and whether what it needs has converged."""

    value: float
    gradient: Float[np.ndarray, " n"]
    converged: bool = True


class EvidenceSearch[H: Hyperparameters](WithFactors):
    """Estimators with a log evidence.

    A model adds its hyper-parameters, their bounds, where a search starts, and the evidence.
    """

    optimizer: Any
    n_restarts_optimizer: int
    random_state: Any
    log_marginal_likelihood_: float

    def _check_search(self) -> None:
        """Refuse settings of the search that are out of range."""
        check.integer("n_restarts_optimizer", self.n_restarts_optimizer, minimum=0)
        if self.optimizer is not None:
            check_optimizer(self.optimizer)

    @property
    def _hyperparameters(self) -> H:
        """The hyper-parameters, as given or learned."""
        raise NotImplementedError

    def _take_up(self, found: H) -> None:
        """Set the hyper-parameters."""
        raise NotImplementedError

    def _start(self) -> H:
        """Return the hyper-parameters at which a search starts."""
        raise NotImplementedError

    def _starts(self) -> list[H]:
        """Return the hyper-parameters at which searches start: that of `_start` first."""
        return [self._start()]

    def _bounds(self, start: H) -> Float[np.ndarray, "n 2"]:
        """Return the bounds of theta."""
        raise NotImplementedError

    @property
    def _temperature_bounds(self) -> tuple[float, float]:
        """Bounds of T, in units of the mean square of the targets; of the kernel's variance beside r."""
        return TEMPERATURE_BOUNDS

    def _evidence(self, at: H | None, *, gradient: bool) -> Evidence:
        """Return the log evidence at other hyper-parameters; None means at what was learned."""
        raise NotImplementedError

    def _objective(self, at: H) -> Evidence:
        """Return what a search makes as large as it can: by default the log evidence."""
        return self._evidence(at, gradient=True)

    @property
    def _at_bounds(self) -> Mapping[tuple[str, str], str]:
        """What it means to end on a bound, by the name of a hyper-parameter and "lower" or "upper"."""
        return {}

    @property
    def _tolerance(self) -> float:
        """The relative accuracy of the log evidence, beyond which a search does not go."""
        return SEARCH_TOLERANCE

    @property
    def _searched(self) -> bool:
        """Whether hyper-parameters are learned."""
        return self.optimizer is not None and len(self._hyperparameters.theta) > 0

    def _search(self) -> bool:
        if not self._searched:
            return True
        start, *others = self._starts()

        def objective(theta: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
            with warnings.catch_warnings():  # at points that are passed through
                warnings.simplefilter("ignore", ConvergenceWarning)
                found = self._objective(start.at(theta))
            if not found.converged:
                raise np.linalg.LinAlgError("not converged")
            return -found.value, -found.gradient

        theta, _, converged = minimise(
            objective,
            start.theta,
            self._bounds(start),
            start.names,
            optimizer=self.optimizer,
            others=[other.theta for other in others if not np.allclose(other.theta, start.theta)],
            n_restarts=self.n_restarts_optimizer,
            random_state=self.random_state,
            at_bounds=self._at_bounds,
            tolerance=self._tolerance,
        )
        self._take_up(start.at(theta))
        return converged

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The log evidence, under the name that it has in scikit-learn."""
        return self.log_marginal_likelihood_

    @in_float64
    def log_marginal_likelihood(self, theta: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """Return the log evidence log p(y) of the training targets, and its gradient where asked.

        Parameters
        ----------
        theta : array of shape (n,) or None
            Logarithms of the hyper-parameters: of the values of `hyperparameters_` in their order, without that of T
            where T is zero; of a t-process those of `kernel_.theta`, then T and ν where they are learned; of a
            classifier the precisions. None means what was learned.
        eval_gradient : bool
            Whether to return also the derivatives in theta.

        Returns
        -------
        float, and where asked an array of shape (n,)
            Minus infinity, with a gradient of zeros, where kernel plus temperature is not positive definite, the
            latent function of classes has no mode that can be computed, or numbers are out of range.

        Raises
        ------
        ValueError
            If theta has the wrong length, or is not finite.
        """
        check_is_fitted(self, "X_train_")
        here, eval_gradient = self._hyperparameters, check.boolean("eval_gradient", eval_gradient)
        if eval_gradient:
            self._needs_factors("eval_gradient")
        at = None
        if theta is not None:
            theta = check.numeric("theta", theta)
            if theta.shape != here.theta.shape or not np.isfinite(theta).all():
                raise ValueError(
                    f"theta: got shape {theta.shape} and values {short(theta.tolist())}, expected {len(here.names)} "
                    f"finite numbers: logarithms of {', '.join(here.names)}"
                )
            at = here.at(theta)
        try:
            value, gradient, _ = self._evidence(at, gradient=eval_gradient)
        except (np.linalg.LinAlgError, OverflowError):
            value, gradient = -np.inf, np.zeros_like(here.theta)
        return (value, gradient) if eval_gradient else value
