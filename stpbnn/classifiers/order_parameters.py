"""Classes at finite width: the kernel at the saddle point of its order parameters, or over their whole posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn.classifiers.network_classifier import NetworkClassifier
from stpbnn.latent import Approximation, ClassesOfNetwork, average_classes, each_output
from stpbnn.network import FullyConnected
from stpbnn.predictive import Gaussian
from stpbnn.scale import ACCURACY, LATTICE_ACCURACY, LATTICE_DEPTH

__all__ = ["FiniteWidthClassifier", "OrderParameterClassifier", "ProportionalLimitClassifier"]


class OrderParameterClassifier(NetworkClassifier):
    """Classifiers whose network has a closure of its order parameters; of several outputs one hidden layer."""

    closure: kernels.Closure

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 1.0,
        closure: kernels.Closure = "nested",
        approximation: Approximation = "auto",
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.closure = closure
        self.approximation = approximation
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def _check_settings(self) -> None:
        super()._check_settings()
        check.one_of("closure", self.closure, kernels.CLOSURES)

    def _network_for(self, classes: int) -> FullyConnected:
        network = super()._network_for(classes)
        if network.outputs > 1 and network.depth > 1:
            raise ValueError(
                f"network: got {network.depth} hidden layers and {network.outputs} outputs, expected one hidden layer "
                "for several outputs; take NNGPClassifier, or one class against the others with "
                "sklearn.multiclass.OneVsRestClassifier"
            )
        return network

    def _posed(self) -> ClassesOfNetwork:
        """Return the problem that the training set poses."""
        return ClassesOfNetwork(self.network_, self.X_train_, self._likelihood, self.closure, self.approximation)


class ProportionalLimitClassifier(OrderParameterClassifier):
    r"""Proportional limit of a Bayesian network that tells classes apart: the saddle point of the effective action.

    .. math::
        \bar Q = \arg\min_Q \sum_l N_l (Q_l - \log Q_l) - 2 \log Z(Q), \qquad
        Z(Q) \simeq \int \prod_\mu \sigma(y_\mu f_\mu)^{1/T}\, N(f; 0, K^R(Q))\, df

    with an approximation of Z in the place of the Gaussian evidence. C outputs of one hidden layer have one
    common scale Q, the mean of their C order parameters, so that N C stands in the place of N. Features with a mean,
    such as those of relu, are treated in the zero-mean form.

    Parameters
    ----------
    network : FullyConnected or None
        The network, of one output for two classes, or of one hidden layer and C outputs for C of them; None means
        FullyConnected((200,)) with as many.
    temperature : float
        T > 0: the likelihood is taken to the power 1/T. T = 1 is Bayes, T < 1 a cold posterior.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel. All agree for one hidden layer.
    approximation : {"auto", "laplace", "ep"}
        How the posterior of the latent function is approximated: by Laplace's Gaussian about its mode, or by one that
        has its moments (expectation propagation), which is far better where the prior is wide. That costs up to ten
        times as much for one output, and "auto" takes it there; for C outputs it factorises P (C - 1) rows again and
        again, and "auto" is Laplace's.
    optimizer : "fmin_l_bfgs_b", callable or None
        Whether and how precisions are learned by maximising the log evidence: SciPy's L-BFGS-B, or a callable as
        scikit-learn's Gaussian processes take it. None leaves them as given. They are sought between 1e-5 and 1e5.
    n_restarts_optimizer : int
        How many further searches start from values drawn log-uniformly within these bounds.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    classes_ : array of shape (C,)
        The labels, sorted.
    order_parameters_ : array of shape (L,)
        Q̄ at the lowest minimum.
    action_ : float
        S at the saddle point.
    log_marginal_likelihood_ : float
        Log evidence at the saddle point, with the Gaussian fluctuation of the order parameters.
    converged_ : bool
        Whether the gradient of S vanishes to a relative 1e-8 at a minimum, the latent posterior there was found, and
        the search for precisions, where there was one, has reached its optimum.
    saddle_points_ : list of SaddlePoint
        All minima that were found, the lowest first.
    network_ : FullyConnected
        The network that was used, with the precisions that were learned.
    hyperparameters_ : dict of str to float
        Precisions by name.

    References
    ----------
    Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023); theory notes, sections 3 and 4.

    Examples
    --------
    >>> from stpbnn import FullyConnected
    >>> X, y = np.eye(4), np.array([0, 0, 1, 1])
    >>> net = FullyConnected((10,), "linear", weight_precision=0.1)
    >>> model = ProportionalLimitClassifier(net, temperature=0.1).fit(X, y)
    >>> model.order_parameters_.round(4), model.converged_
    (array([1.2142]), True)
    """

    def _condition(self) -> None:
        self._problem = self._posed()
        self.saddle_points_ = self._problem.saddle_points()
        best = self.saddle_points_[0]
        self.order_parameters_, self.action_ = best.order_parameters, best.action
        self.log_marginal_likelihood_ = best.log_evidence
        self.converged_ = best.converged and self._problem.at(np.log(best.order_parameters)).converged

    def _evidence_gradient(self) -> np.ndarray:
        return self._problem.saddle_gradient(self.saddle_points_[0])

    def _law(self, X: np.ndarray) -> Gaussian:
        return Gaussian(*each_output(*self._problem.law(self.saddle_points_[0], X)))

    def _probabilities(self, X: np.ndarray) -> Float[np.ndarray, "n C"]:
        return average_classes(*self._problem.law(self.saddle_points_[0], X))


class FiniteWidthClassifier(OrderParameterClassifier):
    r"""Bayesian network of finite width that tells classes apart, as a mixture over its order parameters.

    .. math::
        p(c \mid x, y) = \int \mathrm{d}Q\; p(Q \mid y)\, E[\sigma(f(x)) \mid Q, y], \qquad
        p(Q \mid y) \propto \prod_l \mathrm{Gamma}(Q_l; \tfrac{N_l}{2}, \tfrac{N_l}{2})\, Z(Q)

    with an approximation of the latent function and of its evidence Z(Q) at every Q. The law of Q is exact for
    one hidden layer of linear units and one output, which may have up to three hidden layers. C outputs of one hidden
    layer have one common scale, the mean of their C order parameters: N C stands in the place of N, and what tells
    their scales apart is left out. Features with a mean, such as those of relu, are treated in the zero-mean form.

    Parameters
    ----------
    network : FullyConnected or None
        The network, of one output for two classes, or of one hidden layer and C outputs for C of them; None means
        FullyConnected((200,)) with as many.
    temperature : float
        T > 0: the likelihood is taken to the power 1/T. T = 1 is Bayes, T < 1 a cold posterior.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel. All agree for one hidden layer.
    approximation : {"auto", "laplace", "ep"}
        How the posterior of the latent function is approximated: by Laplace's Gaussian about its mode, or by one that
        has its moments (expectation propagation), which is far better where the prior is wide. That costs up to ten
        times as much for one output, and "auto" takes it there; for C outputs it factorises P (C - 1) rows again and
        again, and "auto" is Laplace's.
    optimizer : "fmin_l_bfgs_b", callable or None
        Whether and how precisions are learned by maximising the log evidence: SciPy's L-BFGS-B, or a callable as
        scikit-learn's Gaussian processes take it. None leaves them as given. They are sought between 1e-5 and 1e5.
    n_restarts_optimizer : int
        How many further searches start from values drawn log-uniformly within these bounds.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    classes_ : array of shape (C,)
        The labels, sorted.
    order_parameters_ : array of shape (L,)
        Posterior means of Q_1..Q_L.
    order_parameter_posterior_ : OrderParameterPosterior
        Nodes (n, L), weights (n,), log evidence and its error.
    log_marginal_likelihood_ : float
        Log evidence of the labels under the mixture.
    converged_ : bool
        Whether the integral has reached its accuracy, and the search for precisions, where there was one, its optimum.
    network_ : FullyConnected
        The network that was used, with the precisions that were learned.
    hyperparameters_ : dict of str to float
        Precisions by name.

    References
    ----------
    Theory notes, sections 3 and 4.

    Examples
    --------
    >>> from stpbnn import FullyConnected
    >>> X, y = np.eye(4), np.array([0, 0, 1, 1])
    >>> model = FiniteWidthClassifier(FullyConnected((10,), "linear", weight_precision=0.1)).fit(X, y)
    >>> model.predict_proba(X[1:3]).round(3)
    array([[0.833, 0.167],
           [0.167, 0.833]])
    """

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.network is not None and self.network.depth > LATTICE_DEPTH:
            raise ValueError(
                f"network: got {self.network.depth} hidden layers, expected at most {LATTICE_DEPTH}, whose order "
                "parameters can be integrated; take ProportionalLimitClassifier"
            )

    def _condition(self) -> None:
        self._problem = self._posed()
        self.order_parameter_posterior_ = posterior = self._problem.posterior()
        self.order_parameters_, self.log_marginal_likelihood_ = posterior.mean, posterior.log_evidence
        accuracy = ACCURACY if self.network_.depth == 1 else LATTICE_ACCURACY
        at_the_mean = self._problem.at(np.log(posterior.mean))
        self.converged_ = bool(posterior.error < accuracy) and at_the_mean.converged

    def _evidence_gradient(self) -> np.ndarray:
        return self._problem.posterior_gradient(self.order_parameter_posterior_)

    def _law(self, X: np.ndarray) -> Any:
        return self._problem.mixture(self.order_parameter_posterior_, X)

    def _probabilities(self, X: np.ndarray) -> Float[np.ndarray, "n C"]:
        weights, laws = self._problem.laws(self.order_parameter_posterior_, X)
        return sum(w * average_classes(*law) for w, law in zip(weights, laws, strict=True))
