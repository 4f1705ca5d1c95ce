"""Anderson's extrapolation: a step to a fixed point from the last few states and updates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

__all__ = ["extrapolated"]

RANK = 1e-8  # singular values of the updates, relative to the largest, that count as zero


def extrapolated(
    known: Sequence[tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]], part: float
) -> Float[np.ndarray, " n"]:
    """Return the step from the last of these states, given each with its update; of a single one a part of its update.

    Examples
    --------
    Of a linear map one pair more than it has dimensions is enough.

    >>> states = [np.array([0.0]), np.array([1.0])]
    >>> step = extrapolated([(state, 3 - 0.5 * state) for state in states], part=1.0)
    >>> states[-1] + step
    array([6.])
    """
    (state, update), *others = reversed(known)
    if not others:
        return part * update
    states, updates = (
        np.stack([last - one for one in ones], axis=1)
        for last, ones in zip((state, update), zip(*others, strict=True), strict=True)
    )
    weights = np.linalg.lstsq(updates, update, rcond=RANK)[0]
    return update - (states + updates) @ weights
