"""The self-consistent neuron: how the kernel of one hidden layer adapts to the task."""

from stpbnn.adaptive.evidence import anneal, log_evidence
from stpbnn.adaptive.fields import Averages, Fields, Problem, drive, fields
from stpbnn.adaptive.particles import RowSpace
from stpbnn.adaptive.process import AdaptiveProcess, Prediction
from stpbnn.adaptive.search import Solution, Start, solve
from stpbnn.adaptive.storing import FixedPoint, packed, unpacked

__all__ = [
    "AdaptiveProcess",
    "Averages",
    "Fields",
    "FixedPoint",
    "Prediction",
    "Problem",
    "RowSpace",
    "Solution",
    "Start",
    "anneal",
    "drive",
    "fields",
    "log_evidence",
    "packed",
    "solve",
    "unpacked",
]
