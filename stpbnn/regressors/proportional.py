"""The proportional limit: the renormalised kernel at the saddle point of the effective action."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Literal

import numpy as np
from sklearn.base import MultiOutputMixin
from sklearn.exceptions import ConvergenceWarning

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn.action import SaddlePoint, matrix, nonodd, saddle_points, spectral
from stpbnn.mixtures import scale
from stpbnn.network import FullyConnected
from stpbnn.regressors.conditioning import (
    DecoupledOutputs,
    SharedKernel,
    compiled_input_gram,
    feature_kernel,
    mean_kernel,
    refuse_singular,
    renormalised_kernel,
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
        Whether the gradient of S vanishes to a relative 1e-8 at a minimum.
    saddle_points_ : list of SaddlePoint
        All minima that were found, the lowest first.
    network_ : FullyConnected
        The network that was used.

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
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.closure = closure
        self.mean = mean

    def _check_settings(self) -> None:
        check.one_of("closure", self.closure, kernels.CLOSURES)
        check.one_of("mean", self.mean, MEANS)

    def _condition(self, X: np.ndarray, y: np.ndarray) -> None:
        net, temperature = self.network_, float(self.temperature)
        if net.outputs > 1 and net.depth > 1:
            raise ValueError(
                f"network: got {net.outputs} outputs and {net.depth} hidden layers; the proportional limit of several "
                "outputs is known for one hidden layer; fit one regressor an output, or use NNGPRegressor"
            )
        gram = compiled_input_gram(net.prior, X)
        refuse_singular(net, gram, temperature)
        self._process: SharedKernel | DecoupledOutputs
        if net.outputs > 1:
            points, self._process = _several_outputs(net, X, gram, y, temperature)
        elif keeps_mean(net, self.mean):
            points, self._process = _kept_mean(net, X, gram, y, temperature)
        else:
            points = saddle_points(net.sigma, net.prior, gram, y, net.widths, temperature, self.closure)
            kernel = partial(renormalised_kernel, net, points[0].order_parameters, self.closure)
            self._process = SharedKernel.of(net.prior, X, gram, y, kernel, temperature)
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

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        return self._process.law(X, joint=joint, noise=noise)


def _kept_mean(
    net: FullyConnected, X: np.ndarray, gram: kernels.Gram, y: np.ndarray, temperature: float
) -> tuple[list[SaddlePoint], SharedKernel]:
    """Solve for Q and q, and condition on the kernel Q (K_1 − m m^T) + m m^T/(1 + q)."""
    m = np.asarray(kernels.feature_mean(net.sigma, gram.left, net.precisions[1]))
    K = np.asarray(feature_kernel(net, gram).entries) - np.outer(m, m)
    spectrum = spectral.tridiagonalise(K, y, m)
    points = nonodd.stationary_points(spectrum, net.widths[0], temperature, net.prior.bias_variance)
    if not points:
        raise ValueError(
            f"network: got width {net.widths[0]}, at which the action with the mean of the features kept has no "
            "stationary point; use mean='drop', or FiniteWidthRegressor"
        )
    best = points[0]
    kernel = partial(mean_kernel, net, float(best.order_parameters[0]), 1 / (1 + float(best.conjugate or 0)))
    return points, SharedKernel.of(net.prior, X, gram, y, kernel, temperature)


def _several_outputs(
    net: FullyConnected, X: np.ndarray, gram: kernels.Gram, y: np.ndarray, temperature: float
) -> tuple[list[SaddlePoint], DecoupledOutputs]:
    """Solve for the matrix Q = V diag(q) V^T, and condition each of the outputs y V on its own scale of the kernel."""
    K, bias = np.asarray(feature_kernel(net, gram).entries), net.prior.bias_variance
    decoupled = matrix.decouple(K, y)
    points = matrix.saddle_points(decoupled, net.widths[0], temperature, bias)
    q, V = np.linalg.eigh(points[0].order_parameters)
    k, U, targets, ones = decoupled
    problems = [scale.ScaleProblem(k, U, column, ones, temperature, bias) for column in (targets @ V).T]
    return points, DecoupledOutputs(net, X, problems, q, V, temperature)
