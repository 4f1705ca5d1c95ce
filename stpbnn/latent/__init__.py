r"""Latent functions whose targets are classes: Laplace's approximation, class probabilities, order parameters.

.. math:: p(y \mid f)^{1/T}, \qquad f \sim N(0, K)

`bernoulli` is two classes and one function, `categorical` C classes and C functions; `laplace` the approximation for a
kernel, `propagation` and `softmax_propagation` a better one; `probabilities` the averages of logistic and softmax
functions; `network_of_classes` the effective action of a network of finite width with the approximation's evidence.
"""

from stpbnn.latent.approximations import APPROXIMATIONS, Approximation, approximate
from stpbnn.latent.bernoulli import Bernoulli
from stpbnn.latent.categorical import Categorical
from stpbnn.latent.laplace import Laplace, laplace_approximation
from stpbnn.latent.network_of_classes import ClassesOfNetwork
from stpbnn.latent.probabilities import average_classes, average_logistic, average_softmax, each_output
from stpbnn.latent.propagation import Propagated, expectation_propagation
from stpbnn.latent.softmax_propagation import propagate_softmax

__all__ = [
    "APPROXIMATIONS",
    "Approximation",
    "Bernoulli",
    "Categorical",
    "ClassesOfNetwork",
    "Laplace",
    "Propagated",
    "approximate",
    "average_classes",
    "average_logistic",
    "average_softmax",
    "each_output",
    "expectation_propagation",
    "laplace_approximation",
    "propagate_softmax",
]
