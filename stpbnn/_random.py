"""Random numbers: seeds and generators of any kind, as scikit-learn takes them; those of JAX, quick to compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from stpbnn._validation import shown

if TYPE_CHECKING:
    import jax

__all__ = ["parted", "random_numbers", "seed_of", "standard_normal", "streams"]

FEW = 8  # keys that are made at least: the first of them are the same, and one program serves any few


def random_numbers(random_state: Any) -> np.random.RandomState:
    """Return the source of random numbers: a Generator's own stream, which moves on, or that of scikit-learn.

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


def parted(key: np.ndarray, number: int = 2) -> np.ndarray:
    """Return the keys of `jax.random.split` as plain numbers, which loops outside of JAX pass on many times faster.

    Parameters
    ----------
    key : array
        A JAX random key as `jax.random.PRNGKey` gives it.
    number : int
        How many.

    Examples
    --------
    >>> import jax
    >>> keys = parted(np.asarray(jax.random.PRNGKey(0)), 3)
    >>> bool((jax.random.wrap_key_data(keys) == jax.random.split(jax.random.key(0), 3)).all())
    True
    """
    return np.asarray(_compiled()[0](key, max(number, FEW)))[:number]


def streams(seed: int, number: int) -> np.ndarray:
    """Return so many keys of a seed from 0 to 2**32 - 1, as `parted` does.

    Examples
    --------
    >>> import jax
    >>> bool((streams(7, 3) == jax.random.key_data(jax.random.split(jax.random.key(7), 3))).all())
    True
    """
    return np.asarray(_compiled()[1](np.uint32(seed), max(number, FEW)))[:number]


@cache
def _compiled() -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    import jax

    def split(seed: jax.Array, number: int) -> jax.Array:
        return jax.random.split(jax.random.PRNGKey(seed), number)

    return jax.jit(jax.random.split, static_argnums=1), jax.jit(split, static_argnums=1)


def standard_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = float) -> jax.Array:
    """Return the numbers of `jax.random.normal`, drawn in a row, which XLA compiles several times faster.

    Parameters
    ----------
    key : jax.Array
        A JAX random key.
    shape : tuple of int
        The shape.
    dtype : dtype
        The type, in the present precision by default.

    Examples
    --------
    >>> import jax
    >>> key = jax.random.key(0)
    >>> bool((standard_normal(key, (2, 3)) == jax.random.normal(key, (2, 3))).all())
    True
    """
    import jax

    return jax.random.normal(key, (prod(shape),), dtype).reshape(shape)
