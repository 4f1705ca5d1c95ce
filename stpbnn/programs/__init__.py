"""The NumPyro models: the Bayesian network, and its closed forms, as probabilistic programs."""

from stpbnn.programs.marginal import marginal_network
from stpbnn.programs.networks import network, scale_mixture

__all__ = ["marginal_network", "network", "scale_mixture"]
