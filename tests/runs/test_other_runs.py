"""Runs of another card or other data are refused and left alone."""

import pytest
from run_folders import TINY, contents, snapshot

from stpbnn import cards, runs


def test_run_of_another_card_is_refused_and_left_alone(folder):
    before = snapshot(folder)
    other = cards.load_card("smoke-1hl-linear", [*TINY, "posterior.temperature=0.2", "network.widths=[6]"])
    with pytest.raises(ValueError, match=r"widths is \[5\] there and \[6\] here; posterior.temperature is 0.1 "):
        runs.run_card(other, folder, progress=False)
    assert snapshot(folder) == before


def test_posterior_of_other_data_is_refused_and_left_alone(card, folder, monkeypatch):
    before = snapshot(folder)
    X, y, X_test, y_test = card.data.load()
    monkeypatch.setattr(cards.Data, "load", lambda self, classes: (X, y + 1e-9, X_test, y_test))
    with pytest.raises(ValueError, match=r"posterior.nc: was sampled with other data than the card loads now"):
        runs.run_card(card, folder, progress=False)
    assert snapshot(folder) == before


def test_folder_with_other_files_is_refused_and_left_alone(card, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        runs.run_card(card, tmp_path, progress=False)
    with pytest.raises(ValueError, match="is a file"):
        runs.run_card(card, tmp_path / "thesis.tex", progress=False)
    assert contents(tmp_path) == ["thesis.tex"]
