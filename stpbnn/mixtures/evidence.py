r"""The gradient of the log evidence of the mixture in the hyper-parameters: an average over the order parameters.

.. math::
    \partial_\theta \log p(y) = E_{p(Q \mid y)}[\partial_\theta \log N(y; 0, A(Q))]
    = \tfrac12\, E\,\langle \alpha\alpha^T - A^{-1}, \partial_\theta A \rangle

is exact (Fisher's identity): the prior of Q knows nothing of precisions and temperature.

References
----------
Theory notes, sections 3 and 4.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from stpbnn._precision import in_float64
from stpbnn.action.evidence import Landscape, gaussian_gradient, kernel_slopes
from stpbnn.mixtures import scale
from stpbnn.mixtures.layers import LayeredProblem
from stpbnn.mixtures.network import Conditioned
from stpbnn.mixtures.posterior import OrderParameterPosterior

__all__ = ["evidence_gradient"]


@in_float64
def evidence_gradient(conditioned: Conditioned) -> Float[np.ndarray, " m"]:
    """Return the gradient of log p(y) in the logarithms of the precisions and, last, of the temperature.

    Parameters
    ----------
    conditioned : Conditioned
        A network of at most three hidden layers with the posterior of its order parameters.

    Examples
    --------
    Of a linear network's precisions only the product matters: their slopes are equal.

    >>> from stpbnn.mixtures import condition
    >>> from stpbnn.network import FullyConnected
    >>> net = FullyConnected((10,), "linear", weight_precision=(1.0, 1.0))
    >>> evidence_gradient(condition(net, np.eye(3), np.array([1.0, 0.0, -1.0]), 0.1)).round(4)
    array([-0.578, -0.578,  0.241])
    """
    net, X, problem, posterior = conditioned
    if isinstance(problem, LayeredProblem):
        landscape = Landscape.of(net, X, problem.closure)
        nodes = zip(posterior.weights, np.log(posterior.nodes), strict=True)
        return sum(
            (weight * gaussian_gradient(landscape, log_q, problem.y, problem.temperature) for weight, log_q in nodes),
            start=np.zeros(len(landscape.theta) + 1),
        )
    return _one_scale(Landscape.of(net, X), problem, posterior)


def _one_scale(
    landscape: Landscape, problem: scale.ScaleProblem, posterior: OrderParameterPosterior
) -> Float[np.ndarray, " m"]:
    """One kernel for all nodes: the weights on its entries are averaged first, A^{-1} = g − b (g∘e)(g∘e)^T / p."""
    Q, w, b, e = posterior.nodes[:, 0], posterior.weights, problem.bias_variance, problem.ones
    _, g, p, alpha = scale.inverse(problem, np.log(Q))
    reached = g * e * np.sqrt(b / p)
    inner = (alpha.T * (w * Q)) @ alpha + (reached.T * (w * Q)) @ reached
    inner[np.diag_indices_from(inner)] -= (w * Q) @ g
    slopes = kernel_slopes(landscape, np.zeros(1), problem.eigenvectors @ (inner / 2) @ problem.eigenvectors.T)
    if b:  # which Q does not multiply
        of_bias = (alpha @ e) ** 2 - (g @ e**2) / p[:, 0]
        slopes[-1] -= b / 2 * (w * (1 - Q)) @ of_bias
    of_noise = np.sum(alpha**2 + reached**2, axis=1) - g.sum(axis=1)
    return np.append(slopes, problem.temperature / 2 * (w @ of_noise))
