r"""Closed-form classifiers with scikit-learn's interface: the theories of the network for targets that are classes.

.. math:: p(y \mid f)^{1/T}, \qquad \pi(f) = \frac{1}{1 + e^{-f}} \quad\text{or}\quad \mathrm{softmax}(f)

The posterior of the latent function f is approximated by a Gaussian (Laplace's, or by expectation propagation), at the
order parameters of the theory: fixed at Q = 1 for infinite width, the saddle point of the effective action in the
proportional limit, their whole posterior at finite width.
"""

from stpbnn.classifiers.classifier_of_theory import classifier_of as classifier_of
from stpbnn.classifiers.finite_width_classifier import FiniteWidthClassifier
from stpbnn.classifiers.network_classifier import NetworkClassifier as NetworkClassifier
from stpbnn.classifiers.nngp_classifier import NNGPClassifier
from stpbnn.classifiers.proportional_classifier import ProportionalLimitClassifier

__all__ = ["FiniteWidthClassifier", "NNGPClassifier", "ProportionalLimitClassifier"]
