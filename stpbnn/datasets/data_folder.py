"""Finding, reading and writing whole data files."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stpbnn._validation import shown
from stpbnn.files import written_whole


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
    """Say which files were looked for, where, and which of them is all that a folder lacks."""
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
