"""From what files hold to the arrays of a task: grey pixels, classes, shares of the rows, labels, scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Table(NamedTuple):
    """Inputs, one row first, (P, ...), and their targets, (P,): class numbers or real values."""

    inputs: NDArray
    targets: NDArray

    def take(self, rows: NDArray[np.intp]) -> Table:
        """Return these rows, in this order."""
        return Table(self.inputs[rows], self.targets[rows])


def choose_classes(name: str, table: Table, classes: Sequence[int] | None) -> tuple[int, ...]:
    """Return the classes to keep: those asked for, or all that the table has, in increasing order."""
    present = [int(c) for c in np.unique(table.targets)]
    if classes is None:
        return tuple(present)
    chosen = tuple(np.atleast_1d(classes).tolist())
    if len(chosen) < 2 or len(set(chosen)) != len(chosen):
        raise ValueError(f"classes={classes!r}: expected two or more different classes, such as (0, 1).")
    if absent := [c for c in chosen if c not in present]:
        raise ValueError(
            f"classes={classes!r}: the training rows of {name} have no class {absent[0]!r}; they have "
            f"{', '.join(map(str, present))}. Choose among these, or give files that hold the others."
        )
    return chosen


def share_out(
    name: str,
    tables: Sequence[Table],
    train: int | None,
    test: int | None,
    seed: int | None,
    what: str = "rows of these classes",
) -> tuple[Table, Table]:
    """Take the training and test rows from one table, or from one table each.

    Parameters
    ----------
    name : str
        The data set, for messages.
    tables : sequence of Table
        Two tables are the training and the test file. From a single one the first rows are the training set and
        the next ones the test set.
    train, test : int or None
        Rows to take. None takes all that are left; from a single table with both None, a fifth is the test set.
    seed : int or None
        None keeps the order of the rows; an integer permutes them, the training table first, with one generator.
    what : str
        What is shared out, for messages.

    Returns
    -------
    (Table, Table)
        Training and test rows.

    Raises
    ------
    ValueError
        If more rows are asked for than there are.
    """
    rng = None if seed is None else np.random.default_rng(seed)
    orders = [np.arange(len(t.targets)) if rng is None else rng.permutation(len(t.targets)) for t in tables]
    if len(tables) == 1:
        rows = len(orders[0])
        if train is None and test is None:
            test = rows // 5
        train = rows - (test or 0) if train is None else train
        test = rows - train if test is None else test
        if train < 1 or test < 0 or train + test > rows:
            key = "test" if train < 1 or test > rows else "train"
            also = f" and test={test}" if test >= 0 else ""  # or what more training rows than there are would leave
            raise ValueError(
                f"{key}: {name} has {rows} {what} for training and test together; got train={max(train, 0)}"
                f"{also}. Ask for fewer."
            )
        return tables[0].take(orders[0][:train]), tables[0].take(orders[0][train : train + test])
    for part, wanted, order in zip(("train", "test"), (train, test), orders, strict=True):
        if wanted is not None and wanted > len(order):
            raise ValueError(f"{part}: {name} has {len(order)} {part} {what}; got {part}={wanted}. Ask for fewer.")
    return tables[0].take(orders[0][:train]), tables[1].take(orders[1][:test])


def encode(
    targets: NDArray, classes: tuple[int, ...], labels: Sequence[float] | Literal["one-hot", "classes"] | None
) -> NDArray:
    """Turn class numbers into targets.

    Parameters
    ----------
    targets : (P,) array
        Class numbers.
    classes : tuple of int
        The D classes, in the order of the labels.
    labels : pair of float, "one-hot", "classes" or None
        Values of the first and the second of two classes, or a unit vector for each class, or the class numbers
        themselves. None is (-1, 1) for two classes and "one-hot" for more.

    Returns
    -------
    (P,) or (P, D) array
        The targets.

    Raises
    ------
    ValueError
        If the labels are neither "one-hot" nor two different finite numbers, or are a pair where D is not 2.

    Examples
    --------
    >>> encode(np.array([3, 5, 5]), (5, 3), (0, 1))
    array([1., 0., 0.])
    """
    if labels is None:
        labels = (-1, 1) if len(classes) == 2 else "one-hot"
    if isinstance(labels, str) and labels == "classes":
        return targets.astype(np.int64)
    member = targets[:, None] == np.array(classes)
    if isinstance(labels, str) and labels == "one-hot":
        return member.astype(np.float64)
    pair = np.asarray(labels)
    if pair.shape != (2,) or pair.dtype.kind not in "iuf" or not np.isfinite(pair).all() or pair[0] == pair[1]:
        raise ValueError(
            f"labels={labels!r}: expected two different numbers, such as (-1, 1), or 'one-hot', or 'classes'."
        )
    if len(classes) != 2:
        raise ValueError(
            f"labels={labels!r} are for two classes; got {len(classes)}. Use 'one-hot', or choose two classes."
        )
    return np.where(member[:, 1], *pair[::-1].astype(np.float64))


def grey(images: NDArray) -> NDArray[np.float64]:
    """Return 0.2989 R + 0.587 G + 0.114 B of images (P, 3, side, side)."""
    red, green, blue = np.moveaxis(images, 1, 0)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def centre_crop(images: NDArray, side: int) -> NDArray:
    """Return the central (P, side, side) of square images."""
    start = (images.shape[-1] - side) // 2
    return images[..., start : start + side, start : start + side]


def area_weights(before: int, after: int) -> NDArray[np.float64]:
    """Return the (after, before) matrix of averages over `after` equal stretches of `before` pixels.

    A pixel that two stretches share counts in each with the part that lies there.

    Examples
    --------
    >>> 3 * area_weights(3, 2)
    array([[2., 1., 0.],
           [0., 1., 2.]])
    """
    cell, pixel = np.arange(after)[:, None] * before, np.arange(before) * after  # left edges on a common grid
    overlap = np.minimum(cell + before, pixel + after) - np.maximum(cell, pixel)
    return np.maximum(overlap, 0) / before


def coarse_grain(images: NDArray, side: int) -> NDArray[np.float64]:
    """Return (P, side, side) area averages of square images."""
    weights = area_weights(images.shape[-1], side)
    return weights @ images @ weights.T


def rows(inputs: NDArray, size: int | None) -> NDArray[np.float64]:
    """Turn inputs into rows of numbers.

    Parameters
    ----------
    inputs : (P, N0), (P, side, side) or (P, 3, side, side) array
        Feature vectors, grey images or colour images.
    size : int or None
        Pixels wanted: a square number, at most side². None keeps all, in grey. 28 x 28 pixels of a 32 x 32 image are
        its centre; any other smaller size averages areas of the whole image. Three times a square number keeps the
        colours, those of a pixel side by side.

    Returns
    -------
    (P, N0) array
        One row for each image, N0 = size.

    Raises
    ------
    ValueError
        If the size is not a square number, or more than the image has.
    """
    if inputs.ndim == 2:
        if size not in (None, inputs.shape[1]):
            raise ValueError(f"size={size}: these inputs have {inputs.shape[1]} features, not pixels. Leave size out.")
        return inputs.astype(np.float64)
    side = inputs.shape[-1]
    colours = 3 if inputs.ndim == 4 and size is not None and math.isqrt(size) ** 2 != size else 1
    wanted = side if size is None else math.isqrt(size // colours)
    if size is not None and (colours * wanted**2 != size or wanted > side):
        of_colours = f", or three times one for colours, up to {3 * side**2}" if inputs.ndim == 4 else ""
        raise ValueError(f"size={size}: expected a square number of pixels from 1 to {side}² = {side**2}{of_colours}.")
    images = grey(inputs) if inputs.ndim == 4 and colours == 1 else inputs
    if (side, wanted) == (32, 28):
        images = centre_crop(images, wanted)
    elif wanted < side:
        images = coarse_grain(images, wanted)
    if colours == 3:
        images = np.moveaxis(images, 1, -1)
    return images.reshape(len(images), colours * wanted**2).astype(np.float64)


PAPER_MEAN, PAPER_STD = 0.1307, 0.3081  # moments of the MNIST training pixels, in units of 255


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
