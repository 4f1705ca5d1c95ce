"""Random numbers: seeds and generators of NumPy, old and new, as the one kind that scikit-learn works with."""

from __future__ import annotations

from typing import Any

import numpy as np

from stpbnn._validation import shown

__all__ = ["random_numbers", "seed_of"]


def random_numbers(random_state: Any) -> np.random.RandomState:
    """Return the source of random numbers that is meant: a Generator's own stream, which moves on, or scikit-learn's.

    Parameters
    ----------
    random_state : int, numpy Generator, RandomState or None
        None means new numbers, those of NumPy's global stream.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bool(random_numbers(rng).normal() == random_numbers(rng).normal())
    False
    """
    from sklearn.utils import check_random_state

    if isinstance(random_state, np.random.Generator):
        return np.random.RandomState(random_state.bit_generator)
    try:
        return check_random_state(random_state)
    except ValueError:
        raise ValueError(
            f"random_state: got {shown(random_state)}, expected a whole number from 0 to 2**32 - 1, a NumPy Generator, "
            "a RandomState or None"
        ) from None


def seed_of(random_state: Any) -> int:
    """Return a whole number, below 2^31, that a source of random numbers gives."""
    return int(random_numbers(random_state).randint(2**31))
