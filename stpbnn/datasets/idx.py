"""The IDX format of MNIST: a magic number, the dimensions, then unsigned bytes."""

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTES = 0x800  # third byte of the magic number: the type; fourth: the number of dimensions


def decode(data: bytes, dimensions: int, path: Path) -> NDArray[np.uint8]:
    """Return the array in the bytes of an IDX file.

    Parameters
    ----------
    data : bytes
        The unpacked content of the file.
    dimensions : int
        The number of dimensions expected: 3 for images, 1 for labels.
    path : Path
        The file, for messages.

    Returns
    -------
    ndarray of uint8
        As many dimensions as expected.

    Raises
    ------
    ValueError
        If the magic number or the length is not the one expected.

    Examples
    --------
    >>> decode(encode(np.array([7, 2], np.uint8)), 1, Path("labels"))
    array([7, 2], dtype=uint8)
    """
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise ValueError(f"{path} is truncated: {len(data)} bytes, its header alone has {header}. Fetch it again.")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", data[:header])
    expected = _UNSIGNED_BYTES + dimensions
    if magic != expected:
        raise ValueError(
            f"{path} is not the IDX file expected: magic number 0x{magic:08x}, expected 0x{expected:08x} "
            f"(unsigned bytes in {dimensions} dimensions). Check that images and labels are not exchanged."
        )
    length = header + math.prod(shape)
    if len(data) != length:
        raise ValueError(
            f"{path} is {'truncated' if len(data) < length else 'too long'}: {len(data)} bytes, expected {length} "
            f"for the dimensions {tuple(shape)} in its header. Fetch it again."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def encode(array: NDArray[np.uint8]) -> bytes:
    """Return the bytes of the IDX file that holds an array of unsigned bytes."""
    return struct.pack(f">{1 + array.ndim}I", _UNSIGNED_BYTES + array.ndim, *array.shape) + array.tobytes()
