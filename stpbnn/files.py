"""Files that appear whole, under a temporary name first and then renamed; and those that cannot be read.

A file is damaged where its bytes can be had and make no sense. Where they cannot be had, for a permission, a stale
handle or a disk that fails, nothing is known of them: that is an OSError, and the file is left alone.
"""

from __future__ import annotations

import glob
import io
import os
import platform
import re
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from stpbnn import _validation as check

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "DAMAGE",
    "DamagedError",
    "destination",
    "is_leftover",
    "read_bytes",
    "read_netcdf",
    "refuse_long_names",
    "remove_leftovers",
    "temporary_of",
    "write_netcdf",
    "write_text",
    "written_whole",
]

DAMAGE = (  # what readers raise for bytes that make no sense
    *(AttributeError, EOFError, KeyError, IndexError, NotImplementedError, OSError, RuntimeError, TypeError),
    *(ValueError, BadZipFile, zlib.error),
)
LONGEST = 255  # bytes of a file's name
VERY_OLD = 7 * 86400.0  # seconds


class DamagedError(ValueError):
    """A file or a folder whose content makes no sense; `path` says which, and `reason` why."""

    def __init__(self, path: Path, reason: object, remedy: str) -> None:
        super().__init__(f"{path}: cannot be read ({reason}); {remedy}")
        self.path, self.reason = path, reason


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` at the end; on any error nothing remains of it.

    Parameters
    ----------
    path : path
        The file that is to appear, or to be replaced. Its folder exists.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(f"{folder}/a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     Path(folder, "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    remove_leftovers(path.parent, path.name)
    temporary = temporary_of(path)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # on disk before it has its name, whatever stops the machine
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole, in UTF-8.

    Parameters
    ----------
    path : path
        The file; its folder exists.
    text : str
        Its content.
    """
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_netcdf(path: str | os.PathLike[str], data: xr.Dataset | xr.DataTree) -> None:
    """Write a NetCDF file whole.

    Parameters
    ----------
    path : path
        The file; its folder exists.
    data : xarray.Dataset or xarray.DataTree
        Its content.
    """
    image = io.BytesIO()  # in memory first: the HDF5 library does not survive a full disk
    with _locked_here():
        data.to_netcdf(image, engine="h5netcdf")
    with written_whole(path) as temporary:
        temporary.write_bytes(image.getvalue())


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file; no lock is asked for.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    OSError
        If they cannot be had: of the system's kind and number, with what to do.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unread(error, path) from None


def read_netcdf(
    path: str | os.PathLike[str], opened: Callable[..., Any], remedy: str = "remove it and make it again"
) -> Any:
    """Read a NetCDF file into memory, as a data set or as a tree of them.

    The HDF5 library is given the bytes: by itself it would ask for a lock, which some file systems do not have and
    other processes may hold.

    Parameters
    ----------
    path : path
        The file.
    opened : callable
        `xarray.open_dataset` or `xarray.open_datatree`.
    remedy : str
        What to do about a damaged file.

    Raises
    ------
    DamagedError
        If its content makes no sense.
    OSError
        If it cannot be read at all.
    """
    content = read_bytes(path)
    try:
        with opened(io.BytesIO(content), engine="h5netcdf") as data:
            return data.load()
    except DAMAGE as error:
        raise DamagedError(Path(path), error, remedy) from None


def destination(what: str, path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that is to be written; ValueError where it cannot be.

    Parameters
    ----------
    what : str
        The name of the argument, for the message.
    path : path
        A file in a folder that exists.

    Raises
    ------
    ValueError
        If it is no path, or a folder, or its name is too long, or its folder is not there.

    Examples
    --------
    >>> destination("path", "model.npz").name
    'model.npz'
    >>> destination("path", "nowhere/model.npz")
    Traceback (most recent call last):
    ValueError: path: got 'nowhere/model.npz', but there is no folder 'nowhere'; make it first, or give another path
    """
    text = check.path(what, path, "the path of a file")
    found = Path(text)
    refuse_long_names(what, found)
    if found.is_dir():
        raise ValueError(f"{what}: got {text!r}, which is a folder; give the name of a file in it")
    if not found.parent.is_dir():
        raise ValueError(
            f"{what}: got {text!r}, but there is no folder {str(found.parent)!r}; make it first, or give another path"
        )
    return found


def refuse_long_names(what: str, path: Path) -> None:
    """Refuse a path with a name that is longer than file systems allow."""
    for name in path.parts:
        if (size := len(os.fsencode(name))) > LONGEST:
            raise ValueError(
                f"{what}: got the name {name[:20] + '…' + name[-10:]!r} of {size} bytes, expected at most {LONGEST}; "
                "give a shorter one"
            )


def remove_leftovers(folder: str | os.PathLike[str], name: str = "") -> None:
    """Remove temporary files and folders of dead processes of this machine, and any others older than a week.

    Parameters
    ----------
    folder : path
        Where to look.
    name : str, optional
        The file that was written; by default any.
    """
    for path in Path(folder).glob(f".{glob.escape(name[:100])}*.part"):
        if _is_abandoned(path) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif _is_abandoned(path):
            path.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Return whether a file is the temporary one of some process, by its name.

    Examples
    --------
    >>> is_leftover(Path(".card.toml.here.12.part")), is_leftover(Path("card.toml"))
    (True, False)
    """
    return re.fullmatch(r"\..+\.\d+\.part", path.name) is not None


def temporary_of(path: Path) -> Path:
    """Return the temporary name of a file or folder: it says which process of which machine writes it."""
    tail = f".{platform.node()}.{os.getpid()}.part"
    kept = os.fsencode(path.name)[: LONGEST - 1 - len(os.fsencode(tail))].decode(errors="ignore")
    return path.with_name(f".{kept}{tail}")


def _is_abandoned(path: Path) -> bool:
    """Return whether nobody will go on with a temporary file."""
    written = re.fullmatch(rf"\..+\.{re.escape(platform.node())}\.(\d+)\.part", path.name)
    try:
        if written is not None and not _is_alive(int(written[1])):
            return True
        return is_leftover(path) and time.time() - path.stat().st_mtime > VERY_OLD
    except OSError:  # it has just got its name
        return False


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's process
        return True
    return True


def _unread(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """Return the error with what to do added; FileNotFoundError is returned as it is."""
    if isinstance(error, FileNotFoundError):
        return error
    reason = f"cannot be read now ({error.strerror or error}); it is left as it is: see to that, and call again"
    return OSError(error.errno, reason, os.fspath(path))


def _locked_here() -> AbstractContextManager[Any]:
    """Return a context in which xarray locks within this process; inside a Dask task it would ask the cluster."""
    if "distributed" not in sys.modules:
        return nullcontext()
    import dask

    return dask.config.set(scheduler="threads")
