"""Every example runs by itself and leaves one picture in the folder that it is given."""

import json
import os
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


@pytest.mark.skipif("STPBNN_SITE" not in os.environ, reason="STPBNN_SITE names no built site")
def test_a_notebook_runs_where_it_lies(tmp_path, monkeypatch):
    """As Jupyter starts it, with arguments of its own; the other notebooks differ in their scripts alone."""
    notebooks = sorted(Path(os.environ["STPBNN_SITE"]).resolve().glob("gallery/*.ipynb"))
    assert [path.stem for path in notebooks] == [path.stem for path in EXAMPLES]
    for path in notebooks:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        assert not any("sys." in text or "tempfile" in text for text in code)
        if path.stem == "outliers":
            monkeypatch.chdir(tmp_path)
            monkeypatch.setattr("sys.argv", ["launcher", "-f", "kernel.json"])
            namespace = {}
            for text in code:
                exec(text, namespace)
            plt.close("all")
    assert [path.name for path in tmp_path.iterdir()] == ["outliers.png"]


def test_there_are_examples():
    assert len(EXAMPLES) >= 8
