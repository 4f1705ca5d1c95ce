r"""Closed-form classifiers with scikit-learn's interface: the theories of the network for targets that are classes.

.. math:: p(y \mid f)^{1/T}, \qquad \pi(f) = \frac{1}{1 + e^{-f}} \quad\text{or}\quad \mathrm{softmax}(f)

The posterior of the latent function f is approximated by a Gaussian (Laplace's, or by expectation propagation), at the
order parameters of the theory: fixed at Q = 1 for infinite width, the saddle point of the effective action in the
proportional limit, their whole posterior at finite width.
"""

from __future__ import annotations

from typing import Any

from stpbnn.catalogue import THEORIES
from stpbnn.classifiers.network_classifier import NetworkClassifier
from stpbnn.classifiers.nngp_classifier import NNGPClassifier
from stpbnn.classifiers.order_parameters import FiniteWidthClassifier, ProportionalLimitClassifier
from stpbnn.network import Network

__all__ = [
    "FiniteWidthClassifier",
    "NNGPClassifier",
    "NetworkClassifier",
    "ProportionalLimitClassifier",
    "classifier_of",
]

_CLASSES: dict[str, Any] = {
    kind.__name__: kind for kind in (FiniteWidthClassifier, NNGPClassifier, ProportionalLimitClassifier)
}


def classifier_of(theory: str, network: Network, temperature: float) -> NetworkClassifier:
    """Return the classifier of a theory, not fitted, by the key that the theory has in the catalogue.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> classifier_of("infinite", FullyConnected((9,), likelihood="bernoulli"), 1.0).temperature
    1.0
    """
    made: NetworkClassifier = _CLASSES[THEORIES[theory].classifier](network, temperature=temperature)
    return made
