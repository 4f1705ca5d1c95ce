"""The self-consistent neuron: how the kernel of one hidden layer adapts to the task."""

from stpbnn.adaptive.fixed_point import Fields, Problem, Solution, fields, solve
from stpbnn.adaptive.particles import RowSpace
from stpbnn.adaptive.prediction import AdaptiveProcess, Prediction

__all__ = ["AdaptiveProcess", "Fields", "Prediction", "Problem", "RowSpace", "Solution", "fields", "solve"]
