"""What all classifiers on a network share: labels, fitting, probabilities."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from stpbnn import _validation as check
from stpbnn._labels import distinct_classes, refuse_no_labels, refuse_unknown_labels
from stpbnn._precision import in_float64
from stpbnn._slices import slices
from stpbnn.classifiers.learned_precisions import LearnedPrecisions
from stpbnn.latent import APPROXIMATIONS, Approximation, Bernoulli, Categorical
from stpbnn.network import FullyConnected, Network, NetworkHolder, known_network
from stpbnn.regressors import refuse_indefinite_kernel, refuse_infinite_kernel

__all__ = ["NetworkClassifier"]

CHUNK = 2**22  # entries of the kernel between query points and training points that are held at a time


class NetworkClassifier(LearnedPrecisions, ClassifierMixin, NetworkHolder, BaseEstimator):
    """Classification with a Bayesian network; a theory adds `_condition`, `_law` and `_probabilities`."""

    network: Any
    _networks: ClassVar[tuple[type[Network], ...]] = (FullyConnected,)  # those of which the theory is known
    temperature: float
    approximation: Approximation
    classes_: np.ndarray
    order_parameters_: np.ndarray
    y_train_: np.ndarray

    @in_float64
    def fit(self, X: Any, y: Any) -> Any:
        """Condition on the training set.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,)
            Class labels: numbers or text.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data are not finite numbers with a label each, there is one class only, the network has another
            number of outputs, or a setting is out of range.
        """
        self._check_settings()
        X, y = self._training_set(X, y)
        classes = distinct_classes("y", y)
        index = np.searchsorted(classes, y)
        self.network_ = self._network_for(len(classes))
        self.network_.refuse_features("X", X.shape[1])
        C = self.network_.outputs
        matrices = 3 * (C - 1) ** 2 if self.approximation == "ep" else C
        check.room_for_kernels("X", len(X), matrices=3 + matrices)
        if self.network_.outputs == 1:
            self._likelihood: Any = Bernoulli(2.0 * index - 1, float(self.temperature))
        else:
            self._likelihood = Categorical(np.eye(len(classes))[index], float(self.temperature))
        self.classes_, self.X_train_, self.y_train_ = classes, X, y
        try:
            with np.errstate(all="ignore"):  # what overflows is refused
                refuse_infinite_kernel(self.network_, X)
                refuse_indefinite_kernel(self.network_, X)
                settled = self._search()
                self._condition()
                if not np.isfinite([self.log_marginal_likelihood_, *self.order_parameters_.ravel()]).all():
                    raise OverflowError
        except BaseException as error:
            del self.classes_, self.X_train_, self.y_train_
            if not isinstance(error, np.linalg.LinAlgError | OverflowError):
                raise
            raise ValueError(
                f"temperature: got {self.temperature!r} with inputs up to {np.abs(X).max():.0e}, where the mode of the "
                f"latent function cannot be computed{f' ({error})' if str(error) else ''}; rescale the inputs, or give "
                "a larger temperature"
            ) from None
        if not self.converged_:
            other = "" if self.approximation == "laplace" else ", or take approximation='laplace'"
            warnings.warn(
                "the posterior of the latent function or the saddle point was not reached; rescale the inputs, give a "
                f"larger temperature or precision of the readout{other}",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.converged_ = bool(self.converged_ and settled)
        return self

    def _check_settings(self) -> None:
        """Refuse settings that are out of range."""
        self._check_search()
        if check.number("temperature", self.temperature, minimum=0, inclusive=True) == 0:
            raise ValueError(
                "temperature: got 0, where the likelihood of classes knows no noise and probabilities are zero or one; "
                "give a positive number: T = 1 is Bayes, a smaller one a cold posterior"
            )
        check.one_of("approximation", self.approximation, APPROXIMATIONS)
        if self.network is not None:
            known_network(self.network, self._networks, "NNGPClassifier")

    def _training_set(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        check.refuse_no_numbers("X", X)
        refuse_no_labels("y", y)
        with check.named("X, y"):
            X, y = validate_data(self, X, y, dtype=np.float64, copy=True)
        with check.named("y"):
            check_classification_targets(y)
        return X, np.array(y)

    def _network_for(self, classes: int) -> Any:
        """Return the network, whose outputs fit the number of classes."""
        if self.network is None:
            return FullyConnected(outputs=1 if classes == 2 else classes)
        fitting = (1, 2) if classes == 2 else (classes,)
        if self.network.outputs not in fitting:
            raise ValueError(
                f"network: got {check.plural(self.network.outputs, 'output')} for {classes} classes, expected "
                f"{' or '.join(map(str, fitting))}; give {type(self.network).__name__}(..., outputs={fitting[0]})"
            )
        return self.network

    def _law(self, X: np.ndarray) -> Any:
        """Return the law of the latent function at checked query points."""
        raise NotImplementedError

    def _probabilities(self, X: np.ndarray) -> Float[np.ndarray, "n C"]:
        """Return class probabilities at checked query points."""
        raise NotImplementedError

    def _chunks(self, X: Any) -> list[np.ndarray]:
        """Return checked query points, a few at a time."""
        check_is_fitted(self, "X_train_")
        check.refuse_no_numbers("X", X)
        with check.named("X"):
            X = validate_data(self, X, dtype=np.float64, reset=False)
        refuse_infinite_kernel(self.network_, X)
        return [X[rows] for rows in slices(len(X), CHUNK // (len(self.X_train_) * self.network_.outputs))]

    @in_float64
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class at query points, averaged over the posterior of the latent function.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.

        Returns
        -------
        array of shape (n, C)
            Columns are in the order of `classes_`; rows have the sum one.
        """
        return np.concatenate([self._probabilities(chunk) for chunk in self._chunks(X)])

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the logarithms of the class probabilities; of two classes the log odds of the second one.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.

        Returns
        -------
        array of shape (n,) for two classes, or (n, C)
        """
        logs = np.log(np.maximum(self.predict_proba(X), np.finfo(np.float64).tiny))
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the most probable class at query points.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.

        Returns
        -------
        array of shape (n,)
            Labels, as they were given.
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    @in_float64
    def latent(self, X: ArrayLike) -> Any:
        """Return the law of the latent function at query points: of one output, or of each output alone.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.

        Returns
        -------
        law
            A frozen distribution of `stpbnn.predictive`.
        """
        laws = [self._law(chunk) for chunk in self._chunks(X)]
        return type(laws[0]).concatenate(laws)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of the examples whose class is predicted correctly.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Test inputs.
        y : array of shape (n,)
            Their class labels.
        sample_weight : array of shape (n,) or None
            Weights of the examples.

        Raises
        ------
        ValueError
            If a class is not among those of the training set.
        """
        check_is_fitted(self, "X_train_")
        refuse_no_labels("y", y)
        refuse_unknown_labels("y", y, self.classes_)
        with check.named("X, y"):
            return float(super().score(X, y, sample_weight))
