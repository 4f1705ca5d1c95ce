"""Every example runs by itself and leaves one picture in the folder that it is given."""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SLOW = ("hyperparameters", "langevin_bias", "pipeline")  # the pages run them all, too
CASES = [pytest.param(path, marks=pytest.mark.long) if path.stem in SLOW else path for path in EXAMPLES]


@pytest.mark.parametrize("script", CASES, ids=lambda path: path.stem)
def test_example(script, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(script), str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    plt.close("all")
    assert [path.name for path in tmp_path.iterdir()] == [f"{script.stem}.png"]
    assert plt.imread(tmp_path / f"{script.stem}.png").std() > 0.01  # something was drawn


def test_there_are_examples():
    assert len(EXAMPLES) >= 8
