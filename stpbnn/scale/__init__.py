r"""The physics of one or more scales of a kernel: the effective action, its saddle points, and the whole posterior.

With :math:`K^R(Q)` the renormalised kernel of the training set and :math:`A(Q) = K^R(Q) + T\,1`,

.. math:: S(Q) = \sum_l N_l (Q_l - \log Q_l) + \log\det A(Q) + y^T A(Q)^{-1} y \qquad (4.1)

is, up to a constant, -2 log p(log Q, y). The proportional limit evaluates everything at the minimum of S; finite width
integrates over :math:`p(Q \mid y)`. A theory is a *problem* that knows its resolvent: `pose` chooses one of `one_scale`
(one hidden layer, and the global closure), `mean_kept` (activations with a mean), `deep` (a scale a layer) and
`several_outputs` (a matrix), each with `saddle_points`, `conditioned`, `posterior`, `moments` and the gradients of its
evidence. `student_t` has a random scale of any kernel.

References
----------
Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023); theory notes, sections 3 to 5.
"""

from stpbnn.scale.deep import LATTICE_DEPTH
from stpbnn.scale.dual import dual_student_t
from stpbnn.scale.factorised import (
    ZERO_TARGETS,
    FactorisedKernel,
    refuse_singular,
    well_conditioned_cholesky,
)
from stpbnn.scale.fluctuation import CLOSURE_ACTIONS as CLOSURE_ACTIONS
from stpbnn.scale.fluctuation import Landscape as Landscape
from stpbnn.scale.fluctuation import gaussian_gradient as gaussian_gradient
from stpbnn.scale.left_out import left_out_mixture as left_out_mixture
from stpbnn.scale.mean_kept import MeanKept
from stpbnn.scale.one_scale import OneScale
from stpbnn.scale.pose import MEANS, Mean, keeps_mean, pose
from stpbnn.scale.posterior import ACCURACY, OrderParameterPosterior, is_known
from stpbnn.scale.priors import Gamma, InverseGamma
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.saddle_point import SaddlePoint, gaussian_log_evidence
from stpbnn.scale.student_t import INDEFINITE as INDEFINITE
from stpbnn.scale.student_t import NoiseBeside as NoiseBeside
from stpbnn.scale.student_t import NoiseInside as NoiseInside
from stpbnn.scale.student_t import Query as Query
from stpbnn.scale.units import Units as Units
from stpbnn.scale.width_curve import WidthCurve

__all__ = [
    "ACCURACY",
    "LATTICE_DEPTH",
    "MEANS",
    "ZERO_TARGETS",
    "FactorisedKernel",
    "Gamma",
    "InverseGamma",
    "Mean",
    "MeanKept",
    "NetworkProblem",
    "OneScale",
    "OrderParameterPosterior",
    "SaddlePoint",
    "WidthCurve",
    "dual_student_t",
    "gaussian_log_evidence",
    "is_known",
    "keeps_mean",
    "pose",
    "refuse_singular",
    "well_conditioned_cholesky",
]
