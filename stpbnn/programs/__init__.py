"""The NumPyro models: the Bayesian network, and its closed forms, as probabilistic programs."""

from stpbnn.programs.networks import network, scale_mixture

__all__ = ["network", "scale_mixture"]
