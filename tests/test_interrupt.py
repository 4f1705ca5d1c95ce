"""Ctrl-C at several moments: it is never lost, and the command line ends with 130 and one line."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stpbnn import _interrupt

LINE = "stpbnn: interrupted; `stpbnn run` and `stpbnn sweep` go on from what is finished\n"
FOREGROUND = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def ends(program, *arguments):
    """Run a program in a process of its own; return its exit status, output and errors."""
    command = [sys.executable, "-c", FOREGROUND + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


SWALLOWED = """
import os
from stpbnn import _interrupt, cli

class Noisy:
    def __del__(self):  # an exception in here is printed and forgotten, as in a callback of a compiled program
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))

def busy(*arguments, **options):
    with cli.exit_when_interrupted():
        Noisy()
        _interrupt.look()
        print("went on", flush=True)

cli.app = busy
cli.main()
"""


def test_ctrl_c_where_python_forgets_exceptions_is_not_lost():
    assert ends(SWALLOWED) == (130, "", LINE)


WHILE_IMPORTED = """
import builtins, os, sys
bring = builtins.__import__

def interrupted(name, *more):
    if name == {module!r}:
        builtins.__import__ = bring
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))
    return bring(name, *more)

builtins.__import__ = interrupted
from stpbnn.__main__ import main
sys.argv = ["stpbnn", "run", "smoke-1hl-linear", "-o", sys.argv[1]]
main()
"""


@pytest.mark.parametrize("module", ["signal", "typer", "pydantic"])
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path, module):
    assert ends(WHILE_IMPORTED.format(module=module), str(tmp_path / "run")) == (130, "", LINE)
    assert not list(tmp_path.iterdir())


TWICE = """
import hashlib
from stpbnn import cli

def deaf(*arguments, **options):
    with cli.exit_when_interrupted():
        print("begun", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # for minutes, in which Python handles no signal

cli.GRACE = 1e6
cli.app = deaf
cli.main()
"""


def test_a_second_ctrl_c_ends_at_once():
    with subprocess.Popen(
        [sys.executable, "-c", FOREGROUND + TWICE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout.readline() == "begun\n"
            run.send_signal(signal.SIGINT)
            time.sleep(0.2)
            assert run.poll() is None
            run.send_signal(signal.SIGINT)
            assert run.communicate(timeout=60)[1] == LINE
        finally:
            run.kill()
    assert run.returncode == 130


def test_the_first_is_noted_the_second_goes_to_the_handler_before_and_that_comes_back():
    before, told = signal.getsignal(signal.SIGINT), []
    signal.signal(signal.SIGINT, lambda *_: told.append("before"))
    mine = signal.getsignal(signal.SIGINT)
    try:
        with _interrupt.Noted():
            ctrl_c()
            assert told == []
            with _interrupt.Noted(), pytest.raises(KeyboardInterrupt):
                _interrupt.look()
            ctrl_c()
            assert told == ["before"]
        assert signal.getsignal(signal.SIGINT) is mine
        with _interrupt.Noted():
            ctrl_c()  # and nobody looks
        assert told == ["before"] * 2
    finally:
        signal.signal(signal.SIGINT, before)
    _interrupt.look()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_where_ctrl_c_is_not_pythons_it_stays_as_it_is(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with _interrupt.Noted():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_sampling_outside_of_the_main_thread_changes_no_handler():
    before, seen = signal.getsignal(signal.SIGINT), []

    def sampled():
        with _interrupt.Noted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=sampled)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.long
def test_twenty_real_runs_end_with_130_whenever_ctrl_c_comes(tmp_path):
    """From the first moments of the imports to the chains."""
    program = [
        Path(sys.executable).with_name("stpbnn"),
        "run",
        "smoke-1hl-linear",
        "-q",
        "--set",
        "sampler.draws=200000",
    ]
    for i in range(20):
        run = subprocess.Popen(
            [sys.executable, "-c", "import os, sys, signal; signal.signal(signal.SIGINT, signal.SIG_DFL);"
             "os.execv(sys.argv[1], sys.argv[1:])", *program, "-o", str(tmp_path / str(i))],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(0.3 + i)
        run.send_signal(signal.SIGINT)
        shown = run.communicate(timeout=60)[1]
        assert (run.returncode, shown.splitlines(keepends=True)[-1]) == (130, LINE)
