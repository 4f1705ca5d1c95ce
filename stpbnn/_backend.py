"""What JAX runs on: its first device, and programs compiled for it, in limited numbers in memory and on disk."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax

__all__ = ["first_device", "keep_compiled", "make_room_for_programs"]

logger = logging.getLogger(__name__)

MAPPINGS, MOST_MAPPINGS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
HOME = "~/.cache/stpbnn/compiled"
LARGEST = 2**28  # bytes
ASKED = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


def first_device() -> jax.Device:
    """Return JAX's first device.

    Raises
    ------
    RuntimeError
        If JAX finds none, with what it says; it may say nothing, with a bare AssertionError.
    """
    import jax

    try:
        return jax.devices()[0]
    except (RuntimeError, AssertionError) as error:
        said = next(iter(str(error).splitlines()), "no backend could be started")
        raise RuntimeError(
            f"JAX finds no device for JAX_PLATFORMS={jax.config.jax_platforms!r}: {said}; unset JAX_PLATFORMS, or set "
            "it to 'cpu'"
        ) from error


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


def keep_compiled() -> None:
    """Let JAX keep compiled programs in a folder of this kind of processor, where the environment asks nothing else.

    Compiling is half of the time of a small run. The oldest programs go when the folder holds more than 256 MiB; a home
    that cannot be written is left alone. To be called before JAX is loaded.
    """
    if any(name in os.environ for name in ASKED):
        return
    folder = Path(HOME).expanduser() / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _prune(folder, LARGEST)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def _processor() -> str:
    """Return a name for the instructions that this processor has: machines that share a home may differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        told = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        told = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _prune(folder: Path, largest: int) -> None:
    """Remove the oldest files of a folder until it holds at most so many bytes; another process may do the same."""
    files = sorted(
        ((path.stat(), path) for path in folder.iterdir() if path.is_file()), key=lambda one: one[0].st_mtime
    )
    total = sum(stat.st_size for stat, _ in files)
    for stat, path in files:
        if total <= largest:
            break
        path.unlink(missing_ok=True)
        total -= stat.st_size
