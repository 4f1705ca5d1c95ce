"""The script of the regression tasks, on a small table in the form of the published ones."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ANALYSIS = Path(__file__).parents[1] / "analysis"


@pytest.fixture(scope="module")
def uci():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ANALYSIS))
        import uci

        yield uci
    del sys.modules["uci"]


@pytest.fixture
def root(tmp_path):
    """60 rows, of which the last 20 are for testing: a line with noise of variance 0.01."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    table = np.c_[X, 5 + 20 * (X[:, 0] + 0.1 * rng.normal(size=60))]
    np.savetxt(tmp_path / "toy.csv", table, delimiter=",", header="a,b,y", comments="")
    (tmp_path / "splits").mkdir()
    for part, rows in (("train", range(40)), ("test", range(40, 60))):
        np.savetxt(tmp_path / "splits" / f"toy_{part}_0.txt", rows, "%d")
    return tmp_path


def test_outliers_are_among_the_training_targets_only(uci, root):
    clean, corrupted = (uci.load(root, "toy", 0, outliers) for outliers in (False, True))
    for before, after in zip(clean[::2] + clean[3:], corrupted[::2] + corrupted[3:], strict=True):
        np.testing.assert_array_equal(before, after)
    moved = np.abs(corrupted[1] - clean[1]) / clean[1].std()
    assert np.sum(moved > 0) == 2
    assert np.all((moved == 0) | ((moved >= 3) & (moved <= 10)))


def test_splits_are_drawn_as_the_published_ones_were(uci):
    """The first numbers of the published files of yacht and of concrete."""
    starts = {308: ((73, 304, 228), (162, 101, 114)), 1030: ((339, 244, 882), (480, 56, 473))}
    for rows, published in starts.items():
        for split, start in enumerate(published):
            train, test = uci.drawn_rows(rows, split)
            assert tuple(train[:3]) == start
            assert (len(train), len(test)) == (round(0.9 * rows), rows - round(0.9 * rows))


def test_all_models_predict_a_line(uci, root):
    """In the units of the target: error and log density near those of the noise, whose standard deviation is 2."""
    for method in [*list(uci.METHODS)[:5], "Student's t noise, 4 df"]:
        numbers = uci.cell(root, method, "toy", 0, False, True)
        assert 1.0 < numbers["rmse"] < 4.0, method
        assert abs(numbers["nlpd"] - stats.norm(scale=2).entropy()) < 0.7, method
        assert numbers["cover50"] <= numbers["cover90"] <= numbers["cover95"], method


def test_cells_that_are_there_are_kept(uci, root, tmp_path, monkeypatch):
    monkeypatch.setattr(uci, "SPLITS", range(1))
    calls = []
    answer = dict.fromkeys(uci.FIELDS[5:], 1.0)
    monkeypatch.setattr(uci, "cell", lambda *key: calls.append(key) or answer)
    path = tmp_path / "cells.csv"
    uci.run(root, ["toy"], path)
    assert len(calls) == 2 * (len(uci.METHODS) + uci.AS_GIVEN)
    kept = path.read_text().splitlines()
    path.write_text("\n".join(kept[:-3]) + "\n")
    uci.run(root, ["toy"], path)
    assert len(calls) == 2 * (len(uci.METHODS) + uci.AS_GIVEN) + 3
    assert path.read_text().splitlines() == kept


def test_tables_are_those_of_the_committed_results(uci):
    """Every cell of the first five models is there, and the page shows what the file says."""
    rows = uci.read_rows(ANALYSIS / "results" / "uci.csv")
    assert len({tuple(row[field] for field in uci.KEY) for row in rows}) == len(rows)
    assert {row["method"] for row in rows} == set(uci.METHODS)
    first = list(uci.METHODS)[:5]
    assert sum(row["method"] in first for row in uci.first(rows, uci.PUBLISHED)) == 5 * 3 * 5 * 2 * 2
    page = (ANALYSIS / "regression.md").read_text()
    assert uci.table(rows, True) in page
    assert uci.table(rows, False) in page
    assert uci.reached(rows) in page


def test_what_is_reached_is_told_from_paired_splits(uci):
    """Errors on two splits: 1 and 3 without outliers, 2 and 3 with them, 1 and 2 of the plain process."""
    rows = []
    methods = [(uci.ROBUST[0], False, (1.0, 3.0)), (uci.ROBUST[0], True, (2.0, 3.0)), (uci.PLAIN, False, (1.0, 2.0))]
    for method, corrupted, errors in methods:
        for split, error in enumerate(errors):
            key = dict(zip(uci.KEY, (method, "yacht", split, corrupted, True), strict=True))
            rows.append(key | dict.fromkeys(uci.FIELDS[5:], error) | {"cover90": 0.9})
    *_, line = uci.reached(rows).splitlines()
    assert line.split(" | ")[2:6] == ["2", "1.25", "90.0 ± 3.8", "90.0 ± 3.8"]  # (0.09 / 62)^(1/2)
    assert line.split(" | ")[6:] == ["+0.500 ± 0.500", "+0.500 ± 0.500 |"]
    more = dict(zip(uci.KEY, (uci.ROBUST[0], "yacht", 2, True, True), strict=True))
    rows.append(more | dict.fromkeys(uci.FIELDS[5:], 9.0) | {"cover90": 0.1})  # of a split that the others lack
    assert uci.reached(rows).splitlines()[-1] == line
