"""The data sets by name."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stpbnn._validation import one_of
from stpbnn.datasets import built_in, cifar10, idx_files
from stpbnn.datasets.data_folder import home as folder_of
from stpbnn.datasets.idx_files import IdxSet
from stpbnn.datasets.task_arrays import Table


@dataclass(frozen=True)
class DataSet:
    """How a data set is read, and which arguments of `load` suit it."""

    summary: str
    read: Callable[..., Sequence[Table]]
    scales: tuple[str | None, ...]  # values of standardize, the default first
    has_classes: bool = True
    drawn: bool = False
    options: tuple[str, ...] = ()
    find: Callable[[Path], object] = lambda home: True
    downloaded: bool = False


PIXELS = ("paper", "pixels", "features", None)


def _images(summary: str, files_: IdxSet) -> DataSet:
    return DataSet(summary, files_.read, PIXELS, find=files_.find)


SETS = {
    "digits": DataSet(
        "1797 handwritten digits, 8 x 8 pixels, ten classes", built_in.digits, ("pixels", "features", None)
    ),
    "diabetes": DataSet(
        "442 patients, ten features, one real target",
        built_in.diabetes,
        ("features", "pixels", None),
        has_classes=False,
    ),
    "mnist": DataSet(
        "70000 handwritten digits, 28 x 28 pixels, ten classes",
        idx_files.read_mnist,
        PIXELS,
        find=idx_files.MNIST.find,
        downloaded=True,
    ),
    "cifar10": DataSet(
        "60000 photographs, 32 x 32 pixels turned grey, ten classes",
        cifar10.read,
        PIXELS,
        find=cifar10.find,
        downloaded=True,
    ),
    "fashion_mnist": _images("70000 pieces of clothing, laid out as MNIST", idx_files.FASHION),
    "kmnist": _images("70000 Kuzushiji characters, laid out as MNIST", idx_files.KUZUSHIJI),
    "emnist_balanced": _images("131600 handwritten characters, classes 0 to 46", idx_files.EMNIST_BALANCED),
    "emnist_letters": _images("145600 handwritten letters, classes 1 to 26", idx_files.EMNIST_LETTERS),
    "emnist_digits": _images("280000 handwritten digits, ten classes", idx_files.EMNIST_DIGITS),
    "random_labels": DataSet(
        "Gaussian inputs, two classes by a fair coin", built_in.random_labels, (None, "pixels", "features"), drawn=True
    ),
    "linear_teacher": DataSet(
        "Gaussian inputs, a random linear function of them",
        built_in.linear_teacher,
        (None, "pixels", "features"),
        has_classes=False,
        drawn=True,
        options=("noise",),
    ),
    "erf_teacher": DataSet(
        "Gaussian inputs, a random network with one hidden layer of erf units",
        built_in.erf_teacher,
        (None, "pixels", "features"),
        has_classes=False,
        drawn=True,
        options=("noise", "hidden_width"),
    ),
}


class Description(NamedTuple):
    """A data set's name, a line on it, and whether it can be loaded without a download.

    Examples
    --------
    >>> [one.name for one in describe() if one.name == "diabetes" and one.found]
    ['diabetes']
    """

    name: str
    summary: str
    found: bool


def names() -> tuple[str, ...]:
    """Return the names that `load` knows.

    Examples
    --------
    >>> names()
    ('digits', 'diabetes', 'mnist', 'cifar10', 'fashion_mnist', ..., 'random_labels', 'linear_teacher', 'erf_teacher')
    """
    return tuple(SETS)


def describe(data_home: str | os.PathLike[str] | None = None) -> list[Description]:
    """Describe every data set in a line.

    Parameters
    ----------
    data_home : path, optional
        The folder of the data, as in `load`.

    Returns
    -------
    list of Description
        Named tuples (name, summary, found): found is False for a set whose files are not in the folder.

    Examples
    --------
    >>> describe()[0]
    Description(name='digits', summary='1797 handwritten digits, 8 x 8 pixels, ten classes', found=True)
    """
    home = folder_of(data_home)
    return [Description(name, data_set.summary, bool(data_set.find(home))) for name, data_set in SETS.items()]


def look_up(name: str) -> DataSet:
    """Return the data set of this name; ValueError with the nearest name if there is none."""
    return SETS[one_of("name", name, SETS)]
