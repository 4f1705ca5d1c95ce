"""The folder of the data: its files are found, read and written whole, or downloaded with scikit-learn's client."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import socket
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from stpbnn._validation import shown
from stpbnn.datasets.task_arrays import Table
from stpbnn.files import written_whole

if TYPE_CHECKING:
    import pandas as pd


def home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the data: the argument, else the variable ``STPBNN_DATA``, else ``~/.cache/stpbnn``."""
    if data_home is not None and not isinstance(data_home, str | os.PathLike):
        raise ValueError(f"data_home: got {shown(data_home)}, expected the path of a folder, or None")
    return Path(data_home or os.environ.get("STPBNN_DATA") or "~/.cache/stpbnn").expanduser()


type Name = str | Sequence[str]  # or the names that a file may have, the usual one first


def find(folders: Iterable[Path], names: Sequence[Name]) -> list[Path] | None:
    """Return the files of these names, plain or .gz, from the first folder that has them all; None if none has."""
    for folder in folders:
        paths = [path for name in names if (path := _plain_or_gzip(folder, name))]
        if len(paths) == len(names):
            return paths
    return None


def lacking(folders: Sequence[Path], names: Sequence[Name]) -> str:
    """Return a message: which files were sought, where, and which one is all that a folder lacks."""
    usual = [name if isinstance(name, str) else name[0] for name in names]
    text = f"Not together in one folder: {', '.join(usual)} (plain or .gz); looked in {', '.join(map(str, folders))}."
    for folder in folders:
        absent = [one for name, one in zip(names, usual, strict=True) if not _plain_or_gzip(folder, name)]
        if len(absent) < len(names):
            text += f" {folder} lacks only {', '.join(absent)}."
    return text


def refuse_some(missing: str) -> None:
    """Refuse to download a set of which somebody has some files, as `lacking` told.

    Parameters
    ----------
    missing : str
        What `lacking` returned.

    Raises
    ------
    ValueError
        If a folder has some of the files.
    """
    if " lacks only " in missing:
        raise ValueError(
            f"{missing} Nothing is downloaded where some files are there: add what is missing, or correct its name, or "
            "move the others away."
        )


def read(path: Path, published: tuple[int, str] | None = None) -> bytes:
    """Read a file whole, unpacked if its name ends in .gz.

    Parameters
    ----------
    path : Path
        The file.
    published : (int, str), optional
        Size in bytes and MD5 of the published file of this name. A file of this size must have this MD5; a file of
        any other size is somebody's own, and its structure speaks for it.

    Returns
    -------
    bytes
        The unpacked content.

    Raises
    ------
    ValueError
        If the file cannot be read or unpacked, or is a damaged copy of the published one.
    """
    try:
        data = path.read_bytes()
        if published is not None and len(data) == published[0]:
            _check_md5(path, data, published[1])
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}. Expected a whole file; fetch it again.") from error


def write_new(contents: Mapping[Path, bytes]) -> None:
    """Write files whole, and their folders if need be; ValueError if one of them is there already.

    Parameters
    ----------
    contents : mapping of Path to bytes
        The files.
    """
    if there := [path for path in contents if path.exists()]:
        raise ValueError(f"{there[0]} is there already and is not replaced; move it away, or name another folder.")
    for path, data in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_bytes(data)


def _plain_or_gzip(folder: Path, name: Name) -> Path | None:
    names = [name] if isinstance(name, str) else name
    return next((path for one in names for path in (folder / one, folder / f"{one}.gz") if path.is_file()), None)


def _check_md5(path: Path, data: bytes, expected: str) -> None:
    got = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if got != expected:
        raise ValueError(
            f"{path} has the name and the size of the published file, but MD5 {got} where {expected} is expected: "
            "the copy is damaged; fetch it again."
        )


WAIT = 15.0  # seconds without an answer before the network counts as absent

logger = logging.getLogger(__name__)


def fetch(name: str, rows: int, pixels: int, missing: str) -> Table:
    """Download an image set as one table of unsigned bytes.

    Parameters
    ----------
    name : str
        The set's name on OpenML; its version 1 is taken.
    rows, pixels : int
        The shape expected.
    missing : str
        Which files were looked for and where: begins the message when there is no download.

    Returns
    -------
    Table
        Inputs (rows, pixels) and targets (rows,), both uint8.

    Raises
    ------
    ValueError
        If the download fails or has another shape.
    """
    from sklearn.datasets import fetch_openml

    logger.info("downloading %s from OpenML", name)
    try:
        with _patience(WAIT), TemporaryDirectory() as cache:  # what is kept, the caller writes
            # the slower parser, because pandas 3.1 reads integer classes as scikit-learn 1.9's pandas parser cannot
            bunch = fetch_openml(
                name, version=1, data_home=cache, as_frame=False, parser="liac-arff", n_retries=1, delay=0.1
            )
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(
            f"{missing} The download of {name} through scikit-learn's OpenML client failed: {error}. Put the files "
            "into one of these folders, or name their folder with data_home or the environment variable STPBNN_DATA."
        ) from error
    inputs, targets = np.asarray(bunch.data), np.asarray(bunch.target).astype(np.int64)
    if inputs.shape != (rows, pixels) or targets.shape != (rows,) or targets.min() < 0 or targets.max() > 9:
        raise ValueError(
            f"{missing} The download of {name} is not the set expected: got inputs {inputs.shape} and targets "
            f"{targets.shape}, expected {(rows, pixels)} and {(rows,)} with classes 0 to 9. Put the files into one of "
            "these folders by hand."
        )
    return Table(inputs.astype(np.uint8), targets.astype(np.uint8))


def fetch_table(
    which: int | str, data_home: str | os.PathLike[str] | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a data set of OpenML and the names of its target columns; it is downloaded once.

    Parameters
    ----------
    which : int or str
        Its number, or its name, of which the active version is taken.
    data_home : path, optional
        Where downloads are kept, as in `load`.

    Raises
    ------
    ValueError
        If it cannot be had.
    """
    from sklearn.datasets import fetch_openml

    named = {"data_id": which} if isinstance(which, int) else {"name": which}
    try:
        with _patience(WAIT), warnings.catch_warnings():
            warnings.filterwarnings("error", "Multiple active versions")
            bunch = fetch_openml(
                **named, data_home=home(data_home), as_frame=True, parser="liac-arff", n_retries=1, delay=0.1
            )
    except UserWarning:
        raise ValueError(
            f"openml: got {which!r}, of which there are several versions; give the number of one"
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(
            f"openml: {which!r} cannot be had through scikit-learn ({' '.join(str(error).split())}); check the name "
            "and the network, or save it as CSV and give that as file"
        ) from None
    return bunch.frame.set_axis(np.arange(1, len(bunch.frame) + 1)), tuple(bunch.target_names)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let sockets opened inside wait this long and no longer, and failed attempts pass without a warning."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A network error occurred")
            yield
    finally:
        socket.setdefaulttimeout(before)
