"""What JAX compiles for one command, kept for the next."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

__all__ = ["keep_compiled"]

HOME = "~/.cache/stpbnn/compiled"
LARGEST = 2**28  # bytes
ASKED = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


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
