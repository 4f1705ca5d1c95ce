"""Finite width: the posterior of the order parameters in place of their saddle point."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from stpbnn._random import seed_of
from stpbnn.network import FullyConnected
from stpbnn.predictive import SideBySide
from stpbnn.regressors.order_parameter_regressor import OrderParameterRegressor
from stpbnn.scale import (
    LATTICE_DEPTH,
    IteratedScale,
    enters_by_product,
    is_known,
)

__all__ = ["FiniteWidthRegressor"]

SEED = 0  # seed of the points of an integral, where the user gives none


class FiniteWidthRegressor(OrderParameterRegressor):
    r"""Bayesian network of finite width, as a mixture of Gaussian processes over its order parameters.

    .. math:: p(f \mid y) = \int \mathrm{d}Q\; p(Q \mid y)\, p(f \mid Q, y), \qquad
              p(Q \mid y) \propto \prod_l \mathrm{Gamma}(Q_l; \tfrac{N_l}{2}, \tfrac{N_l}{2})\, N(y; 0, K^R(Q) + T\,1)

    Exact for linear networks of one output at every width and number of examples, and of D outputs with one hidden
    layer or without biases. The integral is a quadrature for up to three hidden layers, and importance sampling about
    the saddle points beyond and for several outputs, whose layers have a matrix each:

    .. math:: Q_l \mid Q_{l+1} \sim \mathrm{Wishart}_D(N_l, Q_{l+1}/N_l), \qquad
              \mathrm{vec} f \mid Q_1 \sim N(0, Q_1 \otimes K_L)

    They need one hidden layer, the global closure or a linear network without biases. Features with a mean m have an
    amplitude of it beside the order parameter, one hidden layer and one output:

    .. math:: f \mid a, Q \sim N(a\, m,\ Q (K_1 - m m^T)), \qquad a \sim N(0, 1), \quad Q = (a^2 + g)/N_1,
              \quad g \sim \chi^2_{N_1 - 1}

    A convolutional network of one hidden layer with N channels, whose readout has weights of its own at each of the d
    positions, has a Wishart matrix :math:`Q \sim W_d(N, 1/N)` in place of a scale, over which weighted particles are
    drawn; exact for linear networks as well. Several layers have a matrix each, independent W_l in

    .. math:: Q_l = (M Q_{l+1})^{1/2}\, W_l\, (M Q_{l+1})^{1/2}, \qquad Q_L = W_L, \qquad W_l \sim W_{d_l}(N_l, 1/N_l)

    with M what the windows of a layer make of a matrix over its positions. A network of one hidden layer that averages
    over positions has one scale.

    Parameters
    ----------
    network : FullyConnected, Convolutional or None
        The network; None means FullyConnected((200,)). A Convolutional has one output, and one hidden layer where it
        averages over positions.
    temperature : float or array of shape (P,)
        T >= 0, the variance of the Gaussian likelihood. An array has the known variance of each training
        target, and is not learned.
    trend : {"zero", "constant", "linear"}
        What is added to the network: nothing, a constant, or a linear function of the inputs. Its coefficients, of a
        flat prior, are integrated over exactly: the evidence is the restricted likelihood, and predictive laws know of
        their uncertainty. It is not known, nor is noise that differs between examples, for a Convolutional that
        flattens.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel; a Convolutional has one way of its own.
    mean : {"auto", "keep", "drop"}
        What is done with the Gaussian mean of the features of activations that are not odd, such as relu. "keep" is the
        mixture over order parameter and amplitude above, one hidden layer; "drop" is the zero-mean form, in which the
        paper plotted its relu networks. "auto" keeps the mean where it can, and drops that of a
        Convolutional.
    solver : {"auto", "exact", "iterative"}
        Whether the kernel is factorised, P³ operations and 8 P² bytes for each of several matrices, or only multiplied
        with, P² operations for each of some thousand vectors and 2 P² bytes, or less: `numerical_errors_` says what
        that leaves open. "auto" factorises up to P = 10,000, as far as memory goes, and whatever the other cannot do.
    optimizer : "fmin_l_bfgs_b", callable or None
        Whether and how precisions and temperature are learned by maximising the log evidence: SciPy's L-BFGS-B, or a
        callable as scikit-learn's Gaussian processes take it. None leaves them as given. Precisions are sought between
        1e-5 and 1e5, that of the readout over the mean square of the targets, and the temperature between 1e-10 and 1e5
        mean squares of the targets; T = 0 stays. The search begins at the given values, but for a common factor of
        kernel and T that suits the size of the targets.
    n_restarts_optimizer : int
        How many further searches start from values drawn log-uniformly within these bounds.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts, and of the points at which networks of more than three hidden layers, of several outputs,
        and convolutional ones, are integrated: None takes the same points at each fit. Another seed shows their error,
        which `order_parameter_posterior_.error` tells.

    Attributes
    ----------
    order_parameters_ : array of shape (L,), or for D > 1 outputs (D, D) with one hidden layer, (L, D, D) with several
        Posterior means of Q_1..Q_L; of matrices, of :math:`W_l = Q_{l+1}^{-1/2} Q_l Q_{l+1}^{-1/2}`. That of the matrix
        Q, (d, d), for a Convolutional of d positions, with several layers of W_1..W_L along the diagonal of one.
    order_parameter_posterior_ : OrderParameterPosterior
        Nodes (n, L), of matrices (n, L, D, D) or (n, d, d), weights (n,), log evidence and its error; where the mean is
        kept, an amplitude a of it (n,) also.
    log_marginal_likelihood_ : float
        log p(y), exact under the scale mixture.
    converged_ : bool
        Whether the integral has reached its accuracy, and the search for hyper-parameters, where there was one, its
        optimum (on a bound too, which a warning names); and whether the errors of the iterative solver are within
        tolerance: 1e-2 standard deviations for the means, 1e-3 of the log evidence (or 0.5), 2e-3 of Q.
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
    Theory notes, sections 3 and 4.

    Examples
    --------
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> model = FiniteWidthRegressor(FullyConnected((10,), "linear"), temperature=0.1).fit(X, y)
    >>> model.predict(X).round(4)
    array([ 0.7681,  0.    , -0.7681])
    """

    _mixture = True
    _learned = (*OrderParameterRegressor._learned, "order_parameter_posterior_", "solver_")

    def _prepare(self) -> None:
        super()._prepare()
        net = self.network_
        if not isinstance(net, FullyConnected):
            return
        if net.outputs > 1 and not enters_by_product(net, self.closure):
            raise ValueError(
                f"network: got {net.outputs} outputs and {net.depth} hidden layers of activation {net.sigma.name!r} in "
                f"the closure {self.closure!r}, expected one output, one hidden layer, or layers that enter by their "
                "product; take closure='global', or ProportionalLimitRegressor"
            )
        if min(net.widths) < net.outputs > 1:
            raise ValueError(
                f"network: got {net.outputs} outputs and a layer of {min(net.widths)} units, expected as many units as "
                "outputs or more: the matrix of the layer would be singular; use ProportionalLimitRegressor"
            )
        if self.optimizer is not None and (net.depth > LATTICE_DEPTH or net.outputs > 1):
            raise ValueError(
                f"optimizer: got {self.optimizer!r} for {net.depth} hidden layers and {net.outputs} outputs, whose "
                "order parameters are integrated by sampling; learn with ProportionalLimitRegressor, and give its "
                "network_ and temperature_ with optimizer=None"
            )

    def _condition(self) -> None:
        self._problem = self._pose()
        self.order_parameter_posterior_ = posterior = self._problem.posterior(self._seed)
        lost = self._problem.lost(posterior)
        known = is_known(lost, posterior.log_evidence)
        self.converged_ = bool(posterior.error < self._problem.accuracy and known)
        self._take_up_posterior()
        if not known:
            warnings.warn(
                f"temperature: at {self.temperature_:.3g} the rounding of the kernel counts: the log evidence is known "
                f"to {lost:.1g} only; give a larger temperature",
                ConvergenceWarning,
                stacklevel=5,
            )

    @property
    def _seed(self) -> int:
        """The seed of the points: the same at each fit where none is given."""
        return SEED if self.random_state is None else seed_of(self.random_state)

    def _take_up_posterior(self) -> None:
        posterior = self.order_parameter_posterior_
        self.order_parameters_, self.log_marginal_likelihood_ = posterior.mean, posterior.log_evidence
        if self.network_.outputs > 1 and self.network_.depth == 1:
            self.order_parameters_ = posterior.mean[0]
        if isinstance(self._problem, IteratedScale):
            self._take_up_errors(self._problem.errors(posterior))

    def _recondition(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._problem = self._pose()
        self._take_up_posterior()

    def _left_out(self) -> SideBySide:
        return self._problem.left_out(self.order_parameter_posterior_)

    def _evidence_gradient(self) -> np.ndarray:
        return self._problem.posterior_gradient(self.order_parameter_posterior_)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        return self._problem.mixture(self.order_parameter_posterior_, X, joint=joint, noise=noise)
