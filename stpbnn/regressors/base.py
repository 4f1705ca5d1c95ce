"""What all regressors on a network share: validation, and fitting."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.activations import Activation
from stpbnn.network import FullyConnected, Prior
from stpbnn.regressors.prediction import PredictiveRegressor
from stpbnn.scale import ZERO_TARGETS

__all__ = ["NetworkRegressor"]


class NetworkRegressor(PredictiveRegressor):
    """Closed-form regression with a Bayesian network; a theory adds `_condition` and `_predictive`."""

    network: FullyConnected | None
    temperature: float
    order_parameters_: np.ndarray
    log_marginal_likelihood_: float
    _learned: ClassVar[tuple[str, ...]] = ("network_", "temperature_", "converged_")

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
        self.temperature_ = float(self.temperature)
        try:
            with np.errstate(all="ignore"):  # what overflows is refused
                if not np.isfinite(np.square(y).sum()):
                    raise OverflowError
                self._choose(X, y)
                _refuse_infinite_kernel(self.network_, X)
                self._condition(X, y)
                if not np.isfinite(self._numbers).all():
                    raise OverflowError
        except np.linalg.LinAlgError as error:
            if self.temperature_ == 0 and not y.any() and "falls without bound" in str(error):
                raise ValueError(ZERO_TARGETS) from None
            raise ValueError(
                f"temperature: got {self.temperature!r} with a kernel that is singular to working precision ({error}); "
                "remove repeated or linearly dependent inputs, or give a larger temperature"
            ) from None
        except (OverflowError, ZeroDivisionError):
            raise check.out_of_range(self.temperature, X, y) from None
        self.X_train_, self.y_train_ = X, y
        return self

    def _check_settings(self) -> None:
        """Refuse settings that are out of range."""

    def _choose(self, X: np.ndarray, y: np.ndarray) -> None:
        """Set network_ and temperature_ to values that suit the data, where that is asked for."""

    @property
    def _numbers(self) -> np.ndarray:
        """What was learned, in numbers."""
        return np.append(self.order_parameters_, self.log_marginal_likelihood_)

    def _condition(self, X: np.ndarray, y: np.ndarray) -> None:
        """Set what is learned, at network_ and temperature_."""
        raise NotImplementedError

    def _recondition(self) -> None:
        self._condition(self.X_train_, self.y_train_)

    def _chunks(self, X: Any) -> list[np.ndarray]:
        chunks = super()._chunks(X)
        for chunk in chunks:
            _refuse_infinite_kernel(self.network_, chunk)
        return chunks


@partial(jax.jit, static_argnums=0)
def _variances(sigma: Activation, prior: Prior, values: jax.Array) -> jax.Array:
    for precision in prior.precisions[1:]:
        values = sigma.kernel(values, values, values) / precision + prior.bias_variance
    return values


def _refuse_infinite_kernel(net: FullyConnected, X: np.ndarray) -> None:
    """Refuse inputs that lead an activation to where it is NaN: the diagonal of its kernel shows it.

    A few of the variances, from the smallest to the largest, are looked at: as many for every set of inputs.
    """
    variances = np.einsum("ij,ij->i", X, X) / (net.precisions[0] * X.shape[1]) + net.prior.bias_variance
    usable = variances[np.isfinite(variances)]
    few = np.quantile(usable, np.linspace(0, 1, 9), method="nearest") if usable.size else usable
    if np.isnan(np.asarray(_variances(net.sigma, net.prior, few))).any():
        raise ValueError(
            f"activation {net.sigma.name!r}: its kernel is NaN for inputs of the size {np.abs(X).max():.0e}; scale the "
            "inputs down, or define the function for all numbers"
        )
