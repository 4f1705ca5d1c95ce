"""A part of what holds networks among its parameters."""

from __future__ import annotations

from typing import Any, Self

from stpbnn.network.architecture import Network

__all__ = ["NetworkHolder"]


class NetworkHolder:
    """A part of what holds networks among its parameters, and takes their settings by name: network__widths."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters, and those of parts as part__parameter; settings of a network make a new one.

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
