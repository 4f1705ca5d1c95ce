r"""Closed-form regressors with scikit-learn's interface, one for each theory of the network.

Given its kernel a network is a Gaussian process,

.. math::
    \bar f(x) = k^R_x \cdot A^{-1} y, \qquad \sigma^2(x) = k^R_{xx} - k^R_x \cdot A^{-1} k^R_x, \qquad A = K^R + T\,1.

The theories differ in the order parameters at which the kernel is taken: one for infinite width, the saddle point of
the effective action in the proportional limit, their whole posterior at finite width.
"""

from stpbnn.regressors.adaptive_kernel import AdaptiveKernelRegressor
from stpbnn.regressors.errors import GeneralizationError
from stpbnn.regressors.errors import error_parts as error_parts
from stpbnn.regressors.errors import own_errors as own_errors
from stpbnn.regressors.estimator import Estimator as Estimator
from stpbnn.regressors.evidence_search import Evidence as Evidence
from stpbnn.regressors.evidence_search import EvidenceSearch as EvidenceSearch
from stpbnn.regressors.finite_width import FiniteWidthRegressor
from stpbnn.regressors.grid import theory_grid
from stpbnn.regressors.grid_points import GridPoints as GridPoints
from stpbnn.regressors.grid_points import shown as shown
from stpbnn.regressors.grid_points import warn_of_unsolved as warn_of_unsolved
from stpbnn.regressors.hidden_kernel import kernel_overlap
from stpbnn.regressors.infinite import NNGPRegressor
from stpbnn.regressors.learnable_network import NetworkHyperparameters as NetworkHyperparameters
from stpbnn.regressors.network_regressor import refuse_indefinite_kernel as refuse_indefinite_kernel
from stpbnn.regressors.network_regressor import refuse_infinite_kernel as refuse_infinite_kernel
from stpbnn.regressors.of_theory import regressor_of as regressor_of
from stpbnn.regressors.persistence import load as load
from stpbnn.regressors.persistence import save as save
from stpbnn.regressors.proportional import ProportionalLimitRegressor
from stpbnn.regressors.student_t_process import StudentTProcessRegressor

__all__ = [
    "AdaptiveKernelRegressor",
    "FiniteWidthRegressor",
    "GeneralizationError",
    "NNGPRegressor",
    "ProportionalLimitRegressor",
    "StudentTProcessRegressor",
    "kernel_overlap",
    "theory_grid",
]
