"""From images to rows of grey pixels: grey-scaling, centre-cropping, coarse-graining."""

import math

import numpy as np
from numpy.typing import NDArray


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
        Pixels wanted: a square number, at most side². None keeps all. 28 x 28 pixels of a 32 x 32 image are its
        centre; any other smaller size averages areas of the whole image.

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
    wanted = side if size is None else math.isqrt(size)
    if size is not None and (wanted**2 != size or wanted > side):
        raise ValueError(f"size={size}: expected a square number of pixels from 1 to {side}² = {side**2}.")
    images = grey(inputs) if inputs.ndim == 4 else inputs
    if (side, wanted) == (32, 28):
        images = centre_crop(images, wanted)
    elif wanted < side:
        images = coarse_grain(images, wanted)
    return images.reshape(len(images), wanted**2).astype(np.float64)
