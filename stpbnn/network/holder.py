"""Estimators that hold networks among their parameters, and refuse kinds that they do not know."""

from __future__ import annotations

from typing import Any, Self

from stpbnn._validation import instance, shown
from stpbnn.network.architecture import Network

__all__ = ["NetworkHolder", "known_network"]


def known_network(network: Any, kinds: tuple[type[Network], ...], instead: str) -> Network:
    """Return a network of a known kind; refuse others, and say what to take instead."""
    if isinstance(network, Network) and not isinstance(network, kinds):
        expected = " or ".join(f"a stpbnn.{kind.__name__}" for kind in kinds)
        raise ValueError(f"network: got {shown(network)}, expected {expected}; take {instead}, or stpbnn.sample")
    return instance("network", network, *kinds)


class NetworkHolder:
    """Estimators that hold networks among their parameters and set theirs by name: network__widths."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, and those of a part as part__parameter; a network is replaced by a new one.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For names that are not known.
        """
        held = self.get_params(deep=False) | params  # type: ignore[attr-defined]
        settings: dict[str, dict[str, Any]] = {}
        for key in [key for key in params if "__" in key]:
            name, _, setting = key.partition("__")
            if name in held and held[name] is None:
                raise ValueError(f"{key}: got a setting of {name}, which is None; give a {name} to set it")
            if isinstance(held.get(name), Network):
                settings.setdefault(name, {})[setting] = params.pop(key)
        networks = {name: value for name, value in params.items() if isinstance(value, Network)}
        networks |= {name: held[name].set_params(**own) for name, own in settings.items()}
        return super().set_params(**(networks | {key: v for key, v in params.items() if key not in networks}))  # type: ignore[misc]
