"""Files that appear whole, under a temporary name first and then renamed; and those that cannot be read."""

from __future__ import annotations

import io
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DamagedError", "write_netcdf", "write_text", "written_whole"]


class DamagedError(ValueError):
    """A file or a folder that cannot be read; `path` says which."""

    def __init__(self, path: Path, reason: object, remedy: str) -> None:
        super().__init__(f"{path}: cannot be read ({reason}); {remedy}")
        self.path = path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` at the end; on any error nothing remains of it.

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
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.part")
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


def _locked_here() -> AbstractContextManager[Any]:
    """Have xarray take a lock of this process: in a task of Dask it would ask the cluster for one."""
    if "distributed" not in sys.modules:
        return nullcontext()
    import dask

    return dask.config.set(scheduler="threads")
