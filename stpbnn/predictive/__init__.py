r"""Predictive distributions: what a fitted regressor says about the function, or a new target, at query points.

One frozen interface: `mean`, `variance`, `std`, `quantile`, `interval`, `cdf`, `pdf`, `logpdf`, `sample`. A marginal
law has one entry a query point (and output); the joint law couples the query points.
"""

from stpbnn.predictive.gaussian import Gaussian, IndependentOutputs, JointGaussian
from stpbnn.predictive.joint import relative_rounding as relative_rounding
from stpbnn.predictive.law import Law, SideBySide
from stpbnn.predictive.mixture import JointMixture, Mixture, MixtureOfOutputs
from stpbnn.predictive.student_t_laws import JointStudentT, StudentT
from stpbnn.predictive.student_t_laws import log_density as log_density

__all__ = [
    "Gaussian",
    "IndependentOutputs",
    "JointGaussian",
    "JointMixture",
    "JointStudentT",
    "Law",
    "Mixture",
    "MixtureOfOutputs",
    "SideBySide",
    "StudentT",
]
