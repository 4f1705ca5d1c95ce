"""Files that cannot be read now are left alone, whatever keeps them; files whose content makes no sense are named."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stpbnn import files

DATA = xr.Dataset({"f": ("draw", np.arange(5.0))})

NO_LOCKS = r"""
#include <errno.h>
int flock(int file, int what) { errno = ENOLCK; return -1; }
"""
READ = """
import sys, h5py, xarray
from stpbnn.files import read_netcdf
try:
    h5py.File(sys.argv[1])
except OSError as error:
    print("lock" in str(error), end=" ")
print(read_netcdf(sys.argv[1], xarray.open_dataset)["f"].values.tolist())
"""


@pytest.fixture
def stored(tmp_path):
    files.write_netcdf(tmp_path / "a.nc", DATA)
    return tmp_path / "a.nc"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_a_file_system_without_locks_is_no_matter(stored, tmp_path):
    """The HDF5 library fails there with `flock`: No locks available."""
    (tmp_path / "shim.c").write_text(NO_LOCKS)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "shim.so", tmp_path / "shim.c"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "shim.so")}
    done = subprocess.run([sys.executable, "-c", READ, stored], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == f"True {DATA['f'].values.tolist()}", done.stderr


def test_a_file_that_another_process_holds_is_read(stored):
    with stored.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # a lock of an open file: another descriptor is as good as another process
        with pytest.raises(OSError, match="lock"):
            xr.open_dataset(stored, engine="h5netcdf")
        xr.testing.assert_identical(files.read_netcdf(stored, xr.open_dataset), DATA)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.EIO, errno.ENOLCK])
def test_what_the_system_says_is_said_and_no_file_is_called_damaged(stored, number, monkeypatch):
    def refuse(*arguments, **more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("io.open", refuse)  # the system's answer, which cannot be had from a file at will
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        files.read_netcdf(stored, xr.open_dataset)
    assert caught.value.errno == number
    assert caught.value.filename == str(stored)
    assert "remove" not in str(caught.value)


def test_a_folder_in_the_place_of_a_file_is_no_damage(tmp_path):
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        files.read_netcdf(tmp_path, xr.open_dataset)


@pytest.mark.parametrize("spoilt", [b"", b"hello", 20, 200, 3000])
def test_content_that_makes_no_sense_is_damage(stored, spoilt):
    """No byte, text, and a file that was cut off in several places."""
    stored.write_bytes(stored.read_bytes()[:spoilt] if isinstance(spoilt, int) else spoilt)
    with pytest.raises(files.DamagedError, match=r"a.nc: cannot be read \(.*\); remove it and make it again"):
        files.read_netcdf(stored, xr.open_dataset)


@pytest.fixture
def dead():
    """The number of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_what_dead_processes_have_left_is_removed_and_nothing_else(tmp_path, dead):
    here, old = os.uname().nodename, time.time() - 30 * 86400
    kept = [f".a.nc.{here}.{os.getppid()}.part", f".a.nc.elsewhere.{dead}.part", ".a.nc.part", "thesis.part"]
    gone = [f".a.nc.{here}.{dead}.part", f".b.html.{here}.{dead}.part", f".a.nc.elsewhere.{dead + 1}.part"]
    for name in kept + gone:
        (tmp_path / name).write_text("torn")
    for name in (gone[-1], kept[-1], kept[-2]):
        os.utime(tmp_path / name, (old, old))
    files.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    (tmp_path / gone[0]).write_text("torn")
    files.write_text(tmp_path / "a.nc", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "a.nc"])


def test_long_names_are_written_or_refused_in_one_line(tmp_path):
    longest = "é" * 125 + ".html"  # 255 bytes
    files.write_text(files.destination("path", tmp_path / longest), "whole")
    assert [path.name for path in tmp_path.iterdir()] == [longest]
    for path, message in [
        (tmp_path / ("a" * 300), r"path: got the name 'a+…a+' of 300 bytes, expected at most 255"),
        (tmp_path, "which is a folder"),
        (tmp_path / "none" / "a.html", "there is no folder"),
        (None, "got None, expected the path of a file"),
        ("", "expected the path of a file"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            files.destination("path", path)
        assert "\n" not in str(caught.value)
    assert [path.name for path in Path(tmp_path).iterdir()] == [longest]
