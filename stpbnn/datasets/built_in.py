"""Tasks that need no files: the sets that come with scikit-learn, and those drawn at random.

A drawn task takes the rows of the training and the test set, the dimension N0 of the inputs and a seed. The teacher is
drawn first, then the training set, then the test set: the training set does not depend on the number of test rows.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpbnn.datasets.task_arrays import Table

Teacher = Callable[[NDArray[np.float64]], NDArray]


def digits(home: Path) -> tuple[Table]:
    """Return the 1797 handwritten digits, 8 x 8 pixels of 0 to 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (Table(bunch.images, bunch.target),)


def diabetes(home: Path) -> tuple[Table]:
    """Return the 442 patients: ten measurements, scaled as scikit-learn ships them, and the disease's progression."""
    from sklearn.datasets import load_diabetes

    return (Table(*load_diabetes(return_X_y=True)),)


def random_labels(seed: int, train: int = 500, test: int = 1000, size: int = 100) -> tuple[Table, Table]:
    """Draw inputs x ~ N(0, 1) of N0 = size numbers, and a class 0 or 1 by a fair coin, whatever x is."""
    rng = np.random.default_rng(seed)
    return _draw(rng, train, test, size, lambda X: rng.integers(2, size=len(X)))


def linear_teacher(
    seed: int, train: int = 500, test: int = 1000, size: int = 100, noise: float = 0.0
) -> tuple[Table, Table]:
    """Draw x ~ N(0, 1) and y = w·x/√N0 + noise ε, with w and ε ~ N(0, 1).

    Parameters
    ----------
    seed : int
        Seed of the generator.
    train, test : int
        Rows.
    size : int
        Dimension N0 of the inputs.
    noise : float
        Standard deviation of the noise on training and test targets.

    Returns
    -------
    (Table, Table)
        Training and test set.
    """
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(size) / math.sqrt(size)
    return _draw(rng, train, test, size, lambda X: X @ weights + noise * rng.standard_normal(len(X)))


def erf_teacher(
    seed: int, train: int = 500, test: int = 1000, size: int = 100, noise: float = 0.0, hidden_width: int = 10
) -> tuple[Table, Table]:
    """Draw x ~ N(0, 1) and y = v·erf(W x/√N0)/√M + noise ε, with W, v and ε ~ N(0, 1).

    Parameters
    ----------
    seed : int
        Seed of the generator.
    train, test : int
        Rows.
    size : int
        Dimension N0 of the inputs.
    noise : float
        Standard deviation of the noise on training and test targets.
    hidden_width : int
        Hidden units M of the teacher.

    Returns
    -------
    (Table, Table)
        Training and test set.
    """
    from scipy.special import erf

    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((size, hidden_width)) / math.sqrt(size)
    readout = rng.standard_normal(hidden_width) / math.sqrt(hidden_width)
    return _draw(rng, train, test, size, lambda X: erf(X @ hidden) @ readout + noise * rng.standard_normal(len(X)))


def _draw(rng: np.random.Generator, train: int, test: int, size: int, teacher: Teacher) -> tuple[Table, Table]:
    def table(rows: int) -> Table:
        X = rng.standard_normal((rows, size))
        return Table(X, teacher(X))

    return table(train), table(test)
