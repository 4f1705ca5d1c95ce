"""What all regressors share once they are fitted: predictions from a law, the generalisation error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from stpbnn import _validation as check
from stpbnn._memory import refuse_beyond
from stpbnn._precision import in_float64
from stpbnn.network import NetworkHolder

__all__ = ["GeneralizationError", "PredictiveRegressor", "error_parts", "explained", "finite_error", "standard_error"]

LARGEST = np.sqrt(np.finfo(np.float64).max) / 2**20  # of numbers whose squares are summed
NOTHING_EXPLAINED = 0.01  # of the targets' variance, at the training inputs
OF_CLASSIFIERS = ("predict_proba", "predict_log_proba", "decision_function", "classes_")
CHUNK = 2**22  # entries of the kernel between query points and training points that are held at a time


class GeneralizationError(NamedTuple):
    """Mean over test rows of (y − f̄)² + σ²: the sum, and its two parts."""

    total: float
    squared_bias: float
    variance: float


def error_parts(mean: np.ndarray, variance: np.ndarray, y: np.ndarray) -> tuple[Any, Any, Any]:
    """Return total, squared bias and variance of predictions (..., n[, D]) of targets (n[, D]), summed over outputs."""
    axes = tuple(range(-y.ndim, 0))
    with np.errstate(over="ignore"):  # infinite
        squared_bias, spread = np.sum((y - mean) ** 2, axis=axes) / len(y), np.sum(variance, axis=axes) / len(y)
    return squared_bias + spread, squared_bias, spread


def finite_error(parts: Iterable[Any], y: np.ndarray) -> GeneralizationError:
    """Return the error as numbers; refuse targets whose squares overflow."""
    error = GeneralizationError(*map(float, parts))
    if not np.isfinite(error).all() and np.abs(y).max() > LARGEST:
        raise ValueError(
            f"y: got targets up to {np.abs(y).max():.0e}, whose squares are out of the range of double precision; "
            "rescale them"
        )
    return error


def explained(y: np.ndarray, mean: np.ndarray) -> float:
    """Return R², the part of the targets' variance that predictions explain: one for targets that do not vary."""
    spread = float(np.sum((y - y.mean(axis=0)) ** 2))
    return 1 - float(np.sum((y - mean) ** 2)) / spread if spread > 0 else 1.0


def standard_error(populations: np.ndarray) -> np.ndarray:
    """Return the standard error of the mean over independent populations, the first axis; one alone is exact."""
    count = len(populations)
    return np.std(populations, axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(populations.shape[1:])


class PredictiveRegressor(NetworkHolder, RegressorMixin, BaseEstimator):
    """Closed-form regression; a model adds `fit`, which sets X_train_ and y_train_, and `_predictive`.

    Query points are taken a few thousand at a time, so that memory is bounded whatever their number.
    """

    X_train_: np.ndarray
    y_train_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray
    _learned: ClassVar[tuple[str, ...]]  # names of what, with the parameters and the training set, determines the rest

    def __getattr__(self, name: str) -> Any:
        """Refuse what is missing; asked for class probabilities, say who has them."""
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name in OF_CLASSIFIERS:
            message += ": it predicts numbers; take a classifier, such as stpbnn.NNGPClassifier"
        raise AttributeError(message, name=name, obj=self)

    def _training_set(self, X: Any, y: Any, *, several: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of inputs and targets, checked: what the caller does to his own changes no prediction."""
        check.refuse_no_numbers("X", X)
        check.refuse_no_numbers("y", y)
        with check.named("X, y"):
            return validate_data(self, X, y, dtype=np.float64, copy=True, multi_output=several, y_numeric=True)

    def _query_points(self, X: Any) -> np.ndarray:
        """Return checked query points."""
        check_is_fitted(self, "X_train_")
        check.refuse_no_numbers("X", X)
        with check.named("X"):
            return validate_data(self, X, dtype=np.float64, reset=False)

    def _recondition(self) -> None:
        """Condition on the training set at what was learned."""
        raise NotImplementedError

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        """Return the predictive law at checked query points."""
        raise NotImplementedError

    def _mean(self, X: np.ndarray) -> np.ndarray:
        """Return the posterior mean of f at checked query points, where it costs less than the law."""
        return self._predictive(X, joint=False, noise=False).mean

    def _chunks(self, X: Any) -> list[np.ndarray]:
        """Return checked query points, a few at a time."""
        X = self._query_points(X)
        rows = max(1, CHUNK // len(self.X_train_))
        return [X[start : start + rows] for start in range(0, len(X), rows)]

    @in_float64
    def _law(self, X: Any, *, joint: bool = False, noise: bool = False) -> Any:
        joint, noise = check.boolean("joint", joint), check.boolean("noise", noise)
        chunks = self._chunks(X)
        if joint:
            rows = sum(map(len, chunks))
            refuse_beyond(3 * 8 * rows**2, f"X: got {rows} query points, whose covariances", "take fewer at once")
        if joint or len(chunks) == 1:
            return self._predictive(np.concatenate(chunks), joint=joint, noise=noise)
        laws = [self._predictive(chunk, joint=False, noise=noise) for chunk in chunks]
        return type(laws[0]).concatenate(laws)

    @in_float64
    def _means(self, X: Any) -> np.ndarray:
        return np.concatenate([self._mean(chunk) for chunk in self._chunks(X)])

    def predictive(self, X: ArrayLike, noise: bool = False, *, joint: bool = False) -> Any:
        """Return the predictive distribution at query points: of the function f, or of a new target.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        noise : bool
            Whether to add the noise of variance T, which gives the law of a new target.
        joint : bool
            Whether to couple the query points; otherwise the law is that of each of them alone.

        Returns
        -------
        law
            A frozen distribution of `stpbnn.predictive`.
        """
        return self._law(X, joint=joint, noise=noise)

    def predict(self, X: ArrayLike, return_std: bool = False, return_cov: bool = False) -> Any:
        """Return the posterior mean of f at query points, and its standard deviation or covariance where asked.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        return_std : bool
            Whether to return also the standard deviation of f, of the shape of the mean.
        return_cov : bool
            Whether to return also the covariance of f between the query points, (n, n), or (n, n, D).

        Raises
        ------
        ValueError
            If both are asked for at once, or X does not fit the training inputs.
        """
        return_std, return_cov = check.boolean("return_std", return_std), check.boolean("return_cov", return_cov)
        if return_std and return_cov:
            raise ValueError("return_std, return_cov: got both, expected at most one of them; ask twice")
        if not (return_std or return_cov):
            return self._means(X)
        law = self._law(X, joint=return_cov)
        return law.mean, law.covariance if return_cov else law.std

    def sample_y(self, X: ArrayLike, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw functions from the posterior at query points: shape (n, n_samples), or (n, D, n_samples).

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        n_samples : int
            How many functions.
        random_state : int, numpy Generator, RandomState or None
            Source of the draws. None gives new draws at every call, where scikit-learn's Gaussian process would repeat
            those of its default seed zero; give a seed for draws that repeat.
        """
        n_samples = check.integer("n_samples", n_samples)
        return np.moveaxis(self._law(X, joint=True).sample(n_samples, random_state), 0, -1)

    def generalization_error(self, X: ArrayLike, y: ArrayLike) -> GeneralizationError:
        r"""Return the generalisation error of f against the targets, and its two parts.

        .. math:: \epsilon = \langle (y - \bar f(x))^2 + \sigma^2(x) \rangle

        averaged over rows and, for D outputs, summed over outputs.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Test inputs.
        y : array of shape (n,) or (n, D)
            Test targets.

        References
        ----------
        Theory notes, eq. (4.2); Pacelli et al. (2023).
        """
        law = self._law(X)
        y = check.targets("y", y, examples=len(law.mean), outputs=law.mean.size // len(law.mean))
        return finite_error(error_parts(law.mean, law.variance, y), y)
