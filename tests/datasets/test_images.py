import numpy as np
import pytest

from stpbnn.datasets import task_arrays

COLOUR = np.random.default_rng(0).integers(256, size=(5, 3, 32, 32)).astype(np.uint8)
GREY = np.random.default_rng(1).integers(256, size=(5, 28, 28)).astype(np.uint8)


def test_grey_weighs_the_planes():
    by_hand = [[0.2989 * r + 0.587 * g + 0.114 * b for r, g, b in image.reshape(3, -1).T.tolist()] for image in COLOUR]
    np.testing.assert_allclose(task_arrays.rows(COLOUR, 1024), by_hand, rtol=1e-14)


def test_784_of_a_32_x_32_image_is_its_centre():
    centre = task_arrays.grey(COLOUR)[:, 2:30, 2:30].reshape(5, 784)
    np.testing.assert_array_equal(task_arrays.rows(COLOUR, 784), centre)


def test_all_pixels_are_kept_as_they_are():
    np.testing.assert_array_equal(task_arrays.rows(GREY, 784), GREY.reshape(5, 784))
    assert task_arrays.rows(GREY, None).dtype == np.float64
    assert task_arrays.rows(GREY[:0], 49).shape == (0, 49)


@pytest.mark.parametrize("side", [1, 7, 10, 14, 27])
def test_coarse_graining_is_the_block_mean_on_a_common_grid(side):
    fine = np.repeat(np.repeat(GREY, side, axis=1), side, axis=2)  # each pixel as side x side equal ones
    blocks = fine.reshape(5, side, 28, side, 28).mean(axis=(2, 4))
    np.testing.assert_allclose(task_arrays.rows(GREY, side**2), blocks.reshape(5, -1), rtol=1e-13)


def test_a_third_of_four_pixels():
    image = np.array([[[4.0, 8.0, 12.0, 16.0]] * 4])
    np.testing.assert_allclose(task_arrays.coarse_grain(image, 3)[0, 0], [(4 * 3 + 8) / 4, 10, (12 + 16 * 3) / 4])


def test_colours_stay_side_by_side():
    """Rows are (row, column, channel): the whole image, its centre, and means of two by two pixels."""
    whole = task_arrays.rows(COLOUR, 3072).reshape(-1, 32, 32, 3)
    np.testing.assert_array_equal(whole, np.transpose(COLOUR, (0, 2, 3, 1)))
    centre = task_arrays.rows(COLOUR, 3 * 28**2).reshape(-1, 28, 28, 3)
    np.testing.assert_array_equal(centre, whole[:, 2:30, 2:30])
    means = whole.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(task_arrays.rows(COLOUR, 3 * 16**2), means.reshape(len(means), -1), rtol=1e-13)


@pytest.mark.parametrize(
    ("inputs", "size", "message"),
    [
        (GREY, 783, r"size=783: expected a square number of pixels from 1 to 28² = 784"),
        (GREY, 841, "size=841: expected a square number of pixels from 1 to 28"),
        (COLOUR, 3267, "size=3267: .* 1024, or three times one for colours, up to 3072"),
        (GREY, 2352, "size=2352: .* 784.$"),
        (np.zeros((2, 10)), 9, "size=9: these inputs have 10 features"),
    ],
)
def test_rows_refuses(inputs, size, message):
    with pytest.raises(ValueError, match=message):
        task_arrays.rows(inputs, size)
