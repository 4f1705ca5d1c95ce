"""Sweeps: the runs of a card at every point of its sweep, shared among processes, and one data set of their results."""

from stpbnn.sweeps.running import MANY, sweep

__all__ = ["MANY", "sweep"]
