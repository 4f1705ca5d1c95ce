"""The estimator that all regressors are: it checks its data, searches, conditions and judges what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from stpbnn import _validation as check
from stpbnn._blas import one_thread
from stpbnn._precision import in_float64
from stpbnn.network import NetworkHolder
from stpbnn.regressors.factors import WithFactors
from stpbnn.regressors.predicting import Predicting
from stpbnn.scale import ZERO_TARGETS

__all__ = ["Estimator"]

WEIGHTED = "NNGPRegressor, ProportionalLimitRegressor, FiniteWidthRegressor and StudentTProcessRegressor"
OF_CLASSIFIERS = ("predict_proba", "predict_log_proba", "decision_function", "classes_")


class Estimator(Predicting, WithFactors, NetworkHolder, RegressorMixin, BaseEstimator):
    """Regression with a predictive law in closed form.

    A model adds `_check_settings`, `_prepare`, `_condition`, `_numbers` and `_predictive`; one that chooses
    hyper-parameters adds `_search`.
    """

    X_train_: np.ndarray
    y_train_: np.ndarray
    temperature: float
    converged_: bool
    n_features_in_: int
    feature_names_in_: np.ndarray
    _learned: ClassVar[tuple[str, ...]]  # names of what, with the parameters and the training set, determines the rest
    _arrays: Mapping[str, np.ndarray] = {}  # what, read from a file, spares a search

    def __getattr__(self, name: str) -> Any:
        """Refuse what is missing; asked for class probabilities, say who has them."""
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name in OF_CLASSIFIERS:
            message += ": it predicts numbers; take a classifier, such as stpbnn.NNGPClassifier"
        raise AttributeError(message, name=name, obj=self)

    @in_float64
    def fit(self, X: Any, y: Any, **others: Any) -> Any:
        """Condition on the training set, at the hyper-parameters of highest evidence where these are learned.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,) or (P, D)
            Targets of D outputs. Those of a network are as many as it has.
        **others
            None: weights of the examples are taken by other regressors.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data are not finite numbers of matching shapes, a setting is out of range, the kernel is not a
            covariance (not finite, not symmetric, not positive definite), or kernel plus temperature is singular to
            working precision, or out of its range. The estimator is then not fitted.
        TypeError
            For other words.

        Warns
        -----
        ConvergenceWarning
            If a search or a quadrature does not converge, a hyper-parameter ends on a bound, or nothing is explained.
        """
        self._refuse_words(others)
        return self._fit(X, y)

    def _refuse_words(self, words: Iterable[str]) -> None:
        """Raise TypeError for an argument of `fit` that there is not; of weights it says who takes them."""
        for word in words:
            told = f": it has one noise for all examples; {WEIGHTED} take weights" if word == "sample_weight" else ""
            raise TypeError(f"{type(self).__name__}.fit() got an unexpected keyword argument {word!r}{told}")

    def _fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        self._check_settings()
        X, y = self._training_set(X, y, several=get_tags(self).target_tags.multi_output)
        y = check.targets("y", y, examples=len(X), outputs=self._outputs(1 if y.ndim == 1 else y.shape[1]))
        if sample_weight is not None:
            X, y = self._weighted(X, y, sample_weight)
        self._take_room(X, y)
        self.X_train_, self.y_train_ = X, y
        try:
            with np.errstate(all="ignore"), one_thread(y.size):  # what overflows is refused
                if not np.isfinite(np.square(y).sum()):
                    raise OverflowError
                self._prepare()
                settled = self._search()
                self._refuse_kernel()
                self._condition()
                self.converged_ = bool(self.converged_ and settled)
                if not np.isfinite(self._numbers).all():
                    raise OverflowError
            self._judge()
        except BaseException as error:
            del self.X_train_, self.y_train_
            if isinstance(error, np.linalg.LinAlgError):
                raise self._singular(error, X, y) from None
            if isinstance(error, OverflowError | ZeroDivisionError):
                raise check.out_of_range(self.temperature, X, y) from None
            raise
        return self

    def _weighted(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, np.ndarray]:
        """Take up the weights of the examples, and return the examples of positive weight."""
        raise NotImplementedError

    def _check_settings(self) -> None:
        """Refuse settings that are out of range."""

    def _outputs(self, given: int) -> int:
        """Return the number of outputs that are expected of targets that have as many as given."""
        return given

    def _prepare(self) -> None:
        """Set what is as given, or does not change while hyper-parameters are sought."""

    def _search(self) -> bool:
        """Set the hyper-parameters, where they are learned, and return whether the search converged."""
        return True

    def _refuse_kernel(self) -> None:
        """Raise ValueError where the kernel is not a covariance of the training inputs."""

    def _condition(self) -> None:
        """Condition on the training set, at the hyper-parameters."""
        raise NotImplementedError

    def _recondition(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._condition()  # at what was read from a file

    @property
    def _numbers(self) -> np.ndarray:
        """What was learned, in numbers."""
        raise NotImplementedError

    def _judge(self) -> None:
        """Warn where what was learned is of no use."""

    def _singular(self, error: Exception, X: np.ndarray, y: np.ndarray) -> ValueError:
        """Return the error for a kernel plus temperature that is singular."""
        at_zero = np.ndim(self.temperature) == 0 and self.temperature == 0
        if at_zero and not y.any() and "falls without bound" in str(error):
            return ValueError(ZERO_TARGETS)
        return ValueError(
            f"temperature: got {check.shown(self.temperature)} with a kernel that is singular to working precision "
            f"({error}); remove repeated or linearly dependent inputs, or give a larger temperature"
        )

    def _training_set(self, X: Any, y: Any, *, several: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of inputs and targets, checked: later changes of the caller's arrays have no effect."""
        check.refuse_no_numbers("X", X)
        check.refuse_no_numbers("y", y)
        with check.named("X, y"):
            return validate_data(self, X, y, dtype=np.float64, copy=True, multi_output=several, y_numeric=True)
