import numpy as np
import pytest

from stpbnn import datasets


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("diabetes", {"classes": (0, 1)}, r"diabetes is a regression set: .* classes=\(0, 1\), labels=None"),
        ("erf_teacher", {"labels": (-1, 1)}, r"erf_teacher is a regression set: .* labels=\(-1, 1\)"),
        ("digits", {"standardize": "paper"}, "'paper' is not for digits: expected 'pixels', 'features', None"),
        ("linear_teacher", {"standardize": "paper"}, "'paper' is not for linear_teacher: expected None, 'pixels'"),
        ("mnist", {"standardize": "pixel"}, "'pixel' is not for mnist: expected 'paper', 'pixels', 'features', None"),
        ("digits", {"noise": 0.1}, "noise=0.1 is not for digits: only for linear_teacher, erf_teacher"),
        ("linear_teacher", {"hidden_width": 3}, "hidden_width=3 is not for linear_teacher: only for erf_teacher"),
        ("erf_teacher", {"hidden_width": 0}, "hidden_width: got 0, expected an integer of at least 1"),
        ("erf_teacher", {"noise": -1}, "noise: got -1, expected a finite number at least 0"),
        ("erf_teacher", {"noise": np.nan}, "noise: got nan, expected a finite number at least 0"),
        ("erf_teacher", {"noise": "1"}, "noise: got '1', expected a finite number at least 0"),
        ("digits", {"train": 0}, "train: got 0, expected an integer of at least 1"),
        ("digits", {"train": 10.0}, "train: got 10.0, expected an integer of at least 1"),
        ("digits", {"train": True}, "train: got True, expected an integer of at least 1"),
        ("digits", {"test": -1}, "test: got -1, expected an integer of at least 0"),
        ("digits", {"seed": -1}, "seed: got -1, expected an integer of at least 0"),
        ("digits", {"size": 0}, "size: got 0, expected an integer of at least 1"),
        ("digits", {"size": 81}, "size=81: expected a square number of pixels from 1 to 8² = 64"),
        ("diabetes", {"size": 9}, "size=9: these inputs have 10 features"),
        ("digits", {"classes": (0, 10)}, "digits have no class 10; they have 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("digits", {"classes": (1, 1.0)}, r"classes=\(1, 1.0\): expected two or more different classes"),
        ("digits", {"train": 9999}, "train: digits has 1797 rows .* got train=9999. Ask for fewer"),
        ("digits", {"data_home": 3}, "data_home: got 3, expected the path of a folder"),
        ("Digits", {}, "name: got 'Digits', expected one of .*; did you mean 'digits'"),
        ("linear_teacher", {"train": 10**12}, "train: got 1000000000000, whose arrays take about 728 TiB, and .* rows"),
        (
            "erf_teacher",
            {"hidden_width": 10**15},
            "hidden_width: got 1000000000000000, whose arrays .* fewer units",
        ),
        ("random_labels", {"size": 10**18}, "size: got 1.*0, whose arrays take more than 1024 EiB, .* fewer inputs"),
        ("digits", {"labels": (-1, 1)}, r"labels=\(-1, 1\) are for two classes; got 10"),
        ("digits", {"classes": (0, 1), "train": 400}, "digits has 360 rows of these classes .* got train=400"),
    ],
)
def test_load_refuses(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(name, **arguments)


def test_arguments_as_a_file_of_settings_gives_them():
    lists = datasets.load("digits", classes=[1, 0], train=np.int64(30), test=5, labels=[0, 1])
    X, y, Xt, yt = datasets.load("digits", (0, 1), 30, 5, 64, (1, 0), "pixels")
    for got, expected in zip(lists, (X, y, Xt, yt), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_teachers_can_be_standardised():
    X, y, Xt, yt = datasets.load("erf_teacher", train=50, test=10, size=4, standardize="features", seed=1)
    raw = datasets.load("erf_teacher", train=50, test=10, size=4, seed=1)
    np.testing.assert_allclose([X.mean(0), X.var(0)], [np.zeros(4), np.ones(4)], atol=1e-14)
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=1e-14)
    np.testing.assert_allclose(yt, (raw[3] - raw[1].mean()) / raw[1].std())
    np.testing.assert_allclose(Xt, (raw[2] - raw[0].mean(0)) / raw[0].std(0))
