"""The proportional limit: the renormalised kernel at the saddle point of the effective action."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from scipy.linalg import cho_solve
from sklearn.base import MultiOutputMixin
from sklearn.exceptions import ConvergenceWarning

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn.action import SaddlePoint, evidence, matrix, matrix_evidence, nonodd, spectral
from stpbnn.action.saddle import interpolating, layered_saddle_points, one_scale
from stpbnn.kernels import feature_map, fluctuation_map, mean_map, renormalised_map, symmetric_kernel
from stpbnn.mixtures import scale
from stpbnn.network import FullyConnected
from stpbnn.regressors.conditioning import (
    DecoupledOutputs,
    SharedKernel,
    refuse_ill_conditioned,
    refuse_singular,
    well_conditioned_cholesky,
)
from stpbnn.regressors.hidden_kernel import HiddenKernelRegressor

__all__ = ["MEANS", "Mean", "ProportionalLimitRegressor", "keeps_mean"]

Mean = Literal["auto", "keep", "drop"]
MEANS = ("auto", "keep", "drop")


def keeps_mean(net: FullyConnected, mean: str) -> bool:
    """Return whether the Gaussian mean of the features is kept: by default for one hidden layer and one output."""
    check.one_of("mean", mean, MEANS)
    possible = net.depth == 1 and net.outputs == 1
    if mean == "keep" and not (possible or net.sigma.odd):
        raise ValueError(
            f"mean: got 'keep' for a network of {net.depth} hidden layer(s) and {net.outputs} output(s), whose "
            "activation is not odd; the mean is known for one hidden layer and one output, use 'drop' or 'auto'"
        )
    return mean != "drop" and possible and not net.sigma.odd


class ProportionalLimitRegressor(MultiOutputMixin, HiddenKernelRegressor):
    r"""Proportional limit of a Bayesian network: the renormalised kernel at the saddle point of the effective action.

    .. math:: \bar Q = \arg\min_Q \sum_l N_l (Q_l - \log Q_l) + \log\det A(Q) + y^T A(Q)^{-1} y,
              \qquad A(Q) = K^R(Q) + T\,1

    Networks of one hidden layer may have several outputs: the order parameter is then a (D, D) matrix.

    Parameters
    ----------
    network : FullyConnected or None
        The network; None means FullyConnected((200,)) with as many outputs as y.
    temperature : float
        T >= 0, the variance of the Gaussian likelihood. T = 0 interpolates, where the kernel is well conditioned.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel: "nested" is the paper's. All agree for one hidden
        layer.
    mean : {"auto", "keep", "drop"}
        What is done with the Gaussian mean of the features of activations that are not odd, such as relu. "keep" has a
        second order parameter for it (one hidden layer, one output); "drop" is the zero-mean form, in which the paper
        plotted its relu networks. "auto" keeps the mean where it can.
    optimizer : "fmin_l_bfgs_b", callable or None
        Whether and how precisions and temperature are learned by maximising the log evidence: SciPy's L-BFGS-B, or a
        callable as scikit-learn's Gaussian processes take it. None leaves them as given. Precisions are sought between
        1e-5 and 1e5, that of the readout over the mean square of the targets, and the temperature between 1e-10 and 1e5
        mean squares of the targets; T = 0 stays. The search begins at the given values, but for a common factor of
        kernel and T that suits the size of the targets.
    n_restarts_optimizer : int
        How many further searches start from values drawn log-uniformly within these bounds.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    order_parameters_ : array of shape (L,), or (D, D) for D > 1
        Q̄ at the lowest minimum.
    conjugate_order_parameter_ : float
        q̄, where the mean is kept: the direction of the mean has the scale 1/(1 + q̄).
    action_ : float
        S at the saddle point.
    log_marginal_likelihood_ : float
        Log evidence at the saddle point, with the Gaussian fluctuation of the order parameters.
    converged_ : bool
        Whether the gradient of S vanishes to a relative 1e-8 at a minimum, and the search for hyper-parameters, where
        there was one, has reached its optimum.
    saddle_points_ : list of SaddlePoint
        All minima that were found, the lowest first.
    network_ : FullyConnected
        The network that was used, with the precisions that were learned.
    temperature_ : float
        The temperature that was used: as given, or learned.
    hyperparameters_ : dict of str to float
        Precisions and temperature by name.

    References
    ----------
    Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023); theory notes, sections 3 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> model = ProportionalLimitRegressor(FullyConnected((10,), "linear"), temperature=0.1).fit(X, y)
    >>> model.order_parameters_.round(4), model.converged_
    (array([1.1008]), True)
    """

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 0.01,
        closure: kernels.Closure = "nested",
        mean: Mean = "auto",
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.closure = closure
        self.mean = mean
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def _check_settings(self) -> None:
        super()._check_settings()
        check.one_of("closure", self.closure, kernels.CLOSURES)
        check.one_of("mean", self.mean, MEANS)

    def _condition(self, X: np.ndarray, y: np.ndarray) -> None:
        net, temperature = self.network_, self.temperature_
        if net.outputs > 1 and net.depth > 1:
            raise ValueError(
                f"network: got {net.outputs} outputs and {net.depth} hidden layers; the proportional limit of several "
                "outputs is known for one hidden layer; fit one regressor an output, or use NNGPRegressor"
            )
        self._process: SharedKernel | DecoupledOutputs
        kept = keeps_mean(net, self.mean)
        if net.outputs > 1:
            refuse_singular(net, X, temperature)
            points, self._process = _several_outputs(net, X, y, temperature)
        elif kept:
            refuse_singular(net, X, temperature)
            points, self._process = _kept_mean(net, X, y, temperature)
        elif net.depth > 1 and self.closure != "global":
            refuse_singular(net, X, temperature)
            points, self._process = _layered(net, X, y, temperature, self.closure)
        elif net.depth == 1 and temperature == 0 and net.bias_precision is None:
            points, self._process = _interpolating(net, X, y)
        else:
            refuse_singular(net, X, temperature)
            points, self._process = _one_scale(net, X, y, temperature)
        best = points[0]
        self.saddle_points_ = points
        self.order_parameters_ = best.order_parameters
        self.__dict__.pop("conjugate_order_parameter_", None)  # of an earlier fit
        if best.conjugate is not None:
            self.conjugate_order_parameter_ = best.conjugate
        self.action_ = best.action
        self.log_marginal_likelihood_ = best.log_evidence
        self.converged_ = best.converged
        if not best.converged:
            warnings.warn(
                f"the saddle point of the effective action was not reached: relative gradient {best.residual:.1e}; "
                "raise the temperature or try another closure",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _mean(self, X: np.ndarray) -> np.ndarray:
        return self._process.mean(X)

    def _evidence_gradient(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        net, best, temperature = self.network_, self.saddle_points_[0], self.temperature_
        if isinstance(self._process, DecoupledOutputs):
            k, U, _, ones, *_ = self._process.problems[0]
            problem = matrix.Decoupled(k, U, U.T @ y, ones)
            return matrix_evidence.saddle_gradient(
                evidence.Landscape.of(net, X),
                best.order_parameters,
                problem,
                net.widths[0],
                temperature,
                net.prior.bias_variance,
            )
        if best.conjugate is None:
            landscape, z = evidence.Landscape.of(net, X, self.closure), np.log(best.order_parameters)
        else:
            landscape, z = evidence.Landscape.of(net, X, "kept"), np.append(best.conjugate, best.order_parameters)
        return evidence.saddle_gradient(landscape, z, best.hessian, y, np.array(net.widths, dtype=float), temperature)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        return self._process.law(X, joint=joint, noise=noise)


def _one_scale(
    net: FullyConnected, X: np.ndarray, y: np.ndarray, temperature: float
) -> tuple[list[SaddlePoint], SharedKernel]:
    """Solve for the scale of one kernel, that of one hidden layer or of the global closure: one tridiagonalisation."""
    spectrum = spectral.tridiagonalise(symmetric_kernel(feature_map(net), net.prior, X), y)
    points = one_scale(spectrum, net, temperature)
    Q = points[0].order_parameters
    alpha = spectral.solution(spectrum, float(np.prod(Q)), temperature, net.prior.bias_variance)
    return points, SharedKernel(net.prior, X, renormalised_map(net, Q, "global"), alpha, temperature)


def _layered(
    net: FullyConnected, X: np.ndarray, y: np.ndarray, temperature: float, closure: kernels.Closure
) -> tuple[list[SaddlePoint], SharedKernel]:
    """Descend in the order parameters of all layers, and take up the factorisation of the last step."""
    (best, at), *others = layered_saddle_points(net, X, y, temperature, closure)
    refuse_ill_conditioned(at.factor)
    kernel = renormalised_map(net, best.order_parameters, closure)
    process = SharedKernel.factorised(net.prior, X, kernel, at.alpha, temperature, at.factor)
    return [best, *(point for point, _ in others)], process


def _interpolating(net: FullyConnected, X: np.ndarray, y: np.ndarray) -> tuple[list[SaddlePoint], SharedKernel]:
    """Take the closed form of one hidden layer at T = 0: one Cholesky factorisation."""
    factor = well_conditioned_cholesky(symmetric_kernel(feature_map(net), net.prior, X))
    alpha = cho_solve((factor, True), y, check_finite=False)
    point = interpolating(float(y @ alpha), 2 * float(np.log(np.diag(factor)).sum()), net.widths[0], len(y))
    Q = point.order_parameters
    factor *= np.sqrt(Q)
    return [point], SharedKernel.factorised(net.prior, X, renormalised_map(net, Q), alpha / Q, 0.0, factor)


def _kept_mean(
    net: FullyConnected, X: np.ndarray, y: np.ndarray, temperature: float
) -> tuple[list[SaddlePoint], SharedKernel]:
    """Solve for Q and q, and condition on the kernel Q (K_1 − m m^T) + m m^T/(1 + q)."""
    m = kernels.feature_means(net, X)
    K = symmetric_kernel(fluctuation_map(net), net.prior, X)
    spectrum = spectral.tridiagonalise(K, y, m)
    points = nonodd.stationary_points(spectrum, net.widths[0], temperature, net.prior.bias_variance)
    if not points:
        raise ValueError(
            f"network: got width {net.widths[0]}, at which the action with the mean of the features kept has no "
            "stationary point; use mean='drop', or FiniteWidthRegressor"
        )
    best = points[0]
    kernel = mean_map(net, float(best.order_parameters[0]), 1 / (1 + float(best.conjugate or 0)))
    return points, SharedKernel.of(net.prior, X, y, kernel, temperature)


def _several_outputs(
    net: FullyConnected, X: np.ndarray, y: np.ndarray, temperature: float
) -> tuple[list[SaddlePoint], DecoupledOutputs]:
    """Solve for the matrix Q = V diag(q) V^T, and condition each of the outputs y V on its own scale of the kernel."""
    K, bias = symmetric_kernel(feature_map(net), net.prior, X), net.prior.bias_variance
    decoupled = matrix.decouple(K, y)
    points = matrix.saddle_points(decoupled, net.widths[0], temperature, bias)
    q, V = np.linalg.eigh(points[0].order_parameters)
    k, U, targets, ones = decoupled
    problems = [scale.ScaleProblem(k, U, column, ones, temperature, bias) for column in (targets @ V).T]
    return points, DecoupledOutputs(net, X, problems, q, V, temperature)
