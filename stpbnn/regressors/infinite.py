"""Infinite width: Gaussian-process regression on the NNGP kernel."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
from sklearn.base import MultiOutputMixin

from stpbnn.kernels import InputSlopes, network_slopes, nngp_map, symmetric_kernel
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.predictive import Gaussian, Mixture
from stpbnn.regressors.gradients import WithGradient
from stpbnn.regressors.learnable import Criterion, WithCriterion
from stpbnn.regressors.learnable_network import LearnableNetwork, NetworkHyperparameters, NetworkOutliers
from stpbnn.regressors.outliers import OF_NOISE
from stpbnn.regressors.solver import Solver, WithSolver
from stpbnn.scale import (
    ACCURACY,
    IteratedKernel,
    Query,
    conditioned_kernel,
    evidence_gradient,
    gaussian_log_evidence,
    infinite_slopes,
    iterated_problem,
    left_out_score,
)

__all__ = ["NNGPRegressor"]


class NNGPRegressor(WithSolver, MultiOutputMixin, WithGradient, WithCriterion[NetworkHyperparameters], NetworkOutliers):
    r"""Infinite-width limit of a Bayesian network: Gaussian-process regression on the NNGP kernel.

    .. math:: A = K_L + T\,1, \qquad \bar f(x) = k_x \cdot A^{-1} y, \qquad \sigma^2(x) = k_{xx} - k_x \cdot A^{-1} k_x

    Parameters
    ----------
    network : FullyConnected, Convolutional or None
        The network, whose widths or channels do not matter here; None means FullyConnected((200,)) with as many
        outputs as y.
    temperature : float or array of shape (P,)
        T >= 0, the variance of the Gaussian likelihood. T = 0 interpolates, where the kernel is well conditioned. An
        array has the known variance of each training target, and is not learned.
    noise : {"gaussian", "student-t", "robust", "auto"}
        Whether the noise is Gaussian, has the tails of Student's t, T the square of its scale (expectation
        propagation), or is Gaussian with examples that count the less the further they are from what the others make of
        them, as in StudentTProcessRegressor. "auto" fits the first two, and keeps that under which the targets given
        the others are the likelier.
    trend : {"zero", "constant", "linear"}
        What is added to the network: nothing, a constant, or a linear function of the inputs. Its coefficients, of a
        flat prior, are integrated over exactly: the evidence is the restricted likelihood, and predictive laws know of
        their uncertainty.
    solver : {"auto", "exact", "iterative"}
        Whether the kernel is factorised, P³ operations and 8 P² bytes for each of several matrices, or only multiplied
        with, P² operations for each of some thousand vectors and 2 P² bytes, or less: `numerical_errors_` says what
        that leaves open. "auto" factorises up to P = 10,000, as far as memory goes, and whatever the other cannot do.
    criterion : {"evidence", "leave-one-out"}
        What a search makes as large as it can: the log evidence, or the leave-one-out log score, which asks less of the
        prior.
    optimizer : "fmin_l_bfgs_b", callable or None
        Whether and how precisions and temperature are learned by maximising the criterion: SciPy's L-BFGS-B, or a
        callable as scikit-learn's Gaussian processes take it. None leaves them as given. Precisions are sought between
        1e-5 and 1e5, that of the readout over the mean square of the targets, and the temperature between 1e-10 (under
        noise "student-t" 1e-6, of deviations from the median, without outliers) and 1e5 mean squares of the targets;
        T = 0 stays. One search begins at the given values, but for a common factor of kernel and T that suits the size
        of the targets, and under Gaussian noise another at the values as given.
    n_restarts_optimizer : int
        How many further searches start from values drawn log-uniformly within these bounds.
    noise_df : float
        The degrees of freedom of the noise "student-t", given or to start from, and of that by which "robust" finds its
        outliers.
    optimize_noise_df : bool
        Whether to learn them, with the rest.
    contamination : float
        The part of Gaussian targets that the noise "robust" would have beyond its threshold.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    order_parameters_ : array of shape (L,)
        Ones.
    action_ : float
        The effective action S(Q = 1).
    log_marginal_likelihood_ : float
        log N(y; 0, A), summed over outputs. With noise "student-t" it is that of power expectation propagation, with
        "robust", which has none, the score under a t law of each target given those at other inputs.
    noise_, loo_log_scores_ : str, and dict of str to float or None
        The noise as given or chosen, and the leave-one-out log scores by which it was.
    noise_df_, centre_ : float, array of the shape of y, or None
        The degrees of freedom of the noise "student-t"; what each target is compared with under noise "robust".
    noise_variance_ : float or None
        The variance of the noise of a new target under noise "robust": T, or where T is learned, the scale of a loss,
        that at which the targets given the others score highest.
    converged_ : bool
        Whether the search for hyper-parameters, where there was one, has reached its optimum (on a bound too, which a
        warning names), the moments under noise with outliers were found, and the iterative solver knows means and log
        evidence, to 1e-2 standard deviations and 1e-3 (or 0.5).
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
    Theory notes, section 2. Lee et al., ICLR 2018; Matthews et al., ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> NNGPRegressor(FullyConnected((10,), "linear"), temperature=1 / 3).fit(X, y).predict(X)
    array([ 0.5,  0. , -0.5])
    """

    _process: Any

    _networks = (FullyConnected, Convolutional)
    _learned = (*LearnableNetwork._learned, "solver_", *OF_NOISE)

    def __init__(
        self,
        network: Network | None = None,
        *,
        temperature: Any = 0.01,
        noise: Literal["gaussian", "student-t", "robust", "auto"] = "gaussian",
        trend: Literal["zero", "constant", "linear"] = "zero",
        solver: Solver = "auto",
        criterion: Criterion = "evidence",
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        noise_df: float = 4.0,
        optimize_noise_df: bool = False,
        contamination: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.noise = noise
        self.trend = trend
        self.solver = solver
        self.criterion = criterion
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.noise_df = noise_df
        self.optimize_noise_df = optimize_noise_df
        self.contamination = contamination
        self.random_state = random_state

    def _only_exact(self, outputs: int) -> str | None:
        return f"noise={self.noise!r}, expected 'gaussian'" if self._outliers else None

    def _iterate(self) -> None:
        net, y, T = self.network_, self.y_train_, self.temperature_
        solved = iterated_problem(net, self.X_train_, y.reshape(len(y), -1), T, lambda resolvent: np.zeros(1))
        at = solved.resolvent.at(np.zeros(1))
        self._process = IteratedKernel(net, self.X_train_, solved.resolvent, 0.0, several=y.ndim > 1)
        self._take_up_evidence(float(at.log_det[0]) * net.outputs, float(at.misfit[0]), y.size)
        self._take_up_errors(solved.errors())

    def _factorise(self) -> None:
        if self._outliers:
            self._process = self._conditioned_columns()
            misfit = -2 * self._process.log_evidence - self.y_train_.size * np.log(2 * np.pi)
            self._take_up_evidence(0.0, misfit, self.y_train_.size)
            self.converged_ = self._process.error < ACCURACY
            return
        net, y, design = self.network_, self.y_train_, self._design
        data = net.prior, self.X_train_, y, nngp_map(net), self.temperature_
        self._process = conditioned_kernel(*data, design)
        contrasts = design.targets(y)[1]
        log_det, quadratic = self._process.log_det * net.outputs, float(np.vdot(contrasts, self._process.alpha))
        self._take_up_evidence(log_det, quadratic, contrasts.size)
        self.log_marginal_likelihood_ += net.outputs * design.log_jacobian

    def _take_up_evidence(self, log_det: float, quadratic: float, targets: int) -> None:
        net = self.network_
        self.order_parameters_ = np.ones(net.depth)
        self.action_ = float(sum(net.units)) * net.outputs + log_det + quadratic
        self.log_marginal_likelihood_ = gaussian_log_evidence(log_det, quadratic, targets)
        self.converged_ = True

    def _mean(self, X: np.ndarray) -> np.ndarray:
        return self._process.mean(self._query(X) if self._outliers else X)

    def _input_slopes(self, X: np.ndarray) -> InputSlopes:
        net = self.network_
        return network_slopes(net, nngp_map(net), np.ones(net.depth), X, self.X_train_)

    def _gradient_law(self, query: Query) -> Gaussian:
        return self._process.predictive(query, 0.0, self._units) if self._outliers else self._process.gradient(query)

    def _left_out(self) -> Gaussian | Mixture:
        if self._outliers:
            return self._process.left_out(self._noise_of_new(True, joint=False), self._units)
        return self._process.left_out(self.y_train_)

    def _left_out_score(self, at: NetworkHyperparameters) -> tuple[float, np.ndarray]:
        process = self._conditioned_at(at)._process
        score = left_out_score(process.factor, process.alpha, self._design)
        of_kernel = infinite_slopes(at.network, self.X_train_, score.kernel)
        return score.value, np.append(of_kernel, at.temperature * score.temperature)[: len(at.theta)]

    def _evidence_gradient(self) -> np.ndarray:
        if self._outliers:
            return self._columns_gradient()
        net, X = self.network_, self.X_train_
        K = symmetric_kernel(nngp_map(net), net.prior, X)
        return evidence_gradient(K, partial(infinite_slopes, net, X), self.y_train_, self.temperature_, self._design)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: Any) -> Any:
        if self._outliers:
            return super()._predictive(X, joint=joint, noise=noise)
        return self._process.law(X, joint=joint, noise=noise)
