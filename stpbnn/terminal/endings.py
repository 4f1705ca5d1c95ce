"""How a command ends: what it refuses as one line and exit code 2, Ctrl-C soon and with 130."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import typer

from stpbnn import _interrupt
from stpbnn._backend import first_device

__all__ = ["exit_when_interrupted", "refusals_in_one_line"]

logger = logging.getLogger("stpbnn")
GRACE = 2.0  # seconds


@contextlib.contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """Show warnings, and what the library refuses, in one line each; exit with 2 after a refusal, 130 after Ctrl-C."""
    _degrade()
    warnings.showwarning = _warn
    logging.basicConfig(format="stpbnn: %(message)s")
    logger.setLevel(logging.INFO)
    try:
        yield
    except typer.TyperException as error:  # a word of the command line that is not understood
        _fail(error.format_message())
    except ValueError as error:  # what the doors of the library refuse
        _fail(str(error))
    except OSError as error:  # a file that cannot be written
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (RuntimeError, AssertionError):
        try:
            first_device()
        except RuntimeError as missing:
            _fail(str(missing))
        raise
    except (KeyboardInterrupt, typer.Abort):
        _interrupt.leave()


@contextlib.contextmanager
def exit_when_interrupted(noted: bool = True) -> Iterator[None]:
    """Leave soon after Ctrl-C, even where Python waits for a compiled loop and does not see it; at once after a second.

    Where it is noted, Ctrl-C raises nothing: what is inside looks for it where it can stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def wait() -> None:
        with reader:
            while byte := reader.recv(1):  # nothing, once the writer is closed
                if byte == bytes([signal.SIGINT]):
                    break
            else:
                return
            reader.settimeout(GRACE)  # in which it may tidy up by itself
            with contextlib.suppress(TimeoutError):
                while byte := reader.recv(1):
                    if byte == bytes([signal.SIGINT]):
                        break
                else:
                    return
            _interrupt.leave()

    threading.Thread(target=wait, daemon=True).start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        with _interrupt.Noted() if noted else _raised():
            yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()


@contextlib.contextmanager
def _raised() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, unless it is ignored."""
    before = signal.getsignal(signal.SIGINT)
    if callable(before):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _degrade() -> None:
    """Show a question mark for what the terminal, or the encoding of a redirection, does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _fail(message: str) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    typer.echo(f"stpbnn: error: {message}", err=True)
    sys.exit(2)


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    """Show a warning in one line, without the line of code that gave it."""
    typer.echo(f"stpbnn: warning: {message}", err=True)
