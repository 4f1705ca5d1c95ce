"""The regressor of a theory, by the name that it has in the catalogue."""

from __future__ import annotations

from typing import Any

from stpbnn.catalogue import THEORIES
from stpbnn.network import Network
from stpbnn.regressors.adaptive_kernel import AdaptiveKernelRegressor
from stpbnn.regressors.estimator import Estimator
from stpbnn.regressors.finite_width import FiniteWidthRegressor
from stpbnn.regressors.infinite import NNGPRegressor
from stpbnn.regressors.proportional import ProportionalLimitRegressor
from stpbnn.regressors.student_t_process import StudentTProcessRegressor

__all__ = ["regressor_of"]

CLASSES: dict[str, type[Any]] = {
    regressor.__name__: regressor
    for regressor in (
        AdaptiveKernelRegressor,
        FiniteWidthRegressor,
        NNGPRegressor,
        ProportionalLimitRegressor,
        StudentTProcessRegressor,
    )
}


def regressor_of(theory: str, network: Network, temperature: float, **settings: Any) -> Estimator:
    """Return the regressor of a theory, not fitted, with those of the further settings that it takes.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> regressor_of("adaptive", FullyConnected((9,)), 0.1, particles=64, df=5.0).particles
    64
    """
    entry = THEORIES[theory]
    own = {name: value for name, value in settings.items() if name in entry.takes}
    made: Estimator = CLASSES[entry.regressor](network, temperature=temperature, **own, **entry.settings)
    return made
