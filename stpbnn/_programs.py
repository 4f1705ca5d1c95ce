"""The compiled programs of JAX: a process may hold a limited number, so old ones make room in time."""

from __future__ import annotations

import logging
from pathlib import Path

__all__ = ["make_room_for_programs"]

logger = logging.getLogger(__name__)

MAPPINGS, MOST_MAPPINGS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")


def make_room_for_programs(part: float = 0.5) -> bool:
    """Forget JAX's compiled programs where the system allows this process few more, and return whether that was so.

    Each program that JAX compiles for the processor takes three mappings of memory, and Linux allows a process 65,530
    by default; the next one ends it with a segmentation fault. A program that is called again is compiled again.

    Parameters
    ----------
    part : float
        How many of the mappings that are allowed may be in use before programs are forgotten.

    Examples
    --------
    >>> make_room_for_programs()
    False
    """
    try:
        most = int(MOST_MAPPINGS.read_text(encoding="ascii"))
        with MAPPINGS.open("rb") as lines:
            used = sum(1 for _ in lines)
    except (OSError, ValueError):  # a system that is not Linux
        return False
    if used <= part * most:
        return False
    import jax

    logger.info("%d of %d mappings of memory are in use: JAX's compiled programs are forgotten", used, most)
    jax.clear_caches()
    return True
