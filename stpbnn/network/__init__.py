"""The frozen descriptions of Bayesian networks, with their forward passes and priors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stpbnn.network.architecture import LIKELIHOODS as LIKELIHOODS
from stpbnn.network.architecture import Network, Prior, Weights
from stpbnn.network.convolutional import Convolutional
from stpbnn.network.fully_connected import FullyConnected
from stpbnn.network.holder import NetworkHolder
from stpbnn.network.holder import known_network as known_network
from stpbnn.network.windows import Link as Link
from stpbnn.network.windows import Window
from stpbnn.network.windows import incidence as incidence
from stpbnn.network.windows import links as links
from stpbnn.network.windows import looked_at as looked_at

__all__ = ["Convolutional", "FullyConnected", "Network", "NetworkHolder", "Prior", "Weights", "Window", "of_settings"]


def of_settings(settings: Mapping[str, Any]) -> Network:
    """Return the network with the settings that `to_dict` gave: with channels it is convolutional.

    Examples
    --------
    >>> of_settings(FullyConnected((5,)).to_dict())
    FullyConnected(widths=(5,), activation='erf', outputs=1, weight_precision=1.0, bias_precision=None)
    """
    return (Convolutional if "channels" in settings else FullyConnected)(**settings)
