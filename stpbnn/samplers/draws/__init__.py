"""What is recorded of a draw, what it is measured against, and the tree that holds all draws."""

from stpbnn.samplers.draws.observables import encoded, new_labels, new_targets, observe, observe_classes, squared_loss
from stpbnn.samplers.draws.overlap import References, kernel_overlap, position_overlap, references
from stpbnn.samplers.draws.readout import draw_readout, observe_marginal, predict
from stpbnn.samplers.draws.rotation import Rotation, rotate
from stpbnn.samplers.draws.training_data import Data, checked_data, numbers_of_a_chain
from stpbnn.samplers.draws.tree import to_datatree

__all__ = [
    "Data",
    "References",
    "Rotation",
    "checked_data",
    "draw_readout",
    "encoded",
    "kernel_overlap",
    "new_labels",
    "new_targets",
    "numbers_of_a_chain",
    "observe",
    "observe_classes",
    "observe_marginal",
    "position_overlap",
    "predict",
    "references",
    "rotate",
    "squared_loss",
    "to_datatree",
]
