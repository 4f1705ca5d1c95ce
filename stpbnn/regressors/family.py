"""The theories of the network, by name: which of them are known for a network, and their regressors."""

from __future__ import annotations

from typing import Any

from stpbnn.mixtures.network import LATTICE_DEPTH
from stpbnn.network import FullyConnected
from stpbnn.regressors.adaptive import AdaptiveKernelRegressor
from stpbnn.regressors.base import NetworkRegressor
from stpbnn.regressors.finite_width import FiniteWidthRegressor
from stpbnn.regressors.infinite import NNGPRegressor
from stpbnn.regressors.proportional import ProportionalLimitRegressor

__all__ = ["PARTICLES", "THEORIES", "applicable", "regressor"]

PARTICLES = 4096
THEORIES: dict[str, type[NetworkRegressor]] = {
    "infinite": NNGPRegressor,
    "proportional": ProportionalLimitRegressor,
    "finite": FiniteWidthRegressor,
    "adaptive": AdaptiveKernelRegressor,
}


def applicable(network: FullyConnected) -> dict[str, str]:
    """Return the theories that are known for a network: by the name that tables show, that of `theory_grid`."""
    names = {"infinite width": "infinite"}
    if network.outputs == 1 or network.depth == 1:
        names["proportional limit"] = "proportional"
    if network.outputs == 1 and network.depth <= LATTICE_DEPTH:
        names["finite width"] = "finite"
    if network.depth == 1:
        names["adaptive kernel"] = "adaptive"
    return names


def regressor(
    theory: str, network: FullyConnected, temperature: float, particles: int = PARTICLES, random_state: Any = None
) -> NetworkRegressor:
    """Return the regressor of a theory, not fitted; particles and their seed are those of the theory that has any."""
    simulated: dict[str, Any] = {"particles": particles, "random_state": random_state} if theory == "adaptive" else {}
    return THEORIES[theory](network, temperature=temperature, **simulated)
