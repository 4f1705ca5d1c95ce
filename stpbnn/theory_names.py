"""The two names of every theory: a short one, for calls and cards, and a long one, for tables and figures."""

from __future__ import annotations

__all__ = ["LONG", "SHORT", "long_name", "short_name"]

LONG = {
    "infinite": "infinite width",
    "proportional": "proportional limit",
    "zero-mean": "mean dropped",
    "finite": "finite width",
    "adaptive": "adaptive kernel",
    "student-t": "Student's t-process",
}
SHORT = {long: short for short, long in LONG.items()}


def long_name(name: str) -> str:
    """Return the long name of a theory, whichever is given; other names as they are.

    Examples
    --------
    >>> long_name("finite"), long_name("finite width"), long_name("ridge")
    ('finite width', 'finite width', 'ridge')
    """
    return LONG.get(name, name)


def short_name(name: str) -> str:
    """Return the short name of a theory, whichever is given; other names as they are.

    Examples
    --------
    >>> short_name("finite width"), short_name("finite")
    ('finite', 'finite')
    """
    return SHORT.get(name, name)
