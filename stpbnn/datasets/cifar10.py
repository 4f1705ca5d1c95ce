"""CIFAR-10 from files in its binary layout: records of a label byte and 3072 bytes, red, green and blue planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stpbnn.datasets import data_folder
from stpbnn.datasets.task_arrays import Table

PYTHON = "cifar-10-batches-py"
RECORD = 1 + 3 * 32 * 32
FULL = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
PICKLES = ["data_batch_1", "test_batch"]  # files of the version for Python
TWO_CLASSES = ["cifar10_airplane_automobile_train.bin", "cifar10_airplane_automobile_test.bin"]


def find(home: Path) -> list[Path] | None:
    """Return the files of the full set, or else those restricted to classes 0 and 1, the test file last, or None."""
    return data_folder.find(_folders(home), FULL) or data_folder.find(_folders(home), TWO_CLASSES)


def read(home: Path) -> tuple[Table, Table]:
    """Return the training and the test set: images (P, 3, 32, 32) of 0 to 255, labels (P,).

    Parameters
    ----------
    home : Path
        The folder of the files, or one above their folder ``cifar10`` or ``cifar-10-batches-bin``. The full set goes
        before the files with the classes 0 (airplane) and 1 (automobile) only. Where there are none at all, they are
        downloaded; files that are there are never replaced.

    Returns
    -------
    (Table, Table)
        Training and test set, in the order of the files.

    Raises
    ------
    ValueError
        If files are absent and cannot be downloaded, or are damaged.

    References
    ----------
    A. Krizhevsky, Learning multiple layers of features from tiny images, technical report (2009).
    """
    *train, test = find(home) or _download(home)
    parts = [_read_file(path) for path in train]
    return Table(*(np.concatenate(columns) for columns in zip(*parts, strict=True))), _read_file(test)


def _folders(home: Path) -> list[Path]:
    batches = "cifar-10-batches-bin"
    return [home / "cifar10", home / "cifar10" / batches, home / batches, home]


def _read_file(path: Path) -> Table:
    data = data_folder.read(path)
    if not data or len(data) % RECORD:
        raise ValueError(f"{path} has {len(data)} bytes; expected a multiple of {RECORD}, the record. Fetch it again.")
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0]
    if labels.max() > 9:
        raise ValueError(
            f"{path} holds the label byte {labels.max()} in record {labels.argmax()}; expected 0 to 9. Check that it "
            "is the binary version of CIFAR-10."
        )
    return Table(records[:, 1:].reshape(-1, 3, 32, 32), labels)


def _download(home: Path) -> list[Path]:
    missing = data_folder.lacking(_folders(home), FULL)
    missing += f" For the two classes 0 and 1, {' and '.join(TWO_CLASSES)} would do."
    data_folder.refuse_some(missing + data_folder.lacking(_folders(home), TWO_CLASSES))
    if pickles := data_folder.find([*_folders(home), home / PYTHON, home / "cifar10" / PYTHON], PICKLES):
        raise ValueError(
            f"{pickles[0]} is of CIFAR-10 for Python, whose pickles are not read: they can run any code. "
            "Fetch cifar-10-binary.tar.gz from the same page, or convert it as docs/your-data.md does."
        )
    pixels, labels = data_folder.fetch("CIFAR_10", 60_000, RECORD - 1, missing)
    if (np.bincount(labels[:50_000], minlength=10) != 5_000).any():
        raise ValueError(
            f"{missing} The download of CIFAR_10 does not begin with the training set: expected 5000 images of each "
            "class among its first 50000. Put the files into one of these folders by hand."
        )
    records = np.column_stack([labels, pixels])
    paths = [home / "cifar10" / name for name in FULL]
    data_folder.write_new({path: batch.tobytes() for path, batch in zip(paths, np.split(records, 6), strict=True)})
    return paths
