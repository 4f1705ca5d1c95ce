import struct
from pathlib import Path

import numpy as np
import pytest

from stpbnn.datasets import idx_files

PATH = Path("some-file")
LABELS = struct.pack(">II3B", 0x801, 3, 5, 0, 9)
IMAGES = struct.pack(">IIII8B", 0x803, 2, 2, 2, *range(8))


def test_decode_reads_what_struct_packs():
    np.testing.assert_array_equal(idx_files.decode(LABELS, 1, PATH), [5, 0, 9])
    np.testing.assert_array_equal(idx_files.decode(IMAGES, 3, PATH), np.arange(8).reshape(2, 2, 2))


def test_encode_writes_what_struct_packs():
    assert idx_files.encode(np.array([5, 0, 9], np.uint8)) == LABELS
    assert idx_files.encode(np.arange(8, dtype=np.uint8).reshape(2, 2, 2)) == IMAGES


@pytest.mark.parametrize(
    ("data", "dimensions", "message"),
    [
        (b"", 1, "some-file is truncated: 0 bytes, its header alone has 8"),
        (IMAGES[:15], 3, "truncated: 15 bytes, its header alone has 16"),
        (IMAGES[:-1], 3, r"truncated: 23 bytes, expected 24 for the dimensions \(2, 2, 2\)"),
        (LABELS + b"\0", 1, "too long: 12 bytes, expected 11"),
        (IMAGES, 1, "magic number 0x00000803, expected 0x00000801"),
        (LABELS + bytes(8), 3, "magic number 0x00000801, expected 0x00000803"),
        (struct.pack(">II", 0x0D01, 0), 1, "magic number 0x00000d01"),
    ],
)
def test_decode_refuses(data, dimensions, message):
    with pytest.raises(ValueError, match=message):
        idx_files.decode(data, dimensions, PATH)
