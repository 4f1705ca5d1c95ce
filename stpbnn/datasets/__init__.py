"""Learning tasks by name: bundled sets, files of MNIST and CIFAR-10, and synthetic teachers."""

from stpbnn.datasets.loading import load
from stpbnn.datasets.registry import Description, describe, names

__all__ = ["Description", "describe", "load", "names"]
