"""The regressor of a theory, by the name that it has in the catalogue."""

from __future__ import annotations

from typing import Any

from stpbnn import regressors
from stpbnn.catalogue import THEORIES
from stpbnn.network import FullyConnected
from stpbnn.regressors.estimator import Estimator

__all__ = ["regressor_of"]


def regressor_of(theory: str, network: FullyConnected, temperature: float, **settings: Any) -> Estimator:
    """Return the regressor of a theory, not fitted, with those of the further settings that it takes.

    Examples
    --------
    >>> regressor_of("adaptive", FullyConnected((9,)), 0.1, particles=64, df=5.0).particles
    64
    """
    entry = THEORIES[theory]
    own = {name: value for name, value in settings.items() if name in entry.takes}
    made: Estimator = getattr(regressors, entry.regressor)(network, temperature=temperature, **own, **entry.settings)
    return made
