"""The theories of the network, by name: which of them are known for a network, and their regressors."""

from __future__ import annotations

from typing import Any

from stpbnn.network import FullyConnected
from stpbnn.regressors.adaptive_kernel import AdaptiveKernelRegressor
from stpbnn.regressors.estimator import Estimator
from stpbnn.regressors.finite_width import FiniteWidthRegressor
from stpbnn.regressors.infinite import NNGPRegressor
from stpbnn.regressors.proportional import Mean, ProportionalLimitRegressor, keeps_mean
from stpbnn.regressors.student_t_process import StudentTProcessRegressor
from stpbnn.scale import LATTICE_DEPTH
from stpbnn.theory_names import LONG

__all__ = ["PARTICLES", "THEORIES", "applicable", "of_process", "regressor"]

PARTICLES = 4096
THEORIES: dict[str, type[Estimator]] = {
    "infinite": NNGPRegressor,
    "proportional": ProportionalLimitRegressor,
    "zero-mean": ProportionalLimitRegressor,
    "finite": FiniteWidthRegressor,
    "adaptive": AdaptiveKernelRegressor,
    "student-t": StudentTProcessRegressor,
}


def applicable(network: FullyConnected, *, on_request: bool = False) -> dict[str, str]:
    """Return the theories that are known for a network: by the name that tables show, that of `theory_grid`.

    On request also the zero-mean form of the proportional limit, where that keeps the mean of the features.
    """
    names = {LONG["infinite"]: "infinite"}
    if network.outputs == 1 or network.depth == 1:
        names[LONG["proportional"]] = "proportional"
    if on_request and keeps_mean(network, "auto"):
        names[LONG["zero-mean"]] = "zero-mean"
    if network.outputs == 1 and network.depth <= LATTICE_DEPTH:
        names[LONG["finite"]] = "finite"
    if network.depth == 1:
        names[LONG["adaptive"]] = "adaptive"
    return names


def of_process(process: str, network: FullyConnected) -> dict[str, str]:
    """Return the theories of a process that is derived from a network, by both names; one of them is exact.

    That is the Student's t-process, or the mixture of finite width, known for up to three hidden layers.
    """
    if process == "student-t":
        return {LONG[kind]: kind for kind in ("infinite", "student-t")}
    return {name: theory for name, theory in applicable(network).items() if theory != "adaptive"}


def regressor(
    theory: str,
    network: FullyConnected,
    temperature: float,
    particles: int = PARTICLES,
    random_state: Any = None,
    *,
    mean: Mean = "auto",
    df: float = 5.0,
) -> Estimator:
    """Return the regressor of a theory, not fitted, with those of the further settings that it has."""
    settings: dict[str, dict[str, Any]] = {
        "proportional": {"mean": mean},
        "zero-mean": {"mean": "drop"},
        "finite": {"mean": mean},
        "adaptive": {"particles": particles, "random_state": random_state},
        "student-t": {"df": df, "noise": "gaussian", "optimizer": None},
    }
    return THEORIES[theory](network, temperature=temperature, **settings.get(theory, {}))
