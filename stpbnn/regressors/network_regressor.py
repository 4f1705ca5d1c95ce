"""What all regressors on a network share: its settings, the range of its kernel, a trend and the noise of examples."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn._precision import in_float64
from stpbnn.activations import Activation
from stpbnn.network import FullyConnected, Network, Prior, known_network
from stpbnn.regressors.estimator import Estimator
from stpbnn.regressors.kernel_objects import kernel_of, refuse_indefinite
from stpbnn.regressors.noise import WithWeights, check_noise, split
from stpbnn.scale import TRENDS, Design

__all__ = ["NetworkRegressor", "WithDesign", "refuse_indefinite_kernel", "refuse_infinite_kernel"]


class NetworkRegressor(Estimator):
    """Closed-form regression with a Bayesian network; a theory adds `_condition` and `_predictive`."""

    network: Any
    network_: Any
    temperature_: float
    order_parameters_: np.ndarray
    log_marginal_likelihood_: float
    _learned: ClassVar[tuple[str, ...]] = ("network_", "temperature_", "converged_")
    _networks: ClassVar[tuple[type[Network], ...]] = (FullyConnected,)  # those of which the theory is known

    def _check_settings(self) -> None:
        self._check_noise()
        if self.network is not None:
            network = known_network(self.network, self._networks, "NNGPRegressor or ProportionalLimitRegressor")
            if network.likelihood != "gaussian":
                raise ValueError(
                    f"network: got the likelihood {network.likelihood!r}, expected 'gaussian', that of numbers; for "
                    "classes take a classifier, such as stpbnn.NNGPClassifier"
                )
        super()._check_settings()

    def _check_noise(self) -> None:
        check.number("temperature", self.temperature, minimum=0, inclusive=True)

    def _outputs(self, given: int) -> int:
        return given if self.network is None else self.network.outputs

    def _prepare(self) -> None:
        outputs = 1 if self.y_train_.ndim == 1 else self.y_train_.shape[1]
        self.network_ = FullyConnected(outputs=outputs) if self.network is None else self.network
        self.network_.refuse_features("X", self.X_train_.shape[1])
        self.temperature_, _ = split(self.temperature)

    def _refuse_kernel(self) -> None:
        refuse_infinite_kernel(self.network_, self.X_train_)
        if self._factorised:  # a Krylov space finds out by itself
            refuse_indefinite_kernel(self.network_, self.X_train_)

    @property
    def _numbers(self) -> np.ndarray:
        return np.append(self.order_parameters_, self.log_marginal_likelihood_)

    def _query_points(self, X: Any) -> np.ndarray:
        X = super()._query_points(X)
        refuse_infinite_kernel(self.network_, X)
        return X


@partial(jax.jit, static_argnums=0)
def _variances(sigma: Activation, prior: Prior, values: jax.Array) -> jax.Array:
    for precision in prior.precisions[1:]:
        values = sigma.kernel(values, values, values) / precision + prior.bias_variance
    return values


def refuse_infinite_kernel(net: Network, X: np.ndarray) -> None:
    """Refuse inputs that lead an activation to where it is NaN or infinite: the diagonal of its kernel shows it.

    A few of the variances, from the smallest to the largest, are looked at: as many for every set of inputs.
    """
    with np.errstate(over="ignore"):
        variances = kernels.first_variances(net, X)
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


def refuse_indefinite_kernel(net: Network, X: np.ndarray) -> None:
    """Refuse activations whose kernel, where the user has given it, is no covariance."""
    if not getattr(net.sigma.kernel, "__module__", "").startswith(f"{__name__.partition('.')[0]}."):
        refuse_indefinite(kernel_of(net), kernels.symmetric_kernel(kernels.nngp_map(net), net.prior, X))


class WithDesign(WithWeights, NetworkRegressor):
    """Regressors on a network with `trend` among their settings, and a temperature or a weight for each example."""

    trend: str

    def _check_noise(self) -> None:
        check_noise(self.temperature)
        check.one_of("trend", self.trend, TRENDS)

    @in_float64
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # type: ignore[override]
        """Condition on the training set, at the hyper-parameters of highest evidence where these are learned.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,) or (P, D)
            Targets, of as many outputs as the network has.
        sample_weight : array of shape (P,) or None
            w >= 0: the noise of an example has the variance T/w. Examples of weight zero are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As for the other regressors; for weights that are negative, all zero, of a wrong length, or beside T = 0;
            for a trend of as many coefficients as examples, or of columns that depend on each other.
        """
        return self._fit(X, y, sample_weight)

    def _prepare(self) -> None:
        super()._prepare()
        self._take_up_noise()
        _ = self._design  # a trend that the inputs do not determine is refused

    @property
    def _design(self) -> Design:
        """Trend and noise on the training set."""
        return Design.of(self.X_train_, self.trend, self.noise_variances_)
