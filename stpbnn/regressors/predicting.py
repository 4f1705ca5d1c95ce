"""Predictions of an estimator that has a predictive law: moments, draws, the generalisation error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted, validate_data

from stpbnn import _validation as check
from stpbnn._blas import one_thread
from stpbnn._memory import refuse_beyond
from stpbnn._precision import in_float64
from stpbnn._slices import slices
from stpbnn.regressors.errors import GeneralizationError, error_parts, finite_error

__all__ = ["Predicting"]

CHUNK = 2**22  # entries of the kernel between query points and training points that are held at a time


class Predicting:
    """Estimators with a predictive law; a model adds `_predictive`.

    Query points are taken a few thousand at a time, so that memory is bounded.
    """

    X_train_: np.ndarray
    y_train_: np.ndarray
    temperature: Any

    def _query_points(self, X: Any) -> np.ndarray:
        """Return checked query points."""
        check_is_fitted(self, "X_train_")
        check.refuse_no_numbers("X", X)
        with check.named("X"):
            return validate_data(self, X, dtype=np.float64, reset=False)

    def _checked_noise(self, noise: Any) -> Any:
        return check.boolean("noise", noise)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: Any) -> Any:
        """Return the predictive law at checked query points."""
        raise NotImplementedError

    def _mean(self, X: np.ndarray) -> np.ndarray:
        """Return the posterior mean of f at checked query points, where it costs less than the law."""
        return self._predictive(X, joint=False, noise=False).mean

    def _moments(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior mean and variance of f at checked query points, where they cost less than the law."""
        law = self._predictive(X, joint=False, noise=False)
        return law.mean, law.variance

    def _chunks(self, X: Any) -> list[np.ndarray]:
        """Return checked query points, a few at a time."""
        X = self._query_points(X)
        return [X[rows] for rows in slices(len(X), CHUNK // len(self.X_train_))]

    @in_float64
    def _law(self, X: Any, *, joint: bool = False, noise: Any = False) -> Any:
        joint, noise = check.boolean("joint", joint), self._checked_noise(noise)
        chunks = self._chunks(X)
        rows = sum(map(len, chunks))
        with one_thread(max(rows, self.y_train_.size)):
            return self._laws(chunks, rows, joint, noise)

    def _laws(self, chunks: list[np.ndarray], rows: int, joint: bool, noise: Any) -> Any:
        """Return the predictive law at chunks of checked query points, of so many rows."""
        if joint:
            refuse_beyond(3 * 8 * rows**2, f"X: got {rows} query points, whose covariances", "take fewer at once")
        if joint or len(chunks) == 1:
            return self._predictive(np.concatenate(chunks), joint=joint, noise=noise)
        laws = [self._predictive(chunk, joint=False, noise=noise) for chunk in chunks]
        return type(laws[0]).concatenate(laws)

    @in_float64
    def _means(self, X: Any) -> np.ndarray:
        chunks = self._chunks(X)
        with one_thread(max(sum(map(len, chunks)), self.y_train_.size)):
            return np.concatenate([self._mean(chunk) for chunk in chunks])

    @in_float64
    def _means_and_variances(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        chunks = self._chunks(X)
        with one_thread(max(sum(map(len, chunks)), self.y_train_.size)):
            means, variances = zip(*map(self._moments, chunks), strict=True)
        return np.concatenate(means), np.concatenate(variances)

    def predictive(self, X: ArrayLike, noise: Any = False, *, joint: bool = False) -> Any:
        """Return the predictive distribution at query points: of the function f, or of a new target.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        noise : bool or "clean"
            Whether to add the noise, which gives the law of a new target; "clean" leaves out outliers.
        joint : bool
            Whether to couple the query points; otherwise the law is that of each of them alone.

        Returns
        -------
        law
            A frozen distribution of `stpbnn.predictive`.

        Raises
        ------
        ValueError
            If X does not fit the training inputs, or the noise of new targets is not known.
        """
        if self._checked_noise(noise) and np.ndim(self.temperature):
            raise ValueError(
                "noise: got True with an array as temperature, which is the noise of the training targets; take "
                "predictive(X), and add the noise of the new ones to its variance"
            )
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
        if return_std:
            mean, variance = self._means_and_variances(X)
            return mean, np.sqrt(variance)
        law = self._law(X, joint=True)
        return law.mean, law.covariance

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
        mean, variance = self._means_and_variances(X)
        y = check.targets("y", y, examples=len(mean), outputs=mean.size // len(mean))
        return finite_error(error_parts(mean, variance, y), y)
