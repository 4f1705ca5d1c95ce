"""What all regressors on a network share: validation, and fitting."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from sklearn.utils import get_tags

import stpbnn
from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn._precision import in_float64
from stpbnn.activations import Activation
from stpbnn.network import FullyConnected, Prior
from stpbnn.regressors.hyperparameters import kernel_of, refuse_indefinite
from stpbnn.regressors.prediction import PredictiveRegressor
from stpbnn.scale import ZERO_TARGETS

__all__ = ["NetworkRegressor", "refuse_indefinite_kernel", "refuse_infinite_kernel"]


class NetworkRegressor(PredictiveRegressor):
    """Closed-form regression with a Bayesian network; a theory adds `_condition` and `_predictive`."""

    network: FullyConnected | None
    temperature: float
    order_parameters_: np.ndarray
    converged_: bool
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
        if self.network is not None:
            check.instance("network", self.network, FullyConnected)
        self._check_settings()
        several = get_tags(self).target_tags.multi_output
        X, y = self._training_set(X, y, several=several)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        self.network_ = FullyConnected(outputs=outputs) if self.network is None else self.network
        y = check.targets("y", y, examples=len(X), outputs=self.network_.outputs)
        check.room_for_kernels("X", len(X))
        self.temperature_ = float(self.temperature)
        try:
            with np.errstate(all="ignore"):  # what overflows is refused
                if not np.isfinite(np.square(y).sum()):
                    raise OverflowError
                settled = self._choose(X, y)
                refuse_infinite_kernel(self.network_, X)
                refuse_indefinite_kernel(self.network_, X)
                self._condition(X, y)
                self.converged_ = bool(self.converged_ and settled)
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
        self._judge()
        return self

    def _check_settings(self) -> None:
        """Refuse settings that are out of range."""

    def _choose(self, X: np.ndarray, y: np.ndarray) -> bool:
        """Set network_ and temperature_ to values that suit the data, where that is asked for, and say if they do."""
        return True

    def _judge(self) -> None:
        """Warn where what was learned is of no use."""

    @property
    def _numbers(self) -> np.ndarray:
        """What was learned, in numbers."""
        return np.append(self.order_parameters_, self.log_marginal_likelihood_)

    def _condition(self, X: np.ndarray, y: np.ndarray) -> None:
        """Set what is learned, at network_ and temperature_."""
        raise NotImplementedError

    def _recondition(self) -> None:
        self._condition(self.X_train_, self.y_train_)

    def _query_points(self, X: Any) -> np.ndarray:
        X = super()._query_points(X)
        refuse_infinite_kernel(self.network_, X)
        return X


@partial(jax.jit, static_argnums=0)
def _variances(sigma: Activation, prior: Prior, values: jax.Array) -> jax.Array:
    for precision in prior.precisions[1:]:
        values = sigma.kernel(values, values, values) / precision + prior.bias_variance
    return values


def refuse_infinite_kernel(net: FullyConnected, X: np.ndarray) -> None:
    """Refuse inputs that lead an activation to where it is NaN or infinite: the diagonal of its kernel shows it.

    A few of the variances, from the smallest to the largest, are looked at: as many for every set of inputs.
    """
    with np.errstate(over="ignore"):
        variances = np.einsum("ij,ij->i", X, X) / (net.precisions[0] * X.shape[1]) + net.prior.bias_variance
    size = f"{np.abs(X).max():.0e}"
    if np.isfinite(variances).all():
        few = np.quantile(variances, np.linspace(0, 1, 9), method="nearest")
        variances = np.asarray(_variances(net.sigma, net.prior, few))
    if np.isnan(variances).any():
        raise ValueError(
            f"X, activation {net.sigma.name!r}: its kernel is NaN for inputs of the size {size}; scale the inputs "
            "down, or define the function for all numbers"
        )
    if np.isinf(variances).any():
        raise ValueError(f"X: got inputs of the size {size}: out of the range of double precision; scale them down")


def refuse_indefinite_kernel(net: FullyConnected, X: np.ndarray) -> None:
    """Refuse activations whose kernel, where the user has given it, is no covariance."""
    if not getattr(net.sigma.kernel, "__module__", "").startswith(f"{stpbnn.__name__}."):
        refuse_indefinite(kernel_of(net), kernels.symmetric_kernel(kernels.nngp_map(net), net.prior, X))
