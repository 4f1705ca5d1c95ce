"""Standardisation of training and test inputs by the numbers of the training set."""

import numpy as np
from numpy.typing import NDArray

PAPER_MEAN, PAPER_STD = 0.1307, 0.3081  # of the MNIST training pixels, in units of 255


def standardise(train: NDArray, test: NDArray, how: str | None) -> tuple[NDArray, NDArray]:
    """Shift and scale both sets alike.

    Parameters
    ----------
    train, test : (P, N0) or (P,) array
        The two sets.
    how : {"paper", "pixels", "features"} or None
        "paper": (x/255 - 0.1307)/0.3081. "pixels": by the scalar mean and standard deviation (population, ddof = 0)
        of the whole training array. "features": by those of each training column; a constant column is shifted
        only. None: unchanged.

    Returns
    -------
    (array, array)
        Training and test set.

    Examples
    --------
    >>> standardise(np.array([1.0, 3.0]), np.array([5.0]), "pixels")
    (array([-1.,  1.]), array([3.]))
    """
    if how is None:
        return train, test
    if how == "paper":
        return (train / 255 - PAPER_MEAN) / PAPER_STD, (test / 255 - PAPER_MEAN) / PAPER_STD
    axis = 0 if how == "features" else None
    mean = train.mean(axis)
    scale = np.where(np.ptp(train, axis) > 0, train.std(axis), 1.0)
    return (train - mean) / scale, (test - mean) / scale
