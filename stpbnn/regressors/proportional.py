"""The proportional limit: the renormalised kernel at the saddle point of the effective action."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from stpbnn._validation import plural
from stpbnn.kernels import InputSlopes, network_slopes
from stpbnn.network import Convolutional, FullyConnected
from stpbnn.predictive import Gaussian
from stpbnn.regressors.gradients import WithGradient
from stpbnn.regressors.order_parameter_regressor import OrderParameterRegressor
from stpbnn.scale import (
    FactorisedKernel,
    IteratedScale,
    Query,
    enters_by_product,
)

__all__ = ["ProportionalLimitRegressor"]


class ProportionalLimitRegressor(WithGradient, OrderParameterRegressor):
    r"""Proportional limit of a Bayesian network: the renormalised kernel at the saddle point of the effective action.

    .. math:: \bar Q = \arg\min_Q \sum_l N_l (Q_l - \log Q_l) + \log\det A(Q) + y^T A(Q)^{-1} y,
              \qquad A(Q) = K^R(Q) + T\,1

    Of D outputs every layer has a (D, D) matrix, with eigenvectors V that all layers share and eigenvalues of their
    own: the outputs f V decouple, each with the renormalised kernel of its eigenvalues. Where layers enter by their
    product alone, in the global closure and for linear networks without biases, this is the minimum over all matrices.

    A convolutional network of one hidden layer with N channels, whose readout has weights of its own at each of the d
    positions, has an order parameter for each pair of them (local kernel renormalisation):

    .. math:: S(Q) = N (\mathrm{tr}\,Q - \log\det Q) + \log\det A + y^T A^{-1} y, \qquad
              A = \frac{1}{\lambda_1 d} \sum_{ij} Q_{ij} K_{ij} + T\,1

    Several layers have a matrix each, with M what the windows of a layer make of a matrix over its positions,

    .. math:: S(W) = \sum_l N_l (\mathrm{tr}\,W_l - \log\det W_l) + \log\det A + y^T A^{-1} y, \qquad
              Q_l = (M Q_{l+1})^{1/2}\, W_l\, (M Q_{l+1})^{1/2}, \quad Q_L = W_L

    exact for linear networks as a description of their prior, and an ansatz for others. A network of one hidden layer
    that averages over positions has one scale of the averaged kernel.

    Parameters
    ----------
    network : FullyConnected, Convolutional or None
        The network; None means FullyConnected((200,)) with as many outputs as y. A Convolutional has one output, and
        one hidden layer where it averages over positions.
    temperature : float or array of shape (P,)
        T >= 0, the variance of the Gaussian likelihood. T = 0 interpolates, where the kernel is well conditioned. An
        array has the known variance of each training target, and is not learned.
    trend : {"zero", "constant", "linear"}
        What is added to the network: nothing, a constant, or a linear function of the inputs. Its coefficients, of a
        flat prior, are integrated over exactly: the evidence is the restricted likelihood, and predictive laws know of
        their uncertainty. It is not known, nor is noise that differs between examples, for a Convolutional that
        flattens, and for several outputs and several hidden layers that do not enter by one product, as with "global".
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel: "nested" is the paper's. All agree for one hidden
        layer, and a Convolutional has one way of its own.
    mean : {"auto", "keep", "drop"}
        What is done with the Gaussian mean of the features of activations that are not odd, such as relu. "keep" has a
        second order parameter for it (one hidden layer, one output); "drop" is the zero-mean form, in which the paper
        plotted its relu networks. "auto" keeps the mean where it can, and drops that of a
        Convolutional.
    solver : {"auto", "exact", "iterative"}
        Whether the kernel is factorised, P³ operations and 8 P² bytes for each of several matrices, or only multiplied
        with, P² operations for each of some thousand vectors and 2 P² bytes, or less: `numerical_errors_` says what
        that leaves open. "auto" factorises up to P = 10,000, as far as memory goes, and whatever the other cannot do.
    optimizer : "fmin_l_bfgs_b", callable or None
        Whether and how precisions and temperature are learned by maximising the log evidence: SciPy's L-BFGS-B, or a
        callable as scikit-learn's Gaussian processes take it (with several outputs and hidden layers in the global
        closure, and for linear networks without biases). None leaves them as given. Precisions are sought between
        1e-5 and 1e5, that of the readout over the mean square of the targets, and the temperature between 1e-10 and 1e5
        mean squares of the targets; T = 0 stays. The search begins at the given values, but for a common factor of
        kernel and T that suits the size of the targets.
    n_restarts_optimizer : int
        How many further searches start from values drawn log-uniformly within these bounds.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    order_parameters_ : array of shape (L,), or for D > 1 outputs (D, D) with one hidden layer, (L, D, D) with several
        Q̄ at the lowest minimum; of shape (d, d) for a Convolutional of d positions, with several layers the matrices
        W_1..W_L along the diagonal of one, of the positions in all layers that have a part in the outputs.
    conjugate_order_parameter_ : float
        q̄, where the mean is kept: the direction of the mean has the scale 1/(1 + q̄).
    action_ : float
        S at the saddle point.
    log_marginal_likelihood_ : float
        Log evidence at the saddle point, with the Gaussian fluctuation of the order parameters.
    converged_ : bool
        Whether the gradient of S vanishes to a relative 1e-8 at a minimum, and the search for hyper-parameters, where
        there was one, has reached its optimum (on a bound too, which a warning names); and whether the errors of the
        iterative solver are within tolerance: 1e-2 standard deviations for the means, 1e-3 of the log evidence (or
        0.5), 2e-3 of Q̄.
    saddle_points_ : list of SaddlePoint
        All minima that were found, the lowest first.
    noise_variances_ : array of shape (P,) or None
        Variances of the noise in units of T, where these differ: of an array T is the geometric mean.
    solver_ : str
        The solver that was used.
    numerical_errors_ : NumericalErrors or None
        Errors of the iterative solver; None for the exact one.
    network_ : FullyConnected or Convolutional
        The network that was used, with the precisions that were learned.
    temperature_ : float
        The temperature that was used: as given, or learned.
    hyperparameters_ : dict of str to float
        Precisions and temperature by name.

    References
    ----------
    Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023); Aiudi, Pacelli et al., arXiv:2307.11807; theory notes, sections 3
    and 4.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> model = ProportionalLimitRegressor(FullyConnected((10,), "linear"), temperature=0.1).fit(X, y)
    >>> model.order_parameters_.round(4), model.converged_
    (array([1.1008]), True)
    """

    _mixture = False
    _learned = (*OrderParameterRegressor._learned, "solver_")

    def _check_settings(self) -> None:
        super()._check_settings()
        net = self.network
        if (
            self.optimizer is not None
            and isinstance(net, FullyConnected)
            and net.outputs > 1
            and not enters_by_product(net, self.closure)
        ):
            raise ValueError(
                f"optimizer: got {self.optimizer!r} for {net.outputs} outputs, {net.depth} hidden layers and the "
                f"closure {self.closure!r}, in which the gradient of the evidence is not known; learn with "
                "closure='global', and give its network_ and temperature_ with optimizer=None"
            )

    def _condition(self) -> None:
        self._problem = self._pose()
        points = self._problem.saddle_points()
        best = points[0]
        self._process = self._problem.conditioned(best)
        self.saddle_points_ = points
        self.order_parameters_ = best.order_parameters
        self.__dict__.pop("conjugate_order_parameter_", None)  # left by an earlier fit
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
                stacklevel=5,
            )
        if isinstance(self._problem, IteratedScale):
            self._take_up_errors(self._problem.errors(best))

    def _mean(self, X: np.ndarray) -> np.ndarray:
        return self._process.mean(X)

    def _input_slopes(self, X: np.ndarray) -> InputSlopes:
        net, conjugate = self.network_, getattr(self, "conjugate_order_parameter_", None)
        images = isinstance(net, Convolutional)
        if images or net.outputs > 1 or (net.depth > 1 and self.closure != "nested"):
            raise ValueError(
                f"network: got a {type(net).__name__} of {plural(net.outputs, 'output')}, "
                f"{plural(net.depth, 'hidden layer')} and the closure {self.closure!r}, expected a "
                "FullyConnected of one output, and one hidden layer or the nested closure"
            )
        assert isinstance(self._process, FactorisedKernel)
        share = None if conjugate is None else 1 / (1 + conjugate)
        return network_slopes(net, self._process.kernel, self.order_parameters_, X, self.X_train_, share)

    def _gradient_law(self, query: Query) -> Gaussian:
        assert isinstance(self._process, FactorisedKernel)
        return self._process.gradient(query)

    def _left_out(self) -> Gaussian:
        return self._process.left_out(self.y_train_)

    def _evidence_gradient(self) -> np.ndarray:
        return self._problem.saddle_gradient(self.saddle_points_[0])

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        return self._process.law(X, joint=joint, noise=noise)
