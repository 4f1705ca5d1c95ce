"""Image sets of four IDX files: MNIST, and those that are laid out like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stpbnn.datasets import files, idx
from stpbnn.datasets.tables import Table

__all__ = ["EMNIST_BALANCED", "EMNIST_DIGITS", "EMNIST_LETTERS", "FASHION", "KUZUSHIJI", "IdxSet"]


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
        return files.find(self.places(home), [spellings(name) for name in self.names])

    def lacking(self, home: Path) -> str:
        """Say which files were looked for, and where."""
        return files.lacking(self.places(home), [spellings(name) for name in self.names])

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
        images = idx.decode(files.read(images_path, self.published.get(images_path.name)), 3, images_path)
        labels = idx.decode(files.read(labels_path, self.published.get(labels_path.name)), 1, labels_path)
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
