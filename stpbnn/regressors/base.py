"""What all regressors on a network share: validation, prediction from a law, the generalisation error."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.network import FullyConnected

__all__ = ["GeneralizationError", "NetworkRegressor"]


class GeneralizationError(NamedTuple):
    """Mean over test rows of (y − f̄)² + σ²: the sum, and its two parts."""

    total: float
    squared_bias: float
    variance: float


class NetworkRegressor(RegressorMixin, BaseEstimator):
    """Closed-form regression with a Bayesian network; a theory adds `_condition` and `_predictive`."""

    network: FullyConnected | None
    temperature: float

    @in_float64
    def fit(self, X: Any, y: Any) -> Any:
        """Condition on the training set.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,) or (P, D)
            Targets, D being the network's number of outputs.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data are not finite numbers of matching shapes, a setting is out of range, or the kernel plus
            temperature is singular to working precision.
        """
        check.number("temperature", self.temperature, minimum=0, inclusive=True)
        if not (self.network is None or isinstance(self.network, FullyConnected)):
            raise ValueError(f"network: got {self.network!r}, expected a stpbnn.FullyConnected or None")
        self._check_settings()
        several = get_tags(self).target_tags.multi_output
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=several, y_numeric=True)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        self.network_ = FullyConnected(outputs=outputs) if self.network is None else self.network
        y = check.targets("y", y, examples=len(X), outputs=self.network_.outputs)
        check.room_for_kernels("X", len(X))
        _refuse_infinite_kernel(self.network_, X)
        try:
            self._condition(X, y)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"temperature: got {self.temperature!r} with a kernel that is singular to working precision ({error}); "
                "remove repeated or linearly dependent inputs, or give a larger temperature"
            ) from None
        except OverflowError:
            raise ValueError(
                f"temperature: got {self.temperature!r} with inputs up to {np.abs(X).max():.0e} and targets up to "
                f"{np.abs(y).max():.0e}: out of the range of double precision; rescale the data or the temperature"
            ) from None
        self.X_train_, self.y_train_ = X, y
        return self

    def _check_settings(self) -> None:
        """Refuse settings that are out of range."""

    def _condition(self, X: np.ndarray, y: np.ndarray) -> None:
        """Set what is learned."""
        raise NotImplementedError

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        """Return the predictive law at checked query points."""
        raise NotImplementedError

    @in_float64
    def _law(self, X: Any, *, joint: bool = False, noise: bool = False) -> Any:
        check_is_fitted(self, "X_train_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        _refuse_infinite_kernel(self.network_, X)
        return self._predictive(X, joint=joint, noise=noise)

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
        if return_std and return_cov:
            raise ValueError("return_std, return_cov: got both, expected at most one of them; ask twice")
        law = self._law(X, joint=return_cov)
        if return_std:
            return law.mean, law.std
        return (law.mean, law.covariance) if return_cov else law.mean

    def sample_y(self, X: ArrayLike, n_samples: int = 1, random_state: Any = 0) -> np.ndarray:
        """Draw functions from the posterior at query points: shape (n, n_samples), or (n, D, n_samples).

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        n_samples : int
            How many functions.
        random_state : int, numpy RandomState or None
            Seed of the draws.
        """
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
        y = check.targets("y", y, examples=len(law.mean), outputs=self.network_.outputs)
        rows = 1 / len(law.mean)
        squared_bias, variance = float(np.sum((y - law.mean) ** 2) * rows), float(np.sum(law.variance) * rows)
        return GeneralizationError(squared_bias + variance, squared_bias, variance)


def _refuse_infinite_kernel(net: FullyConnected, X: np.ndarray) -> None:
    """Refuse inputs that lead an activation to where it is NaN: the diagonal of its kernel shows it."""
    variances = np.sum(X * X, axis=1) / (net.precisions[0] * X.shape[1]) + net.prior.bias_variance
    usable, values = np.isfinite(variances), jnp.asarray(variances)
    for precision in net.precisions[1:]:
        values = net.sigma.kernel(values, values, values) / precision + net.prior.bias_variance
    if np.isnan(np.asarray(values)[usable]).any():
        raise ValueError(
            f"activation {net.sigma.name!r}: its kernel is NaN for inputs of the size {np.abs(X).max():.0e}; scale the "
            "inputs down, or define the function for all numbers"
        )
