"""Precisions, temperature and noise of a network, learned by maximising the log evidence."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.kernels import hyperparameters, nngp_map, symmetric_kernel
from stpbnn.network import Network
from stpbnn.regressors.errors import NOTHING_EXPLAINED
from stpbnn.regressors.evidence_search import NOISE_DF_BOUNDS, Evidence
from stpbnn.regressors.hidden_kernel import posterior_hidden_kernel
from stpbnn.regressors.learnable import Learnable
from stpbnn.regressors.network_regressor import WithDesign
from stpbnn.regressors.noise_choice import WithChosenNoise
from stpbnn.regressors.outliers import AUTO, OUTLIER_NOISES
from stpbnn.scale import Columns, Query, Units, conditioned_kernel, infinite_slopes, query_of

__all__ = ["NOISES", "LearnableNetwork", "NetworkHyperparameters", "NetworkOutliers"]

NOISES = ("gaussian", *OUTLIER_NOISES, AUTO)
PRECISION_BOUNDS = (1e-5, 1e5)  # that of the readout over the mean square of the targets, whose inverse is its unit


@dataclass(frozen=True)
class NetworkHyperparameters:
    """The precisions of a network, T, which is learned unless zero or known, and the degrees of freedom of the noise.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> given = NetworkHyperparameters(FullyConnected((10,), weight_precision=2.0), temperature=0.1)
    >>> given.names, given.theta.round(4)
    (['weight_precision', 'temperature'], array([ 0.6931, -2.3026]))
    """

    network: Network
    temperature: float
    known: bool = False
    noise_df: float = 4.0
    noise_df_free: bool = False

    @property
    def free(self) -> tuple[str, ...]:
        """What is learned beside the precisions."""
        return ("temperature",) * (self.temperature > 0 and not self.known) + ("noise_df",) * self.noise_df_free

    @property
    def names(self) -> list[str]:
        """What is learned, in the order of theta."""
        return [*hyperparameters.names(self.network), *self.free]

    @property
    def theta(self) -> Float[np.ndarray, " n"]:
        """The logarithms of what is learned."""
        return np.append(hyperparameters.log_values(self.network), np.log([getattr(self, name) for name in self.free]))

    def at(self, theta: Float[np.ndarray, " n"]) -> Self:
        """Return the same at other values of what is learned."""
        precisions, free = np.split(theta, [len(hyperparameters.names(self.network))])
        network = hyperparameters.with_values(self.network, precisions)
        values: dict[str, Any] = dict(zip(self.free, np.exp(free).tolist(), strict=True))
        return replace(self, network=network, **values)

    def bounds(self, unit: float, of_temperature: tuple[float, float]) -> Float[np.ndarray, "n 2"]:
        """Return the bounds of theta; precisions that act on the outputs are in units of the squared targets also."""
        lowest, highest = PRECISION_BOUNDS
        of_outputs = lowest / max(unit, 1.0), highest / min(unit, 1.0)
        bounds = dict.fromkeys(self.names, PRECISION_BOUNDS)
        own = {
            "weight_precision": of_outputs,
            "bias_precision": of_outputs,
            f"weight_precision[{self.network.depth}]": (lowest / unit, highest / unit),
            "temperature": (of_temperature[0] * unit, of_temperature[1] * unit),
            "noise_df": NOISE_DF_BOUNDS,
        }
        return np.log([own.get(name, usual) for name, usual in bounds.items()])

    def scaled(self, factor: float) -> Self:
        """Return the same with kernel and temperature times a factor."""
        theta, net = self.theta, self.network
        readout = net.depth if isinstance(net.weight_precision, tuple) else 0
        theta[readout] -= np.log(factor) / (1 if readout else net.depth + 1)
        theta[self.names.index("temperature")] += np.log(factor)
        return self.at(theta)


class LearnableNetwork(Learnable[NetworkHyperparameters], WithDesign):
    """Regressors on a network with a log evidence; a theory adds `_evidence_gradient`."""

    _learned = (*WithDesign._learned, "noise_variances_")

    @property
    def hyperparameters_(self) -> dict[str, float]:
        """Precisions and temperature by name, as given or learned."""
        check_is_fitted(self, "X_train_")
        return hyperparameters.values(self.network_) | {"temperature": self.temperature_}

    @property
    def _hyperparameters(self) -> NetworkHyperparameters:
        return NetworkHyperparameters(self.network_, self.temperature_, known=np.ndim(self.temperature) > 0)

    def _take_up(self, found: NetworkHyperparameters) -> None:
        self.network_, self.temperature_ = found.network, found.temperature

    def _bounds(self, start: NetworkHyperparameters) -> Float[np.ndarray, "n 2"]:
        return start.bounds(float(np.mean(self.y_train_**2)) or 1.0, self._temperature_bounds)

    def _start(self) -> NetworkHyperparameters:
        """Return the hyper-parameters as given, but for a common factor c of kernel and temperature.

        That is the one at which N(y; 0, c A) is highest, A at infinite width. Hence a search does not depend on the
        unit of the targets.
        """
        given, y = self._hyperparameters, self._plausible
        if "temperature" not in given.names:
            return given
        try:
            process = conditioned_kernel(
                given.network.prior, self.X_train_, y, nngp_map(given.network), given.temperature, self._design
            )
        except np.linalg.LinAlgError:
            return given
        contrasts = self._design.targets(y)[1]
        factor = float(np.vdot(contrasts, process.alpha)) / contrasts.size
        return given.scaled(factor) if factor > 0 else given

    def _evidence_gradient(self) -> Float[np.ndarray, " n"]:
        """Return the gradient of log_marginal_likelihood_ in the logarithms of the precisions and the temperature."""
        raise NotImplementedError

    def _conditioned_at(self, at: NetworkHyperparameters) -> Self:
        """Return the estimator at other hyper-parameters, for the same training set."""
        there = copy.copy(self)
        there._take_up(at)
        there._condition()
        return there

    def _evidence(self, at: NetworkHyperparameters | None, *, gradient: bool) -> Evidence:
        there = self if at is None else self._conditioned_at(at)
        slope = there._evidence_gradient()[: len(there._hyperparameters.theta)] if gradient else np.empty(0)
        return Evidence(there.log_marginal_likelihood_, slope, there.converged_)

    def _fitted(self) -> Float[np.ndarray, "P ..."]:
        return self._means(self.X_train_)

    def _judge(self) -> None:
        if self.optimizer is not None and self._explained() < NOTHING_EXPLAINED:
            warnings.warn(
                f"temperature: learned as {self.temperature_:.3g}, where the network explains nothing of the targets "
                "and takes them as noise; standardise inputs and targets, or start from other values "
                f"(n_restarts_optimizer){self._remedy}",
                ConvergenceWarning,
                stacklevel=5,
            )

    @in_float64
    def posterior_kernel(self, X: ArrayLike | None = None) -> np.ndarray:
        r"""Return the posterior mean of the kernel of the hidden features.

        .. math:: E[\hat K \mid y] = K_1 + \frac{Q}{N_1} K_1 (\alpha\alpha^T - A^{-1}) K_1,
                  \qquad \hat K = \sigma(h)\sigma(h)^T / (\lambda_1 N_1)

        at the order parameter that was learned, or averaged over its posterior. A change of relative order 1/N_1: a
        diagnostic of what the hidden layer has learned, not to be put back into the prediction.

        Parameters
        ----------
        X : array of shape (n, N_0) or None
            Inputs; None means the training inputs.

        Returns
        -------
        array of shape (n, n)
            The kernel, in the units of K_1 = κ(C)/λ_1 (without the output bias).

        Raises
        ------
        ValueError
            For several hidden layers, several outputs, or an activation whose mean is kept.

        References
        ----------
        Theory notes, section 4.
        """
        check_is_fitted(self, "X_train_")
        self._needs_factors("posterior_kernel")
        inputs = self.X_train_ if X is None else self._query_points(X)
        return posterior_hidden_kernel(self, inputs)


class NetworkOutliers(WithChosenNoise[NetworkHyperparameters], LearnableNetwork):
    """Regressors on the kernel of infinite width, with noise "student-t" or "robust" among their settings."""

    _units = Units()

    def _check_settings(self) -> None:
        check.one_of("noise", self.noise, NOISES)
        if check.boolean("optimize_noise_df", self.optimize_noise_df) and self.optimizer is None:
            raise ValueError("optimize_noise_df: got True with optimizer=None; give an optimizer")
        super()._check_settings()

    def _kernel_at(self, at: NetworkHyperparameters) -> Float[np.ndarray, "P P"]:
        return symmetric_kernel(nngp_map(at.network), at.network.prior, self.X_train_)

    @property
    def _hyperparameters(self) -> NetworkHyperparameters:
        noise_df = self.noise_df_ or self.noise_df
        return replace(super()._hyperparameters, noise_df=noise_df, noise_df_free=bool(self.optimize_noise_df))

    @property
    def hyperparameters_(self) -> dict[str, float]:
        """Precisions and temperature by name, as given or learned, and degrees of freedom that were learned."""
        own = {"noise_df": self._hyperparameters.noise_df} if self.optimize_noise_df else {}
        return super().hyperparameters_ | own

    def _conditioned_columns(self) -> Columns:
        """Return the process, output by output."""
        at = self._hyperparameters
        return self._columns(self._kernel_at(at), at)

    def _columns_gradient(self) -> Float[np.ndarray, " n"]:
        """Return the gradient of its log evidence in theta."""
        at, slopes = self._hyperparameters, self._process.slopes
        of_kernel = infinite_slopes(at.network, self.X_train_, slopes.kernel)
        return np.append(of_kernel, [getattr(at, name) * getattr(slopes, name) for name in at.free])

    def _query(self, X: np.ndarray, *, joint: bool = False) -> Query:
        return query_of(nngp_map(self.network_), self.network_.prior, X, self.X_train_, joint=joint)
