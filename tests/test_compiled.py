"""Compiled programs are kept between commands, where nobody asked for something else."""

import os
import subprocess
import sys

import pytest

from stpbnn import _backend

THEORY = ["theory", "smoke-1hl-linear", "--set", "theories.names=['infinite']", "--set"]


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """A home of its own, and an environment that asks nothing."""
    for name in _backend.ASKED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".cache" / "stpbnn" / "compiled"


def test_a_command_leaves_programs_and_the_next_one_makes_none(alone):
    words = [sys.executable, "-m", "stpbnn", *THEORY, "network.activation=erf"]
    outputs, kept = [], []
    for _ in range(2):
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        outputs.append(done.stdout)
        kept.append({path.name: path.stat().st_mtime_ns for path in alone.glob("*/*-cache")})
    assert kept[0]
    assert kept[0] == kept[1]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(("name", "value"), [("JAX_COMPILATION_CACHE_DIR", "x"), ("JAX_ENABLE_COMPILATION_CACHE", "0")])
def test_the_environment_comes_first(alone, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    before = dict(os.environ)
    _backend.keep_compiled()
    assert dict(os.environ) == before
    assert not alone.exists()


def test_a_home_that_cannot_be_written_is_left_alone(alone, monkeypatch):
    alone.parents[1].write_text("a file in its place")
    before = dict(os.environ)
    _backend.keep_compiled()
    assert dict(os.environ) == before


def test_the_oldest_programs_go_first(alone, monkeypatch):
    monkeypatch.setattr(_backend, "LARGEST", 25)
    folder = alone / _backend._processor()
    folder.mkdir(parents=True)
    for age, name in enumerate(("new-cache", "old-cache", "older-cache")):
        (folder / name).write_bytes(b"0123456789")
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    _backend.keep_compiled()
    assert sorted(path.name for path in folder.iterdir()) == ["new-cache", "old-cache"]
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder)
