r"""The physics of one or more scales of a kernel: the effective action, its saddle points, and the whole posterior.

With :math:`K^R(Q)` the renormalised kernel of the training set and :math:`A(Q) = K^R(Q) + T\,1`,

.. math:: S(Q) = \sum_l N_l (Q_l - \log Q_l) + \log\det A(Q) + y^T A(Q)^{-1} y \qquad (4.1)

is, up to a constant, -2 log p(log Q, y). The proportional limit evaluates everything at the minimum of S; finite width
integrates over :math:`p(Q \mid y)`. A theory is a *problem* that knows its resolvent: `pose` chooses one of `one_scale`
(one hidden layer, and the global closure), `mean_kept` (activations with a mean), `deep` (a scale a layer),
`several_outputs` (a matrix), `deep_outputs` (a matrix a layer) and `local_problem` (matrices over positions), each with
`saddle_points`, `conditioned`, `posterior`, `moments` and the gradients of its evidence. `student_t` has a random scale
of any kernel; `outlier_moments` and `downweighted` have noise with outliers.

References
----------
Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023); theory notes, sections 3 to 5.
"""

from stpbnn.scale.contrasts import RestrictedKernel as RestrictedKernel
from stpbnn.scale.contrasts import conditioned_kernel as conditioned_kernel
from stpbnn.scale.deep import LATTICE_DEPTH
from stpbnn.scale.design import TRENDS as TRENDS
from stpbnn.scale.design import Design as Design
from stpbnn.scale.design import Query as Query
from stpbnn.scale.design import Reduced as Reduced
from stpbnn.scale.downweighted import Downweighted as Downweighted
from stpbnn.scale.downweighted import noise_of_new as noise_of_new
from stpbnn.scale.dual import dual_student_t
from stpbnn.scale.factorised import (
    ZERO_TARGETS,
    FactorisedKernel,
    query_of,
    refuse_singular,
    well_conditioned_cholesky,
)
from stpbnn.scale.iterated import IteratedProblem as IteratedProblem
from stpbnn.scale.iterated import NumericalErrors as NumericalErrors
from stpbnn.scale.iterated import refuse_space as refuse_space
from stpbnn.scale.iterated_scale import IteratedKernel as IteratedKernel
from stpbnn.scale.iterated_scale import IteratedScale as IteratedScale
from stpbnn.scale.iterated_scale import iterated_beside as iterated_beside
from stpbnn.scale.iterated_scale import iterated_inside as iterated_inside
from stpbnn.scale.iterated_scale import iterated_problem as iterated_problem
from stpbnn.scale.landscape import (
    CLOSURE_ACTIONS,
    Landscape,
    evidence_gradient,
    gaussian_gradient,
    infinite_slopes,
    kernel_slopes,
    order_slopes,
)
from stpbnn.scale.lattice import ACCURACY as LATTICE_ACCURACY
from stpbnn.scale.lattice import lattice_posterior
from stpbnn.scale.leave_one_out import left_out_mixture as left_out_mixture
from stpbnn.scale.left_out_slopes import LeftOutScore as LeftOutScore
from stpbnn.scale.left_out_slopes import left_out_score as left_out_score
from stpbnn.scale.local_problem import LocalProblem as LocalProblem
from stpbnn.scale.matrix_posterior import products_of_layers as products_of_layers
from stpbnn.scale.mean_kept import MeanKept
from stpbnn.scale.minima import bracket_end
from stpbnn.scale.minima import minima as minima_of_slope
from stpbnn.scale.one_scale import OneScale
from stpbnn.scale.outlier_moments import OutlierMoments as OutlierMoments
from stpbnn.scale.outputwise import Columns as Columns
from stpbnn.scale.posterior import ACCURACY, OrderParameterPosterior, is_known
from stpbnn.scale.priors import Gamma, InverseGamma, prior_action, prior_slope
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.problem_choice import MEANS, Mean, enters_by_product, keeps_mean, pose
from stpbnn.scale.problem_choice import by_layer as by_layer
from stpbnn.scale.problem_choice import order_parameters_shape as order_parameters_shape
from stpbnn.scale.saddle_point import SaddlePoint, gaussian_log_evidence, laplace
from stpbnn.scale.steps import descended
from stpbnn.scale.student_noise import StudentNoise as StudentNoise
from stpbnn.scale.student_t import INDEFINITE as INDEFINITE
from stpbnn.scale.student_t import NoiseBeside as NoiseBeside
from stpbnn.scale.student_t import NoiseInside as NoiseInside
from stpbnn.scale.trapezoid import posterior_of_action
from stpbnn.scale.units import Units as Units
from stpbnn.scale.width_curve import WidthCurve

__all__ = [
    "ACCURACY",
    "CLOSURE_ACTIONS",
    "LATTICE_ACCURACY",
    "LATTICE_DEPTH",
    "MEANS",
    "ZERO_TARGETS",
    "FactorisedKernel",
    "Gamma",
    "InverseGamma",
    "Landscape",
    "Mean",
    "MeanKept",
    "NetworkProblem",
    "OneScale",
    "OrderParameterPosterior",
    "SaddlePoint",
    "WidthCurve",
    "bracket_end",
    "descended",
    "dual_student_t",
    "enters_by_product",
    "evidence_gradient",
    "gaussian_gradient",
    "gaussian_log_evidence",
    "infinite_slopes",
    "is_known",
    "keeps_mean",
    "kernel_slopes",
    "laplace",
    "lattice_posterior",
    "minima_of_slope",
    "order_slopes",
    "pose",
    "posterior_of_action",
    "prior_action",
    "prior_slope",
    "query_of",
    "refuse_singular",
    "well_conditioned_cholesky",
]
