"""Runs: a folder that holds a card, its posterior, its theories, their comparison and a report."""

from stpbnn.runs.making import rerender, run_card
from stpbnn.runs.marks import fingerprint
from stpbnn.runs.stored import Run, load_run
from stpbnn.runs.stored import stored_card as stored_card

__all__ = ["Run", "fingerprint", "load_run", "rerender", "run_card"]
