"""Infinite width: Gaussian-process regression on the NNGP kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin

from stpbnn.kernels import nngp_map
from stpbnn.network import FullyConnected
from stpbnn.predictive import Gaussian
from stpbnn.regressors.learnable_network import LearnableNetwork
from stpbnn.scale import CLOSURE_ACTIONS, FactorisedKernel, Landscape, gaussian_gradient, gaussian_log_evidence

__all__ = ["NNGPRegressor"]


class NNGPRegressor(MultiOutputMixin, LearnableNetwork):
    r"""Infinite-width limit of a Bayesian network: Gaussian-process regression on the NNGP kernel.

    .. math:: A = K_L + T\,1, \qquad \bar f(x) = k_x \cdot A^{-1} y, \qquad \sigma^2(x) = k_{xx} - k_x \cdot A^{-1} k_x

    Parameters
    ----------
    network : FullyConnected or None
        The network, whose widths do not matter here; None means FullyConnected((200,)) with as many outputs as y.
    temperature : float
        T >= 0, the variance of the Gaussian likelihood. T = 0 interpolates, where the kernel is well conditioned.
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
    order_parameters_ : array of shape (L,)
        Ones.
    action_ : float
        The effective action S(Q = 1).
    log_marginal_likelihood_ : float
        log N(y; 0, A), summed over outputs.
    converged_ : bool
        Whether the search for hyper-parameters, where there was one, has reached its optimum: there is nothing else
        to solve for.
    network_ : FullyConnected
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

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 0.01,
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def _condition(self) -> None:
        net, y = self.network_, self.y_train_
        self._process = FactorisedKernel.of(net.prior, self.X_train_, y, nngp_map(net), self.temperature_)
        log_det, quadratic = self._process.log_det * net.outputs, float(np.vdot(y, self._process.alpha))
        self.order_parameters_ = np.ones(net.depth)
        self.action_ = float(sum(net.widths)) * net.outputs + log_det + quadratic
        self.log_marginal_likelihood_ = gaussian_log_evidence(log_det, quadratic, y.size)
        self.converged_ = True

    def _mean(self, X: np.ndarray) -> np.ndarray:
        return self._process.mean(X)

    def _left_out(self) -> Gaussian:
        return self._process.left_out(self.y_train_)

    def _evidence_gradient(self) -> np.ndarray:
        net = self.network_
        landscape = Landscape.of(net, self.X_train_, CLOSURE_ACTIONS["nested"])
        return gaussian_gradient(landscape, np.zeros(net.depth), self.y_train_, self.temperature_)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        return self._process.law(X, joint=joint, noise=noise)
