import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from stpbnn.datasets import Category, Number, Preparation, load_table

HOUSE = Preparation(
    (Number("area", 90.0, 30.0), Category("kind", ("flat", "house"))),
    (Number("price", 400.0, 100.0), Number("rent")),
    {"file house.csv": "0"},
    ("1 of 5 rows were left out",),
)
FILLED = Preparation((Number("area", 90.0, 30.0, 93.0), Category("kind", ("a", "b"), (0.25, 0.75))), HOUSE.targets)
X = [[1.0, 0, 1], [-0.5, 1, 0]]
TABLE = {"kind": ["house", "flat"], "area": [120, 75]}


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        pd.DataFrame(TABLE, index=[7, 7]),
        pd.DataFrame(TABLE).assign(more="seen by nobody"),
        pd.DataFrame(TABLE).astype({"kind": "category", "area": "Int64"}),
        pd.DataFrame(TABLE).astype({"kind": "string", "area": "float32"}),
        {"kind": np.array(["house ", "flat"]), "area": ["120", "7.5e1"]},
        np.array([[120, "house"], [75, "flat"]], dtype=object),
    ],
)
def test_tables_of_every_make(table):
    np.testing.assert_array_equal(HOUSE.transform(table), X)


def test_frames_of_polars():
    polars = pytest.importorskip("polars")
    np.testing.assert_array_equal(HOUSE.transform(polars.DataFrame(TABLE)), X)
    house = polars.DataFrame({"area": [60.0, 90, None, 75], "kind": ["a", "a", "b", "b"], "price": [2.0, 3, 5, 2.8]})
    assert load_table(house, "price", test=1, missing="drop").X.shape == (2, 3)


def test_several_targets_have_their_units_in_the_last_axis():
    f = np.array([[[0.5, 2.0]], [[-1.0, 3.0]]])
    np.testing.assert_array_equal(HOUSE.in_units(f), [[[450, 2]], [[300, 3]]])
    np.testing.assert_array_equal(HOUSE.spread_in_units([0.1, 0.2]), [10, 0.2])
    y = HOUSE.transform_targets({"price": [500, 350], "rent": [1, 2]})
    np.testing.assert_array_equal(y, [[1, 1], [-0.5, 2]])
    np.testing.assert_array_equal(HOUSE.in_units(y), [[500, 1], [350, 2]])


def test_json_keeps_everything():
    for one in (HOUSE, FILLED):
        again = Preparation.from_json(one.to_json())
        assert again == one
        np.testing.assert_array_equal(again.transform({"area": [120], "kind": one.inputs[1].values[:1]})[:, 0], [1])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": [{"kind": "number"}], "targets": []}', "7"])
def test_what_is_no_preparation(text):
    with pytest.raises(ValueError, match=r"^not the preparation of a table: |^text: got '', expected text"):
        Preparation.from_json(text)


def test_missing_values_are_filled_by_what_was_learned():
    got = FILLED.transform({"area": [None, 60], "kind": ["b", None]})
    np.testing.assert_allclose(got, [[0.1, 0, 1], [-1, 0.25, 0.75]])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"area": [None, 75]},
            "column 'area', row 0: the value is missing, one of 1; fill it or remove the row; a card ",
        ),
        (
            {"kind": ["flat", "NA"]},
            "column 'kind', row 1: the value is missing, one of 1; fill it or remove the row; a ",
        ),
        (
            {"kind": ["flat", "tent"]},
            "column 'kind', row 1: got the category 'tent', expected one of ['flat', 'house']",
        ),
        ({"area": [1, np.inf]}, "column 'area', row 1: got an infinite number, expected a finite one; remove the row"),
        (
            {"area": ["12", "1,5"]},
            "column 'area', row 1: got '1,5', expected a number with a decimal point; see decimal",
        ),
        ({"area": ["12", "1,500"]}, "column 'area', row 1: got '1,500', expected a number without marks between tho"),
    ],
)
def test_cells_that_do_not_fit(change, expected):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        HOUSE.transform(TABLE | change)
    assert str(caught.value).startswith(expected)


def test_columns_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"column 'area': the table lacks it, with the columns 'kind', 'aera'; did you mean 'aera'\?"
    ):
        HOUSE.transform({"kind": ["flat"], "aera": [1]})
    with pytest.raises(
        ValueError, match=r"got an array of shape \(1, 3\), expected \(rows, 2\), one column for each of"
    ):
        HOUSE.transform(np.ones((1, 3)))
    twice = pd.DataFrame([[1, 2, "flat"]], columns=["area", "area", "kind"])
    with pytest.raises(ValueError, match="column 'area': got 2 columns of this name, expected one; rename the others"):
        HOUSE.transform(twice)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.date_range("2020-01-01", periods=6), "column 'more', row 0: got the date or time '2020-01-01 00:00:00'"),
        (pd.to_timedelta(range(6), "D"), "column 'more', row 0: got the date or time '0 days 00:00:00'"),
        (np.arange(6) * 1j, "column 'more': got complex numbers, expected real ones; leave it out"),
        (
            [[1]] * 3 + [[i] for i in range(3)],
            "column 'more', row 0: got [1], expected a number or a text; leave it out",
        ),
    ],
)
def test_columns_of_frames_that_no_network_takes(column, expected):
    frame = pd.DataFrame({"area": [1.0, 2, 3, 4, 5, 7], "price": [1.0, 2, 4, 4, 5, 6]}).assign(more=column)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_table(frame, "price")
    assert str(caught.value).startswith(f"file: {expected}")
    assert len(load_table(frame, "price", drop=["more"])) == 4


def test_a_column_that_numbers_the_rows_is_told(caplog):
    frame = pd.DataFrame({"id": range(10, 16), "area": [1.0, 5, 3, 4, 2, 7], "price": [1.0, 2, 4, 3, 5, 6]})
    load_table(frame, "price")
    assert 'the table: id numbers the rows; leave it out with drop = ["id"]' in caplog.text


def test_scales_of_pixels():
    pixels = pd.DataFrame({"a": [0.0, 255, 51, 0], "b": [0.0, 0, 0, 0], "y": [1.0, 2, 3, 4]})
    train = np.array([[0, 0], [255, 0], [51, 0]])
    task = load_table(pixels, "y", test=1, standardize="pixels")
    np.testing.assert_allclose(task.X, (train - train.mean()) / train.std())
    np.testing.assert_allclose(task.Xt, (np.zeros((1, 2)) - train.mean()) / train.std())
    np.testing.assert_allclose(load_table(pixels, "y", test=1, standardize="paper").X, (train / 255 - 0.1307) / 0.3081)
    with pytest.raises(ValueError, match=r"column 'b', row 0: got the same value in all 3 training rows"):
        load_table(pixels, "y", test=1)


def test_more_than_fits_into_memory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(10**13)  # of zeros that take no room
    with pytest.raises(
        ValueError, match=r"huge.csv: its rows take about 273 TiB, and .* free here; give fewer rows or c"
    ):
        load_table(path, "y")


def test_pandas_is_loaded_with_the_first_table():
    code = "import sys, stpbnn.datasets, stpbnn.cards; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
