"""Image sets of four IDX files: MNIST, downloaded where there is none of it, and those that are laid out like it.

An IDX file has a magic number, its dimensions, then unsigned bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpbnn.datasets import data_folder
from stpbnn.datasets.task_arrays import Table

__all__ = [
    "EMNIST_BALANCED",
    "EMNIST_DIGITS",
    "EMNIST_LETTERS",
    "FASHION",
    "KUZUSHIJI",
    "MNIST",
    "IdxSet",
    "decode",
    "encode",
    "read_mnist",
]


@dataclass(frozen=True)
class IdxSet:
    """Where the four files of a set may lie, how they may be called, and which labels they hold.

    Parameters
    ----------
    folders : tuple of str
        Folders below the folder of the data, such as those of torchvision.
    word : str
        The files may also lie in the folder itself where its path has this word; "" where no other set has their names.
    parts : (str, str)
        What the names of training and test files begin with.
    largest : int
        The largest label.
    published : mapping
        Size in bytes and MD5 of published files, by name.
    """

    folders: tuple[str, ...]
    word: str = ""
    parts: tuple[str, str] = ("train", "t10k")
    largest: int = 9
    published: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The usual names of the files: images and labels of the training set, then of the test set."""
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        return [f"{part}-{kind}" for part in self.parts for kind in kinds]

    def places(self, home: Path) -> list[Path]:
        """Return the folders where the files are looked for."""
        own = [home, home / "raw"] if self.word in str(home).casefold() else []
        return [*(home / folder for folder in self.folders), *own]

    def find(self, home: Path) -> list[Path] | None:
        """Return the four files, training images first, or None."""
        return data_folder.find(self.places(home), [spellings(name) for name in self.names])

    def lacking(self, home: Path) -> str:
        """Return a message: which files were sought, and where."""
        return data_folder.lacking(self.places(home), [spellings(name) for name in self.names])

    def read(self, home: Path) -> tuple[Table, Table]:
        """Return the training and the test file: images (P, side, side) of 0 to 255, labels (P,).

        Parameters
        ----------
        home : Path
            The folder of the files, or one above it.

        Raises
        ------
        ValueError
            If a file is absent or damaged, or does not go with the others.
        """
        if (paths := self.find(home)) is None:
            raise ValueError(
                f"{self.lacking(home)} They are not downloaded: put them into one of these folders, or name theirs "
                "with data_home or the environment variable STPBNN_DATA."
            )
        return self.read_files(paths)

    def read_files(self, paths: list[Path]) -> tuple[Table, Table]:
        """Return the training and the test file."""
        train, test = self._pair(*paths[:2]), self._pair(*paths[2:])
        if train.inputs.shape[1:] != test.inputs.shape[1:]:
            raise ValueError(
                f"{paths[0]} and {paths[2]} do not go together: images of {train.inputs.shape[1:]} and "
                f"{test.inputs.shape[1:]} pixels. Take both from the same set."
            )
        return train, test

    def _pair(self, images_path: Path, labels_path: Path) -> Table:
        images = decode(data_folder.read(images_path, self.published.get(images_path.name)), 3, images_path)
        labels = decode(data_folder.read(labels_path, self.published.get(labels_path.name)), 1, labels_path)
        if images.shape[1] != images.shape[2]:
            raise ValueError(
                f"{images_path} holds images of {images.shape[1:]} pixels; expected square ones, such as 28 x 28."
            )
        if not images.size:
            raise ValueError(
                f"{images_path} holds {len(images)} images of {images.shape[1:]} pixels; expected some of both. "
                "Fetch it again."
            )
        if len(images) != len(labels):
            raise ValueError(
                f"{images_path} holds {len(images)} images and {labels_path} {len(labels)} labels; expected as many of "
                "both. Take both from the same set."
            )
        if labels.max(initial=0) > self.largest:
            raise ValueError(
                f"{labels_path} holds the label {labels.max()}; expected 0 to {self.largest}. Fetch it again, or load "
                "it by the name of its set, such as emnist_letters."
            )
        return Table(images, labels)


def spellings(name: str) -> tuple[str, ...]:
    """Return how a file may be called: with a dash or a dot, or in a folder of its own name, as archives unpack.

    Examples
    --------
    >>> spellings("train-labels-idx1-ubyte")[:2]
    ('train-labels-idx1-ubyte', 'train-labels.idx1-ubyte')
    """
    dotted = name.replace("-idx", ".idx")
    both = (name, dotted, name.replace("t10k", "test"), dotted.replace("t10k", "test"))
    return tuple(dict.fromkeys((*both, *(f"{one}/{other}" for one in both[:2] for other in both[:2]))))


def _emnist(split: str, largest: int) -> IdxSet:
    folders = ("EMNIST/raw", "EMNIST", "emnist", "emnist/gzip", "gzip", "raw")
    return IdxSet(folders, parts=(f"emnist-{split}-train", f"emnist-{split}-test"), largest=largest)


FASHION = IdxSet(("FashionMNIST/raw", "FashionMNIST", "fashion_mnist", "fashion-mnist", "fashion"), "fashion")
KUZUSHIJI = IdxSet(("KMNIST/raw", "KMNIST", "kmnist"), "kmnist")
EMNIST_BALANCED, EMNIST_LETTERS, EMNIST_DIGITS = _emnist("balanced", 46), _emnist("letters", 26), _emnist("digits", 9)


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


PUBLISHED = {  # size in bytes and MD5
    "train-images-idx3-ubyte.gz": (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": (1648877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
}
MNIST = IdxSet(("mnist", "MNIST/raw", "MNIST", "mnist/raw"), published=PUBLISHED)


def read_mnist(home: Path) -> tuple[Table, Table]:
    """Return the training and the test file: images (P, side, side) of 0 to 255, labels (P,).

    Parameters
    ----------
    home : Path
        The folder of the four files, or the one above their folder ``mnist`` or ``MNIST/raw``. Where there are none at
        all, they are downloaded; files that are there are never replaced.

    Returns
    -------
    (Table, Table)
        Training and test file.

    Raises
    ------
    ValueError
        If files are absent and cannot be downloaded, or one is damaged, or does not go with the others.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
    Proceedings of the IEEE 86, 2278 (1998).
    """
    return MNIST.read_files(MNIST.find(home) or _download(home))


def _download(home: Path) -> list[Path]:
    missing = MNIST.lacking(home)
    data_folder.refuse_some(missing)
    images, labels = data_folder.fetch("mnist_784", 70_000, 784, missing)
    images = images.reshape(-1, 28, 28)
    paths = [home / "mnist" / name for name in MNIST.names]
    # the table is the training file followed by the test file
    parts = (images[:60_000], labels[:60_000], images[60_000:], labels[60_000:])
    data_folder.write_new({path: encode(part) for path, part in zip(paths, parts, strict=True)})
    return paths
