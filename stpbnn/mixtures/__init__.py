r"""Finite width beyond the saddle point: the posterior of the order parameters and the mixtures that it makes.

.. math::
    p(Q \mid y) \propto \prod_l \mathrm{Gamma}(Q_l; \tfrac{N_l}2, \tfrac{N_l}2)\, N(y; 0, K^R(Q) + T\,1), \qquad
    p(f \mid y) = \int \mathrm{d}Q\; p(Q \mid y)\, p(f \mid Q, y)

The rooms: `laws` of the scale; `scale`, one scale of one kernel, whatever its law; `layers` and `chains`, two or
three order parameters, and more; `dual`, the Student's t law of the dual variables.

References
----------
Theory notes, sections 3 to 5.
"""

from stpbnn.mixtures.dual import dual_student_t
from stpbnn.mixtures.network import Conditioned, condition, predictive
from stpbnn.mixtures.posterior import OrderParameterPosterior

__all__ = ["Conditioned", "OrderParameterPosterior", "condition", "dual_student_t", "predictive"]
