"""Cards whose data are a table of one's own: what is read, what is kept in the run folder, and what is refused."""

import json
import logging

import numpy as np
import pytest

from stpbnn import cli
from stpbnn.cards import load_card
from stpbnn.datasets import Preparation, Task
from stpbnn.runs import fingerprint, run_card
from stpbnn.theories import theory

CARD = """
name = "house"
title = "Prices of houses"
[network]
widths = [5]
activation = "linear"
[data]
file = "house.csv"
target = "price"
test = 0.25
seed = 1
[posterior]
temperature = 0.1
[sampler]
warmup = 10
draws = 10
chains = 1
[theories]
names = ["infinite"]
"""
ROWS = 20
FILE = 'file = "house.csv"'


@pytest.fixture
def house(tmp_path):
    """A card and its table, in a folder that is not the working one: area, kind and price."""
    rng = np.random.default_rng(0)
    area, large = rng.integers(50, 150, ROWS), np.arange(ROWS) % 2
    price = 3 * area + 50 * large + rng.integers(0, 20, ROWS)
    lines = [f"{a},{'house' if b else 'flat'},{p}" for a, b, p in zip(area, large, price, strict=True)]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "house.csv").write_text("area,kind,price\n" + "\n".join(lines) + "\n")
    (folder / "card.toml").write_text(CARD)
    return folder, area.astype(float), large, price.astype(float)


def test_theory_is_ridge_regression_on_the_standardised_table(house):
    folder, area, large, price = house
    card = load_card(folder / "card.toml")
    order = np.random.default_rng(1).permutation(ROWS)
    train, test = order[:15], order[15:]
    mean, std = area[train].mean(), area[train].std()
    X = np.c_[(area - mean) / std, 1 - large, large]
    y = (price - price[train].mean()) / price[train].std()
    expected = X[test] @ X[train].T / 3 @ np.linalg.solve(X[train] @ X[train].T / 3 + 0.1 * np.eye(15), y[train])
    np.testing.assert_allclose(theory(card)["mean"].squeeze(), expected, rtol=1e-9)
    task = card.load()
    assert isinstance(task, Task)
    np.testing.assert_allclose(task.preparation.in_units(task.yt), price[test], rtol=1e-14)
    np.testing.assert_allclose(task.preparation.spread_in_units(1.0), price[train].std(), rtol=1e-14)


@pytest.fixture
def interrupted(house, monkeypatch):
    """The folder of a run that was stopped before its first draw."""
    folder, *_ = house
    monkeypatch.chdir(folder.parent)

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("stpbnn.samplers.collect", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_card(load_card("data/card.toml"), "run", progress=False)
    return folder.parent / "run"


def test_run_folder_keeps_the_preparation_and_its_card_finds_the_file(house, interrupted):
    folder, *_ = house
    again = load_card(interrupted / "card.toml")  # in another folder than its table
    kept = Preparation.from_json((interrupted / "preparation.json").read_text())
    assert (again.data.file, kept) == (str(folder / "house.csv"), again.load().preparation)
    number = kept.inputs[0]
    X = kept.transform({"area": [100], "kind": ["house"]})
    np.testing.assert_allclose(X, [[(100 - number.shift) / number.scale, 0, 1]])


def test_a_file_that_has_changed_is_not_resumed(house, interrupted):
    folder, *_ = house
    card = load_card("data/card.toml")
    before = fingerprint(card, card.load())
    text = (folder / "house.csv").read_text()
    (folder / "house.csv").write_text(text.replace("area,", "area ,"))  # nothing that the network would see
    assert fingerprint(card, card.load()) != before
    there = {path.name: path.read_bytes() for path in interrupted.iterdir()}
    with pytest.raises(ValueError, match=r"^run: the run began with another content of file house.csv; choose another"):
        run_card(card, "run", progress=False)
    assert {path.name: path.read_bytes() for path in interrupted.iterdir()} == there


@pytest.mark.long
def test_run_says_what_it_made_of_the_columns(house, tmp_path, caplog):
    folder, *_ = house
    caplog.set_level(logging.INFO, "stpbnn")
    run = run_card(load_card(folder / "card.toml"), tmp_path / "run", progress=False)
    assert "kind: 2 categories, one-hot encoded: flat, house" in caplog.text
    html = run.report.read_text(encoding="utf-8")
    for said in ("house.csv; P = 15", "target price, centred and scaled; 1 number: area; kind: 2 categories"):
        assert said in html
    assert json.loads((run.folder / "run.json").read_text())["columns"] == run.card.load().preparation.summary()
    assert run_card(load_card(run.folder / "card.toml"), run.folder, progress=False).record == run.record


def test_prices_in_other_units_are_another_run(house):
    """The network sees the same numbers, but its predictions mean others."""
    folder, *_, price = house
    card = load_card(folder / "card.toml")
    before = fingerprint(card, card.load())
    (folder / "house.csv").write_text((folder / "house.csv").read_text().replace("price\n", "price\n", 1))
    assert fingerprint(card, card.load()) == before
    lines = (folder / "house.csv").read_text().split()
    scaled = [f"{line.rpartition(',')[0]},{1000 * value:.0f}" for line, value in zip(lines[1:], price, strict=True)]
    (folder / "house.csv").write_text("\n".join([lines[0], *scaled]))
    np.testing.assert_allclose(card.load().y, Task(*card.load()).y)
    assert fingerprint(card, card.load()) != before


def test_test_files_splits_and_paths(house):
    folder, area, _, price = house
    lines = (folder / "house.csv").read_text().split()
    (folder.parent / "rest.csv").write_text("\n".join([lines[0], *lines[16:]]))
    (folder / "house.csv").write_text("\n".join(lines[:16]))
    card = CARD.replace("test = 0.25", 'test_file = "../rest.csv"').replace("seed = 1", 'standardize = "none"')
    (folder / "card.toml").write_text(card + "\n")
    task = load_card(folder / "card.toml").load()
    np.testing.assert_array_equal(task.Xt[:, 0], area[15:])
    np.testing.assert_allclose(task.yt, (price[15:] - price[:15].mean()) / price[:15].std())
    parts = ["train", "test"] * 7 + ["TRAIN"]
    split = "\n".join([f"{lines[0]},part", *(f"{a},{b}" for a, b in zip(lines[1:16], parts, strict=True))])
    (folder / "house.csv").write_text(split)
    (folder / "card.toml").write_text(card.replace('test_file = "../rest.csv"', 'split = "part"'))
    task = load_card(folder / "card.toml", ["data.normalize_target=false"]).load()
    np.testing.assert_array_equal(task.X[:, 0], area[:15:2])
    np.testing.assert_array_equal(task.yt, price[1:15:2])
    override = load_card(folder / "card.toml", ["data.file=elsewhere.csv"])
    assert override.data.file == "elsewhere.csv"  # of the command line, from the working folder


def test_several_targets(house):
    folder, area, _, price = house
    changes = ["data.target=['price', 'area']", "network.outputs=2", "data.test=5"]
    task = load_card(folder / "card.toml", changes).load()
    order = np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_allclose(task.preparation.in_units(task.yt), np.c_[price, area][order[15:]])
    with pytest.raises(ValueError, match=r"outputs: got 1, expected 2: the targets of house.csv have 2 column"):
        load_card(folder / "card.toml", changes[:1]).load()


def test_missing_values_by_the_training_rows(tmp_path):
    (tmp_path / "house.csv").write_text("a,b,price\n1,x,1\n,y,2\n3,x,4\n5,,8\n7,y,16\n,,32\n")
    (tmp_path / "card.toml").write_text(CARD.replace("test = 0.25\nseed = 1", 'test = 1\nmissing = "mean"'))
    card = load_card(tmp_path / "card.toml")
    task = card.load()
    filled = np.array([1, 4, 3, 5, 7])
    np.testing.assert_allclose(task.X[:, 0], (filled - 4) / filled.std())
    np.testing.assert_allclose(task.X[:, 1:], [[1, 0], [0, 1], [1, 0], [0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(task.Xt, [[0, 0.5, 0.5]])
    assert task.preparation.notes[0] == "2 missing values of a were filled with the mean of the training rows"
    task = load_card(tmp_path / "card.toml", ["data.missing=drop"]).load()
    assert (task.X.shape, task.preparation.notes) == (
        (2, 3),
        ("3 of 6 rows were left out, for missing values",),
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (FILE, 'path = "house.csv"', "unknown key data.path; did you mean data.file?"),
        (FILE, 'name = "house.csv"', "data.name: got 'house.csv', which is a file; did you mean"),
        (FILE, "", "data.name: missing, expected the name of a data set; or file = "),
        (FILE, f'{FILE}\nname = "digits"', "data.file: got it beside data.name, expected one"),
        (FILE, 'file = "houses.csv"', "data.file: @/houses.csv: expected a file; did you mean ho"),
        (FILE, 'file = "."', "data.file: @: is a folder, expected a file in it: .csv, "),
        (FILE, f'{FILE}\nsep = ";"', "unknown key data.sep; did you mean data.separator?"),
        (FILE, f'{FILE}\nclasses = [0, 1]', "data.classes: got it with data.file = 'house.csv"),
        (FILE, f'{FILE}\nseparator = "::"', "data.separator: got '::', expected one character"),
        (FILE, f'{FILE}\ndecimal = "."\nencoding = "utf9"', "data.file: @/house.csv: e"),
        (FILE, f'{FILE}\nsplit = "kind"', "data.file: @/house.csv: column 'kind', row "),
        (FILE, f'{FILE}\ndrop = ["price"]', "data.target: got 'price', which is in drop or is "),
        (FILE, f'{FILE}\nfeatures = ["aera"]', "data.features: got 'aera', expected one of 'ar"),
        ('"price"', '"prise"', "data.target: got 'prise', expected one of 'area', 'kind', 'price'; did"),
        ('"price"', '"kind"', "data.file: @/house.csv: column 'kind', row 2: got the text 'flat', expected num"),
        ('target = "price"', "", "data.target: missing, expected the column to predict, or a list of them"),
        ("0.25", "1.5", "data.test: got 1.5, expected a whole number from 1; of a table"),
        ("0.25", "300", "data.test: @/house.csv has 20 rows for training and test together; got train=0"),
        ("0.25", "20", "data.test: @/house.csv has 20 rows for "),
        ("seed = 1", "train = 1", "data.train: got 1 training row, expected two at least"),
        ("seed = 1", "train = 18", "data.train: @/house.csv has 20 rows for "),
    ],
)  # fmt: skip
def test_mistakes_in_one_line(house, monkeypatch, capsys, old, new, expected):
    folder, *_ = house
    monkeypatch.chdir(folder)
    assert CARD.count(old) == 1
    (folder / "card.toml").write_text(CARD.replace(old, new))
    with pytest.raises(SystemExit) as ended:
        cli.main(["theory", "card.toml", "-q"])
    printed, shown = capsys.readouterr()
    assert (ended.value.code, printed) == (2, ""), shown
    assert shown.startswith(f"stpbnn: error: card.toml: {expected.replace('@', str(folder))}")
    assert shown.count("\n") == 1


def test_keys_of_tables_are_refused_for_named_sets():
    with pytest.raises(
        ValueError, match=r"data\.target: got it with data\.name = 'linear_teacher', and it is for a tab"
    ):
        load_card("smoke-1hl-linear", ["data.target=y"])
    with pytest.raises(ValueError, match=r"data\.test: got 0\.5, expected a whole number; fractions are for tables"):
        load_card("smoke-1hl-linear", ["data.test=0.5"])


def test_rows_sorted_by_the_target_are_told(house, caplog):
    folder, *_ = house
    lines = (folder / "house.csv").read_text().split()
    lines[1:] = sorted(lines[1:], key=lambda line: int(line.split(",")[2]))
    (folder / "house.csv").write_text("\n".join(lines))
    card = load_card(folder / "card.toml")
    card.load()
    assert not caplog.text.count("sorted")
    (folder / "card.toml").write_text(CARD.replace("seed = 1\n", ""))
    load_card(folder / "card.toml").load()
    assert "house.csv are sorted by price, and the last ones are the test set; set seed" in caplog.text
