r"""Latent functions whose targets are classes: Laplace's approximation, class probabilities, order parameters.

.. math:: p(y \mid f)^{1/T}, \qquad f \sim N(0, K)

`bernoulli` is two classes and one function, `categorical` C classes and C functions; `laplace` the approximation for a
kernel; `probabilities` the averages of logistic and softmax functions; `network_of_classes` the effective action of a
network of finite width with Laplace's evidence in it.
"""

from stpbnn.latent.bernoulli import Bernoulli
from stpbnn.latent.categorical import Categorical
from stpbnn.latent.laplace import Laplace, laplace_approximation
from stpbnn.latent.network_of_classes import ClassesOfNetwork
from stpbnn.latent.probabilities import average_classes, average_logistic, average_softmax, each_output

__all__ = [
    "Bernoulli",
    "Categorical",
    "ClassesOfNetwork",
    "Laplace",
    "average_classes",
    "average_logistic",
    "average_softmax",
    "each_output",
    "laplace_approximation",
]
