"""The proportional limit: classification with the renormalised kernel at the saddle point of the effective action."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from stpbnn.classifiers.order_parameters import OrderParameterClassifier
from stpbnn.latent import average_classes, each_output
from stpbnn.predictive import Gaussian

__all__ = ["ProportionalLimitClassifier"]


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
