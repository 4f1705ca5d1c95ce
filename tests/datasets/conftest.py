import gzip
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No test reaches the network, or the data of whoever runs it."""

    def refuse(*args, **kwargs):
        raise OSError("no network here")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.delenv("STPBNN_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def real_data():
    if not REAL.is_dir():
        pytest.skip(f"the real data are not there: {REAL}")
    return REAL


def idx_bytes(array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + bytes(array.ravel().tolist())


@pytest.fixture
def small_mnist(tmp_path):
    """Forty training and twenty test images of 4 x 4 pixels, in the folder mnist: arrays and folder."""
    rng = np.random.default_rng(7)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(256, size=(40, 4, 4)),
        "train-labels-idx1-ubyte": np.arange(40) % 10,
        "t10k-images-idx3-ubyte": rng.integers(256, size=(20, 4, 4)),
        "t10k-labels-idx1-ubyte": np.arange(20) // 2,
    }
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, array in arrays.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array), mtime=0))
    return (*arrays.values(), folder)


@pytest.fixture
def small_cifar(tmp_path):
    """The six files of the full set with four records each: records (24, 3073) and folder."""
    records = np.random.default_rng(8).integers(256, size=(24, 3073))
    records[:, 0] = np.arange(24) % 4
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for name, part in zip(names, np.split(records, 6), strict=True):
        (folder / name).write_bytes(bytes(part.ravel().tolist()))
    return records, folder
