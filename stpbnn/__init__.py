"""Bayesian neural networks of finite width: sample the posterior and predict it in closed form, side by side."""

__version__ = "0.1.0"
