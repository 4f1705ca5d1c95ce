"""Tables of one's own, from files of several formats: `read_table`."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stpbnn._memory import available, refuse_beyond
from stpbnn._validation import one_of, shown, text
from stpbnn._validation import path as check_path
from stpbnn.datasets import delimited
from stpbnn.files import DAMAGE, read_bytes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXTENSIONS", "TEST", "digest", "read_table"]

TEXT, ARRAYS = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data"), (".npz", ".npy")
EXTENSIONS = (*TEXT, ".parquet", *ARRAYS)
EXPECTED = f"expected {', '.join(EXTENSIONS)}, the texts also with .gz"
PACKED = (".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz")
SHEETS = (".xls", ".xlsx", ".xlsm", ".xlsb", ".ods", ".numbers")
EXPORT = "export the sheet as CSV and give that file"
FEWER = "give fewer rows or columns"
COPIES = 30  # bytes of memory that a byte of a text file takes
FOREIGN = (  # the first bytes of files of other kinds, whatever their names
    (b"PK\x03\x04", f"is an Excel workbook or another zip archive; {EXPORT}"),
    (b"\xd0\xcf\x11\xe0", f"is an Excel workbook of the old kind; {EXPORT}"),
    (b"PAR1", "is Parquet; name it .parquet"),
    (b"\x89HDF", "is HDF5; export it as CSV or as .npz"),
    (b"%PDF", "is a PDF document; expected a text table"),
    (b"\x93NUMPY", "is an array of NumPy; name it .npy"),
    (b"BZh", "is packed with bzip2; unpack it"),
    (b"\xfd7zXZ", "is packed with xz; unpack it"),
    (b"{", "is JSON; export it as CSV"),
    (b"[{", "is JSON; export it as CSV"),
    (b"<", "is a web page or XML; download the file itself"),
    (b"@relation", "is ARFF; give it as openml = NAME where it is from there, or export it as CSV"),
    (b"version https://git-lfs", "is a pointer of Git LFS; fetch the file itself, with `git lfs pull`"),
)


def read_table(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> pd.DataFrame:
    r"""Return the table in a file, of text, Parquet or arrays of NumPy; columns of numbers are float, others text.

    Parameters
    ----------
    path : path
        CSV, TSV and other text, also compressed (.gz); Parquet; .npz and .npy, of which arrays with one number a row
        are columns of their name, and others give columns name0, name1, ...
    separator, decimal, encoding : str, optional
        Settings of a text file, where its look does not tell them.

    Returns
    -------
    pandas.DataFrame
        Its index has the numbers of the lines of a text file, else those of the rows from 1.

    Raises
    ------
    ValueError
        If it cannot be read as a table; in one line that begins with the path and says what to do.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_text("area,kind\n120,house\n75,flat\n")
    ...     read_table(path)
        area   kind
    2  120.0  house
    3   75.0   flat
    """
    path = Path(check_path("path", path, "the path of a table")).expanduser()
    refuse_options(separator, decimal, encoding)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, expected a file in it: {EXPECTED[9:]}")
    if suffix in SHEETS:
        raise ValueError(f"{path}: is a workbook; {EXPORT}")
    if suffix in PACKED:
        raise ValueError(f"{path}: is packed; unpack it and give the file in it, or pack that alone as .gz")
    if suffix not in EXTENSIONS:
        raise ValueError(f"{path}: got the ending {suffix or 'of no format'!r}, {EXPECTED}; rename or export it")
    content = _content(path)
    try:
        if suffix == ".parquet":
            return _parquet(content)
        if suffix in ARRAYS:
            return _of_arrays(content, path.name.removesuffix(".gz"))
        for start, what in FOREIGN:
            if content[:64].lstrip().lower().startswith(start.lower()):
                raise ValueError(what)
        if separator is None and suffix in (".tsv", ".tab"):
            separator = "\t"
        return delimited.parse(content, separator, decimal, encoding)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def refuse_options(separator: object, decimal: object, encoding: object) -> None:
    """Refuse a separator, decimal sign or encoding that no text file has; None stands for the default."""
    if separator is not None and not (isinstance(separator, str) and len(separator) == 1 and separator not in '\r\n"'):
        raise ValueError(f'separator: got {shown(separator)}, expected one character, such as ";"')
    if decimal is not None:
        one_of("decimal", decimal, (".", ","))
    if encoding is not None:
        text("encoding", encoding)


def digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, which tells whether it has changed."""
    return hashlib.sha256(read_bytes(Path(path).expanduser())).hexdigest()


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked."""
    try:
        refuse_beyond(COPIES * path.stat().st_size, f"{path}: its rows", FEWER)
        content = read_bytes(path)
    except FileNotFoundError:
        there = [each.name for each in path.parent.glob("*")] if path.parent.is_dir() else []
        near = get_close_matches(path.name, there, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there is no such file in {path.parent}"
        raise ValueError(f"{path}: expected a file{hint}") from None
    if not content.startswith(b"\x1f\x8b"):
        return content
    most = available() // COPIES
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            unpacked = packed.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be unpacked ({error}); fetch it again") from None
    refuse_beyond(COPIES * len(unpacked), f"{path}: its rows", FEWER)
    return unpacked


def _parquet(content: bytes) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_parquet(io.BytesIO(content))
    except ImportError:
        raise ValueError(
            "is Parquet, which the package pyarrow reads: pip install 'stpbnn[parquet]'; or export it as CSV"
        ) from None
    except Exception as error:  # pyarrow's own, which are not at hand
        raise ValueError(f"is no Parquet that can be read ({shown(str(error))}); write it again") from None
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    return table.set_axis([str(name) for name in table.columns], axis=1).set_axis(np.arange(1, len(table) + 1))


TEST = "_test"  # ends the names of arrays with the rows of the test set
NAMES = {"Xt": "X_test", "yt": "y_test", "X_train": "X", "y_train": "y", "x_train": "x"}


def _of_arrays(content: bytes, name: str) -> pd.DataFrame:
    """Return the arrays of a file as columns: one of its own name for one number a row, else name0, name1, ...

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        Its name. The columns of an .npy file are x0, x1, ..., unless its array has names.

    Returns
    -------
    pandas.DataFrame
        Its index has the numbers of the rows from 1. Where an .npz file has arrays X_test and y_test (or Xt and yt)
        beside X and y, their rows follow, and a column "split" says which are which.

    Raises
    ------
    ValueError
        If it is damaged, holds pickles, or its arrays have different numbers of rows.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> np.savez(file, X=[[1.0, 2.0], [3.0, 4.0]], y=[5.0, 6.0])
    >>> _of_arrays(file.getvalue(), "a.npz")
        X0   X1    y
    1  1.0  2.0  5.0
    2  3.0  4.0  6.0
    """
    import pandas as pd

    arrays = _loaded(content)
    if not isinstance(arrays, dict):
        if arrays.dtype.names:
            arrays = {field: arrays[field] for field in arrays.dtype.names}
        elif arrays.ndim != 2:
            raise ValueError(f"got an array of shape {arrays.shape}, expected (rows, columns)")
        else:
            arrays = {"x": arrays}
    train = {NAMES.get(key, key): array for key, array in arrays.items()}
    test = {key.removesuffix(TEST): train.pop(key) for key in list(train) if key.endswith(TEST)}
    parts = [_frame(train)]
    if test:
        parts = [parts[0].assign(split="train"), _frame(test).assign(split="test")]
        if set(parts[0]) != set(parts[1]):
            raise ValueError(
                f"got the test arrays {', '.join(test)} beside {', '.join(train)}, expected the same names and columns"
            )
    whole = pd.concat(parts)
    return whole.set_axis(np.arange(1, len(whole) + 1))


def _loaded(content: bytes) -> Any:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {key: loaded[key] for key in loaded.files}
    except (*DAMAGE, MemoryError, OverflowError) as error:
        text = str(error)
        if "pickle" in text:
            raise ValueError(
                "holds Python objects (pickles), which are not read; save arrays of numbers or of text"
            ) from None
        raise ValueError(f"is no whole file of NumPy's ({shown(text)}); save it again") from None


def _frame(arrays: dict[str, NDArray]) -> pd.DataFrame:
    """Return arrays of the same number of rows side by side."""
    import pandas as pd

    rows = {key: len(array) if array.ndim else None for key, array in arrays.items()}
    if len(set(rows.values())) != 1 or None in rows.values():
        told = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "no arrays"
        raise ValueError(f"got {told}; expected arrays with as many rows each, such as X (rows, inputs) and y (rows,)")
    parts = []
    for key, array in arrays.items():
        flat = array.reshape(len(array), -1) if len(array) else array.reshape(0, max(1, array[:0].size))
        parts.append(
            pd.DataFrame(flat, columns=[key] if array.ndim == 1 else [f"{key}{i}" for i in range(flat.shape[1])])
        )
    return pd.concat(parts, axis=1)
