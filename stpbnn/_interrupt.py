"""Ctrl-C as a flag, looked at where work can stop, in place of an exception at any line.

Python raises KeyboardInterrupt wherever it happens to be. In a callback of a compiled program, or while a garbage
collector runs, it is printed and forgotten, and the work goes on. A flag is not forgotten.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # that of typing: this is imported before Ctrl-C is heeded, and so imports next to nothing

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn

__all__ = ["Noted", "leave", "leave_at_once", "look"]

INTERRUPTED = 130
MESSAGE = "stpbnn: interrupted; `stpbnn run` and `stpbnn sweep` go on from what is finished\n"


class Interruption:
    """A handler that notes the first Ctrl-C, and leaves the second to the previous handler."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self.before = before
        self.wanted = self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self.wanted:
            self.before(number, frame)
        self.wanted = True


class Noted:
    """A context in which a first Ctrl-C is noted for `look`, and a second one goes to the previous handler.

    Nothing changes outside of the main thread, or where Ctrl-C is ignored, or ends the process without Python, or is
    noted already. A Ctrl-C that nobody has looked at is passed on in the end.
    """

    def __enter__(self) -> None:
        import threading

        before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        self.handler = None
        if main and callable(before) and not isinstance(before, Interruption):
            self.handler = Interruption(before)
            signal.signal(signal.SIGINT, self.handler)

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self.handler is None:
            return
        signal.signal(signal.SIGINT, self.handler.before)
        if kind is None and self.handler.wanted and not self.handler.seen:
            self.handler.before(signal.SIGINT, None)


def look() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed inside of `Noted`."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interruption) and handler.wanted:
        handler.seen = True
        raise KeyboardInterrupt


def leave(*_: Any) -> NoReturn:
    """Say that the command was interrupted, and go: an ordinary exit would wait for JAX to finish the chains."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(2, MESSAGE.encode())
    except (OSError, RuntimeError, AttributeError):  # no stream, or this has interrupted a write to it
        pass
    os._exit(INTERRUPTED)


def leave_at_once() -> None:
    """Let Ctrl-C end this process at once: for a command with nothing to tidy up, such as one being imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
