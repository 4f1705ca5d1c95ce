r"""Activations: the function, its dual kernel and its Gaussian mean; a registry by name.

For pre-activations :math:`(h, h') \sim N(0, [[a, c], [c, b]])` an activation :math:`\sigma` is known to the theory
through two expectations only,

.. math:: \kappa(a, b, c) = E[\sigma(h)\,\sigma(h')], \qquad m(a) = E[\sigma(h)].

Both act entry by entry on arrays of variances ``a``, ``b`` and covariances ``c``, in float32 and float64: in closed
form for linear, erf, relu, leaky_relu, gelu, sin and square, by Gauss-Hermite quadrature for tanh, silu and any other
function. Their derivatives follow from Price's theorem,
:math:`\partial\kappa/\partial c = E[\sigma'(h)\sigma'(h')]` and
:math:`\partial\kappa/\partial a = \tfrac12 E[\sigma''(h)\sigma(h')]`, and are given as such where differentiating the
formula would divide zero by zero (x = x', parallel inputs, zero norm).
"""

from stpbnn.activations.activation import Activation
from stpbnn.activations.registry import available, get, leaky_relu, register

__all__ = ["Activation", "available", "get", "leaky_relu", "register"]
