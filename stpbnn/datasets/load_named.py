"""The one door to all data sets by name: `load`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stpbnn._memory import refuse_beyond
from stpbnn._validation import integer, number, shown
from stpbnn.datasets.data_folder import home
from stpbnn.datasets.named_sets import SETS, DataSet, look_up
from stpbnn.datasets.task_arrays import choose_classes, encode, rows, share_out, standardise

DRAWN = {"train": 500, "test": 1000, "size": 100}  # what a drawn set has by default
UNITS = {"train": "rows", "test": "rows", "size": "inputs", "hidden_width": "units"}
Standardize = Literal["auto", "paper", "pixels", "features"] | None


def load(
    name: str,
    classes: Sequence[int] | None = None,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    labels: Sequence[float] | Literal["one-hot", "classes"] | None = None,
    standardize: Standardize = "auto",
    seed: int | None = None,
    data_home: str | os.PathLike[str] | None = None,
    *,
    noise: float | None = None,
    hidden_width: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Load a learning task by name, ready for a network: training inputs and targets, test inputs and targets.

    ================  =======================================================  =============
    name              what it is                                               standardize
    ================  =======================================================  =============
    digits            8 x 8 images of 0 to 16, with scikit-learn; one file     "pixels"
    diabetes          regression on ten features, with scikit-learn; one file  "features"
    mnist             28 x 28 images of 0 to 255, from files                   "paper"
    cifar10           32 x 32 images of 0 to 255, from files                   "paper"
    fashion_mnist     28 x 28 images of 0 to 255, from files, as are           "paper"
                      kmnist, emnist_balanced, emnist_letters, emnist_digits
    random_labels     x ~ N(0, 1), class 0 or 1 whatever x is                  None
    linear_teacher    x ~ N(0, 1), y = w·x/√N0 + noise ε                       None
    erf_teacher       x ~ N(0, 1), y = v·erf(W x/√N0)/√M + noise ε             None
    ================  =======================================================  =============

    Parameters
    ----------
    name : str
        One of `names()`.
    classes : sequence of int, optional
        Classes to keep, in the order of the labels. Default: all. A regression set has none.
    train, test : int, optional
        Rows P of the two sets. Default: all. Of a set in one file, None is what the other leaves, and with neither
        given a fifth of the rows is the test set. A drawn set has 500 and 1000.
    size : int, optional
        Input dimension N0. For images the number of grey pixels, a square number; default: all. Colours become
        0.2989 R + 0.587 G + 0.114 B; size=784 of CIFAR-10 is the 28 x 28 centre of the 32 x 32 pixels; every other
        smaller size averages areas of the whole image (a pixel on a border counts in part on either side). Three times
        a square number keeps the colours, pixel by pixel: size=3072 of CIFAR-10 is 32 x 32 pixels of three numbers.
        For a drawn set the dimension of x; default: 100.
    labels : pair of float, "one-hot" or "classes", optional
        Targets of the first and of the second of two classes, or unit vectors (P, D) of D classes, or the numbers of
        the classes themselves, which classifiers and networks with a likelihood of classes take.
        Default: (-1, 1) for two classes, "one-hot" for more.
    standardize : {"auto", "paper", "pixels", "features"} or None
        The scales of both sets, always from numbers of the training set. "paper": (x/255 - 0.1307)/0.3081, for pixels
        of 0 to 255. "pixels": by the scalar mean and standard deviation (ddof = 0) of all training inputs. "features":
        by those of each input; a constant one is only shifted. None: as they are. "auto": the table above. A regression
        set's targets are centred and scaled alike unless it is None.
    seed : int, optional
        None: rows in the order of the file, as the paper takes them. An integer: the rows that remain after the
        choice of classes are permuted by ``numpy.random.default_rng(seed)``, the training file first and then, with
        the same generator, the test file; one file is permuted once, and the test rows follow the training rows.
        For a drawn set the seed of the draw, None being 0.
    data_home : path, optional
        Folder of the files, or the one above their folder, such as ``mnist``, ``MNIST/raw`` or ``cifar10``. Default:
        the environment variable ``STPBNN_DATA``, else ``~/.cache/stpbnn``. MNIST and CIFAR-10 are downloaded into it
        once where none of their files is there.
    noise : float, optional
        The standard deviation of the noise on a teacher's targets, training and test. Default: 0.
    hidden_width : int, optional
        The hidden units M of the erf teacher. Default: 10.

    Returns
    -------
    X : (P, N0) array
        Training inputs, float64.
    y : (P,) or (P, D) array
        Training targets, float64; of "classes" int64.
    Xt, yt : arrays
        Test inputs and targets.

    Raises
    ------
    ValueError
        If an argument does not suit the set, more rows are asked for than there are, or a file is absent and cannot
        be downloaded, or is damaged. The message says what was given, what was expected and what to do.

    References
    ----------
    For "paper" and file order: R. Pacelli, S. Ariosto, M. Pastore, F. Ginelli, M. Gherardi, P. Rotondo, A statistical
    mechanics framework for Bayesian deep neural networks beyond the infinite-width limit, Nat. Mach. Intell. 5,
    1497 (2023), arXiv:2209.04882.

    Examples
    --------
    >>> X, y, Xt, yt = load("digits", classes=(0, 1), train=100, test=10, seed=0)
    >>> X.shape, y.shape, Xt.shape, y[:4]
    ((100, 64), (100,), (10, 64), array([-1.,  1., -1.,  1.]))
    """
    data_set = look_up(name)
    if not (standardize is None or isinstance(standardize, str)):
        raise ValueError(f"standardize: got {shown(standardize)}, expected one of 'auto', {data_set.scales}")
    how = data_set.scales[0] if standardize == "auto" else standardize
    options = {"noise": noise, "hidden_width": hidden_width}
    _check(name, data_set, classes, labels, how, options)
    counts = {"train": (train, 1), "test": (test, 0), "size": (size, 1), "seed": (seed, 0)}
    for key, (value, least) in (counts | {"hidden_width": (hidden_width, 1)}).items():
        if value is not None:
            integer(key, value, minimum=least)
    if noise is not None:
        number("noise", noise, inclusive=True)

    if data_set.drawn:
        given: dict[str, Any] = {"train": train, "test": test, "size": size, **options}
        given = {key: value for key, value in given.items() if value is not None}
        _refuse_too_many(**(DRAWN | given))
        parts = data_set.read(seed or 0, **given)
        seed = None
    else:
        parts = data_set.read(home(data_home))

    if data_set.has_classes:
        chosen = choose_classes(name, parts[0], classes)
        parts = [part.take(np.flatnonzero(np.isin(part.targets, chosen))) for part in parts]
    training, testing = share_out(name, parts, train, test, seed)

    X, Xt = standardise(rows(training.inputs, size), rows(testing.inputs, size), how)
    if data_set.has_classes:
        return (
            X,
            encode(training.targets, chosen, labels),
            Xt,
            encode(testing.targets, chosen, labels),
        )
    y, yt = standardise(training.targets, testing.targets, how)
    return X, y, Xt, yt


def _refuse_too_many(train: int, test: int, size: int, hidden_width: int = 0, noise: float = 0.0) -> None:
    """Refuse a drawn set that does not fit into memory, naming the largest of its arguments."""
    numbers = {"train": train, "test": test, "size": size, "hidden_width": hidden_width}
    key = max(numbers, key=lambda key: numbers[key])
    needed = 8 * ((train + test) * size + (size + max(train, test)) * hidden_width)
    refuse_beyond(needed, f"{key}: got {numbers[key]}, whose arrays", f"take fewer {UNITS[key]}")


def _check(
    name: str, data_set: DataSet, classes: object, labels: object, how: str | None, options: dict[str, Any]
) -> None:
    if not data_set.has_classes and isinstance(labels, str) and labels == "classes":
        raise ValueError(
            f"name: {name} is a regression set, whose targets are numbers, expected one with classes; leave the "
            "likelihood of classes out, or choose another set"
        )
    if not data_set.has_classes and (classes is not None or labels is not None):
        raise ValueError(
            f"{'labels' if classes is None else 'classes'}: {name} is a regression set: it has no classes or labels; "
            f"got classes={classes!r}, labels={labels!r}. Leave both out."
        )
    if how not in data_set.scales:
        raise ValueError(
            f"standardize={how!r} is not for {name}: expected {', '.join(map(repr, data_set.scales))}"
            f"{' (paper is for pixels of 0 to 255)' if how == 'paper' else ''}."
        )
    for key, value in options.items():
        if value is not None and key not in data_set.options:
            takers = [other for other, its in SETS.items() if key in its.options]
            raise ValueError(f"{key}={value!r} is not for {name}: only for {', '.join(takers)}. Leave it out.")
