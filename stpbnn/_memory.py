"""How much memory this process may use: what needs more is refused at the door."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["available", "fits", "in_words", "refuse_beyond"]

MOST = 0.9  # share of the free memory that one call may take
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
MEMINFO, MEMBERSHIP, GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available() -> int:
    """Return the bytes of memory that this process may still use: what is free, within the limits of its job.

    On Linux free memory is what the system offers without swapping; limits are those of containers and batch systems
    (control groups) and of `ulimit -v`. Elsewhere it is the physical memory, and where the system does not tell even
    that, the largest number of the machine.

    Examples
    --------
    >>> available() > 2**20
    True
    """
    return min((sys.maxsize, *_free(), *_of_groups(), *_of_addresses()))


def fits(needed: int) -> bool:
    """Return whether there is memory for so many bytes, with some to spare.

    Examples
    --------
    >>> fits(2**10), fits(2**60)
    (True, False)
    """
    return needed <= MOST * available()


def in_words(size: int) -> str:
    """Return a number of bytes in words.

    Examples
    --------
    >>> in_words(3 * 2**29), in_words(700), in_words(10**30)
    ('1.5 GiB', '700 bytes', 'more than 1024 EiB')
    """
    for power, unit in enumerate(UNITS):
        if size < 1024 ** (power + 1):
            amount = size / 1024**power
            return f"{amount:.{0 if power == 0 or amount >= 100 else 2 if amount < 1 else 1}f} {unit}"
    return f"more than 1024 {UNITS[-1]}"


def refuse_beyond(needed: int, what: str, remedy: str) -> None:
    """Refuse what needs more memory than there is, or nearly all of it, with both sizes.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        The argument with its value, and what of it takes the memory, in the plural: "widths: got (10000000000,), whose
        weights".
    remedy : str
        What to do instead: "take fewer units".

    Raises
    ------
    ValueError
        If it is too much.

    Examples
    --------
    >>> refuse_beyond(2**60, "widths: got (9**18,), whose weights", "take fewer units")
    Traceback (most recent call last):
    ValueError: widths: got (9**18,), whose weights take about 1.0 EiB, and ... are free here; take fewer units
    """
    free = available()
    if needed > MOST * free:
        size = in_words(needed)
        about = "" if size.startswith("more") else "about "
        raise ValueError(f"{what} take {about}{size}, and {in_words(free)} of memory are free here; {remedy}")


def _free() -> Iterator[int]:
    """Yield the memory that is free, or all of it."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        yield next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):  # a system that is not Linux
        try:
            yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return


def _of_groups() -> Iterator[int]:
    """Yield the limits of the control groups of this process, in both versions of their interface."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (GROUPS / "memory", "memory.limit_in_bytes") if controllers else (GROUPS, "memory.max")
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(root):
                break
            try:
                yield int((group / name).read_text(encoding="ascii"))
            except (OSError, ValueError):  # no file there, or "max"
                continue


def _of_addresses() -> Iterator[int]:
    """Yield the limit of the address space, where there is one."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit
