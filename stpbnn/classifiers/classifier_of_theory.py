"""The classifier of a theory, by the name that it has in the catalogue."""

from __future__ import annotations

from typing import Any

from stpbnn.catalogue import THEORIES
from stpbnn.classifiers.finite_width_classifier import FiniteWidthClassifier
from stpbnn.classifiers.network_classifier import NetworkClassifier
from stpbnn.classifiers.nngp_classifier import NNGPClassifier
from stpbnn.classifiers.proportional_classifier import ProportionalLimitClassifier
from stpbnn.network import Network

__all__ = ["classifier_of"]

CLASSES: dict[str, Any] = {
    kind.__name__: kind for kind in (FiniteWidthClassifier, NNGPClassifier, ProportionalLimitClassifier)
}


def classifier_of(theory: str, network: Network, temperature: float) -> NetworkClassifier:
    """Return the classifier of a theory, not fitted.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> classifier_of("infinite", FullyConnected((9,), likelihood="bernoulli"), 1.0).temperature
    1.0
    """
    kind = CLASSES[THEORIES[theory].classifier]
    made: NetworkClassifier = kind(network, temperature=temperature)
    return made
