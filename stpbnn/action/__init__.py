r"""The effective action of the order parameters, its saddle points and the log evidence.

With :math:`K^R(Q)` the renormalised kernel of the training set and :math:`A(Q) = K^R(Q) + T\,1`,

.. math:: S(Q) = \sum_l N_l (Q_l - \log Q_l) + \log\det A(Q) + y^T A(Q)^{-1} y,

up to a constant -2 log p(log Q, y). The proportional limit evaluates everything at the minimum of S, which need not
be the only one. Two rooms: `spectral` for one scale of one kernel, where every value of S costs O(P) after one
tridiagonalisation, and `layered` for any closure and depth, where it costs one Cholesky factorisation.

References
----------
Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023), effective action; theory notes, section 4.
"""

from stpbnn.action.point import SaddlePoint
from stpbnn.action.saddle import gaussian_log_evidence, saddle_points

__all__ = ["SaddlePoint", "gaussian_log_evidence", "saddle_points"]
