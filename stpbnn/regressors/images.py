"""What the theories of finite width can do of convolutional networks, and the refusal of the rest."""

from __future__ import annotations

from typing import Any

from stpbnn.network import Convolutional

__all__ = ["refuse_unknown_images"]


def refuse_unknown_images(network: Any, optimizer: Any) -> None:
    """Refuse convolutional networks of several outputs, deep ones that average, and those that are to be learned.

    A readout that averages gives all positions of the last layer one weight: a singular matrix, on whose root the
    layers below it stand.
    """
    if not isinstance(network, Convolutional):
        return
    if network.outputs > 1:
        raise ValueError(
            f"network: got a Convolutional of {network.outputs} outputs, expected one; use NNGPRegressor, or "
            "stpbnn.sample"
        )
    if network.depth > 1 and network.readout == "mean":
        raise ValueError(
            f"network: got a Convolutional of {network.depth} hidden layers with readout='mean', expected one hidden "
            "layer, or readout='flatten'; use NNGPRegressor, or stpbnn.sample"
        )
    if optimizer is not None:
        raise ValueError(
            f"optimizer: got {optimizer!r} for a Convolutional, expected None; learn with NNGPRegressor, and give its "
            "network_ and temperature_"
        )
