"""What the theories of finite width can do of convolutional networks, and the refusal of the rest."""

from __future__ import annotations

from typing import Any

from stpbnn.network import Convolutional

__all__ = ["refuse_unknown_images"]


def refuse_unknown_images(network: Any, optimizer: Any) -> None:
    """Refuse convolutional networks of several hidden layers or outputs, and those whose precisions are to be learned.

    Given the order parameters of the last layer, those of the layer below are Wishart matrices about a scale that
    depends on them: known for linear networks alone.
    """
    if not isinstance(network, Convolutional):
        return
    if network.depth > 1 or network.outputs > 1:
        raise ValueError(
            f"network: got a Convolutional of {network.depth} hidden layer(s) and {network.outputs} output(s), "
            "expected one of each; use NNGPRegressor, or stpbnn.sample"
        )
    if optimizer is not None:
        raise ValueError(
            f"optimizer: got {optimizer!r} for a Convolutional, expected None; learn with NNGPRegressor, and give its "
            "network_ and temperature_"
        )
