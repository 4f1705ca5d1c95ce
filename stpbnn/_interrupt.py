"""Ctrl-C as a wish: a flag that is looked at where work can stop, in place of an exception at any line.

Python raises KeyboardInterrupt wherever it happens to be. In a callback of a compiled program, or while a garbage
collector runs, it is printed and forgotten, and the work goes on. A flag is not forgotten.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

TYPE_CHECKING = False  # that of typing: this is imported before Ctrl-C is heeded, and so imports little

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any, NoReturn

__all__ = ["leave", "leave_at_once", "look", "noted"]

INTERRUPTED = 130
MESSAGE = "stpbnn: interrupted; `stpbnn run` and `stpbnn sweep` go on from what is finished\n"


class Interruption:
    """A handler that notes the first Ctrl-C, and leaves the second to the handler that was there before."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self.before = before
        self.wanted = self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self.wanted:
            self.before(number, frame)
        self.wanted = True


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Note a first Ctrl-C for `look`, and leave a second one to the handler that was there before.

    Nothing changes outside of the main thread, or where Ctrl-C is ignored, or ends the process without Python. A wish
    that nobody has looked at is passed on in the end.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    if isinstance(before, Interruption):  # noted already
        yield
        return
    handler = Interruption(before)
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if handler.wanted and not handler.seen:
        before(signal.SIGINT, None)


def look() -> None:
    """Raise KeyboardInterrupt if there was a Ctrl-C inside of `noted`."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interruption) and handler.wanted:
        handler.seen = True
        raise KeyboardInterrupt


def leave(*_: Any) -> NoReturn:
    """Say that the command was interrupted, and go: an ordinary exit would wait for JAX to finish the chains."""
    with contextlib.suppress(Exception):  # a handler may have interrupted a write to the same stream
        sys.stdout.flush()
        sys.stderr.flush()
    with contextlib.suppress(OSError):
        os.write(2, MESSAGE.encode())
    os._exit(INTERRUPTED)


def leave_at_once() -> None:
    """Have Ctrl-C end this process at once: for a command that has nothing to tidy up, as while it is imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
