"""Many rows, a few at a time."""

from __future__ import annotations

__all__ = ["slices"]


def slices(rows: int, size: int) -> list[slice]:
    """Return slices that cover all rows in their order, `size` of them each, but one at least; the last may be short.

    Examples
    --------
    >>> slices(5, 2), slices(2, 0)
    ([slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)], [slice(0, 1, None), slice(1, 2, None)])
    """
    size = max(1, size)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
