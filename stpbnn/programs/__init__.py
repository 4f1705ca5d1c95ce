"""The NumPyro models: the Bayesian network, its closed forms, and processes over a kernel."""

from stpbnn.programs.conditionals import condition, log_likelihood, predict
from stpbnn.programs.datatree import to_datatree
from stpbnn.programs.distances import distance
from stpbnn.programs.kernel_processes import gaussian_process, student_t_process
from stpbnn.programs.linear_model import design as design
from stpbnn.programs.linear_model import factorised_design as factorised_design
from stpbnn.programs.marginal import marginal_network
from stpbnn.programs.networks import network, scale_mixture, student_t_network
from stpbnn.programs.sites import above as above
from stpbnn.programs.student import MultivariateStudentT as MultivariateStudentT
from stpbnn.programs.traced import value_above as value_above

__all__ = [
    "condition",
    "distance",
    "gaussian_process",
    "log_likelihood",
    "marginal_network",
    "network",
    "predict",
    "scale_mixture",
    "student_t_network",
    "student_t_process",
    "to_datatree",
]
