"""The fingerprint of a run tells every setting of its kernel, so that draws of two kernels are never joined."""

import numpy as np
import pytest

from stpbnn import FullyConnected, programs
from stpbnn.samplers import MALA, Langevin, SplitHMC, SplitNUTS, Tempered
from stpbnn.samplers.chains.fingerprint import fingerprint
from stpbnn.samplers.draws import checked_data

NET = FullyConnected((3,), "erf")
DATA = checked_data(NET, np.eye(4), np.ones(4), None, None)
ADJUSTED, ALL = (SplitHMC, SplitNUTS, Tempered, MALA), (SplitHMC, SplitNUTS, Tempered, MALA, Langevin)


@pytest.mark.parametrize(
    ("kernel", "changed"),
    [
        (SplitHMC, {"trajectory_length": 0.3}),
        (Tempered, {"trajectory_length": 0.3}),
        (Tempered, {"replicas": 3}),
        (Tempered, {"lowest": 0.2}),
        (SplitNUTS, {"max_tree_depth": 3}),
        (MALA, {"num_steps": 3}),
        (MALA, {"precondition": True}),
        (Langevin, {"num_steps": 3}),
        (Langevin, {"scales": {"W1": 2.0}}),
        *((kind, {"target_accept_prob": 0.5}) for kind in ADJUSTED),
        *((kind, {"step_size": 0.01}) for kind in ALL),
    ],
)
def test_every_setting_of_a_kernel_is_told(kernel, changed):
    def told(**settings):
        made = kernel(programs.marginal_network(NET), **{"step_size": 0.1} | settings)
        return fingerprint(NET, DATA, made, 0.1, {})["sampler"]

    assert told() != told(**changed)
