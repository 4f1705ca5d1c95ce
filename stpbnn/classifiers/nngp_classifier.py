"""Infinite width: classification with the NNGP kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from stpbnn.classifiers.network_classifier import NetworkClassifier
from stpbnn.kernels import cross_kernel, nngp_map, symmetric_kernel
from stpbnn.latent import Approximation, approximate, average_classes, each_output
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.predictive import Gaussian
from stpbnn.scale import infinite_slopes

__all__ = ["NNGPClassifier"]


class NNGPClassifier(NetworkClassifier):
    r"""Infinite-width limit of a Bayesian network that tells classes apart, a Gaussian process with the NNGP kernel.

    With Laplace's approximation

    .. math::
        \hat f = K_L a, \quad a = \tfrac1T [y - \pi(\hat f)], \qquad
        f(x) \mid y \sim N(k_x \cdot a,\; k_{xx} - k_x (K_L + W^{-1})^{-1} k_x), \qquad p(c \mid x) = E\, \pi_c(f(x))

    and with expectation propagation the same, with its sites in the place of W. Two classes have one output and the
    logistic function, C classes have C outputs and the softmax. Averages over one latent function are exact; those over
    three or more are good to about 1e-3.

    Parameters
    ----------
    network : FullyConnected, Convolutional or None
        The network, whose widths or channels do not matter here; None means FullyConnected((200,)) with one output for
        two classes and C outputs for C of them. Two outputs for two classes are a softmax.
    temperature : float
        T > 0: the likelihood is taken to the power 1/T. T = 1 is Bayes, T < 1 a cold posterior.
    approximation : {"auto", "laplace", "ep"}
        How the posterior of the latent function is approximated: by Laplace's Gaussian about its mode, or by one that
        has its moments (expectation propagation), which is far better where the prior is wide. For one output it costs
        up to ten times as much, and "auto" takes it; for C outputs it factorises P (C - 1) rows again and again, and
        "auto" takes Laplace's.
    optimizer : "fmin_l_bfgs_b", callable or None
        Whether and how precisions are learned by maximising the log evidence: SciPy's L-BFGS-B, or a callable as
        scikit-learn's Gaussian processes take it. None leaves them as given. They are sought between 1e-5 and 1e5. The
        temperature is never learned: at T ≠ 1 the evidence is no probability of labels.
    n_restarts_optimizer : int
        How many further searches start from values drawn log-uniformly within these bounds.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    classes_ : array of shape (C,)
        The labels, sorted.
    order_parameters_ : array of shape (L,)
        Ones.
    log_marginal_likelihood_ : float
        The approximation's log evidence.
    converged_ : bool
        Whether the posterior of the latent function was found, and the search for precisions, where there was one, has
        reached its optimum.
    network_ : FullyConnected
        The network that was used, with the precisions that were learned.
    hyperparameters_ : dict of str to float
        Precisions by name.

    References
    ----------
    Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), chapter 3.

    Examples
    --------
    >>> X, y = np.eye(4), np.array(["cat", "cat", "dog", "dog"])
    >>> model = NNGPClassifier(FullyConnected((10,), "linear", weight_precision=0.1)).fit(X, y)
    >>> model.predict_proba(X[1:3]).round(3)
    array([[0.842, 0.158],
           [0.158, 0.842]])
    >>> model.predict(X).tolist()
    ['cat', 'cat', 'dog', 'dog']
    """

    _networks = (FullyConnected, Convolutional)

    def __init__(
        self,
        network: Network | None = None,
        *,
        temperature: float = 1.0,
        approximation: Approximation = "auto",
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.approximation = approximation
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def _condition(self) -> None:
        net = self.network_
        K = symmetric_kernel(nngp_map(net), net.prior, self.X_train_)
        self._latent = approximate(self._likelihood, K, self.approximation)
        self.order_parameters_ = np.ones(net.depth)
        self.log_marginal_likelihood_ = self._latent.log_evidence
        self.converged_ = self._latent.converged

    def _evidence_gradient(self) -> np.ndarray:
        return infinite_slopes(self.network_, self.X_train_, self._latent.kernel_weights())

    def _moments(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cross = cross_kernel(nngp_map(self.network_), self.network_.prior, X, self.X_train_)
        return self._latent.law(cross.entries, cross.left)

    def _law(self, X: np.ndarray) -> Gaussian:
        return Gaussian(*each_output(*self._moments(X)))

    def _probabilities(self, X: np.ndarray) -> Float[np.ndarray, "n C"]:
        return average_classes(*self._moments(X))
