"""Self-consistent clusters of hidden units: how the kernel of one or more hidden layers adapts to the task."""

from stpbnn.adaptive.doubling import cluster_size, doubled, nearest_divisor, refuse_unknown, smallest_size, units_of
from stpbnn.adaptive.evidence import anneal, log_evidence
from stpbnn.adaptive.fields import Averages, Fields, Problem, Response, drive, fields
from stpbnn.adaptive.particles import RowSpace
from stpbnn.adaptive.posing import posed
from stpbnn.adaptive.process import AdaptiveProcess, Prediction
from stpbnn.adaptive.search import Populations, Solution, Start, solve
from stpbnn.adaptive.settled import monte_carlo_error
from stpbnn.adaptive.storing import FixedPoint, packed, unpacked

__all__ = [
    "AdaptiveProcess",
    "Averages",
    "Fields",
    "FixedPoint",
    "Populations",
    "Prediction",
    "Problem",
    "Response",
    "RowSpace",
    "Solution",
    "Start",
    "anneal",
    "cluster_size",
    "doubled",
    "drive",
    "fields",
    "log_evidence",
    "monte_carlo_error",
    "nearest_divisor",
    "packed",
    "posed",
    "refuse_unknown",
    "smallest_size",
    "solve",
    "units_of",
    "unpacked",
]
