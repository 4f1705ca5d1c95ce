"""From a table to a card, a report and predictions, by the command line."""

import subprocess
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from stpbnn import cli
from stpbnn.cards import load_card

FEW = ["sampler.warmup=20", "sampler.draws=20", "sampler.chains=2", "network.widths=[5]", "theories.names=['infinite']"]


def words(*arguments):
    runner = CliRunner()
    return runner.invoke(cli.app, [str(each) for each in arguments], env={"COLUMNS": "200", "TERM": "dumb"})


def house(rows=40):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"area": rng.normal(100, 20, rows).round(1), "kind": rng.choice(["flat", "house"], rows)})
    table["price"] = (3 * table.area + 20 * (table.kind == "house") + rng.normal(0, 9, rows)).round(1)
    table.loc[3, "area"] = np.nan
    return table


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    house().to_csv("house.csv", index=False)
    return tmp_path


def test_a_drafted_card_is_valid_and_says_what_comes_next(folder):
    result = words("new", "house.csv", "--target", "price")
    assert result.exit_code == 0, result.output
    assert "Next: stpbnn run house.toml" in result.output
    card = load_card("house.toml")
    assert (card.data.missing, card.data.target, card.minutes > 0) == ("mean", "price", True)
    assert 0.001 <= card.posterior.temperature <= 1
    assert tomllib.loads((folder / "house.toml").read_text())["data"]["file"] == "house.csv"
    assert "fills missing values (1 in area)" in (folder / "house.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["new", "house.csv"],
            "target: missing, expected the column to predict, with --target COLUMN: one of area, kind",
        ),
        (["new", "house.csv", "-t", "prize"], "price"),
        (["new", "hose.csv", "-t", "price"], "did you mean house.csv?"),
        (["run", "house.csv"], "target: missing, expected the column to predict"),
        (["theory", "house.csv"], "house.csv: is a table, expected a card; `stpbnn new house.csv --target COLUMN`"),
        (["run", "smoke-1hl-linear", "-t", "price"], "target: is for a table, and smoke-1hl-linear is a card"),
        (["predict", "nowhere", "house.csv"], "expected a run folder"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_every_mistake_says_what_to_do(arguments, message):
    result = words(*arguments)
    assert isinstance(result.exception, (ValueError, SystemExit))
    assert message in str(result.exception) + result.output


@pytest.mark.usefixtures("folder")
def test_a_card_that_is_there_is_not_written_over():
    assert words("new", "house.csv", "-t", "price").exit_code == 0
    with pytest.raises(ValueError, match=r"house.toml: is there already; run it with `stpbnn run house.toml`"):
        raise words("new", "house.csv", "-t", "price").exception


def test_from_a_table_to_predictions(folder):
    """The mean of infinite width is that of the same kernel regression by hand, in the units of the file."""
    result = words("run", "house.csv", "-t", "price", "-q", *(word for key in FEW for word in ("--set", key)))
    assert result.exit_code == 0, result.output
    assert "Next: stpbnn predict runs/house NEW.csv -o predictions.csv" in result.output
    new = house().dropna().head(5)
    new.to_csv("new.csv", index=False)
    result = words("predict", "runs/house", "new.csv", "-o", "out.csv")
    assert result.exit_code == 0, result.output
    found = pd.read_csv("out.csv")
    assert found["row"].tolist() == [2, 3, 4, 5, 6]
    assert np.corrcoef(found["infinite width mean"], new["price"])[0, 1] > 0.9
    assert 100 < found["posterior mean"].mean() < 600
    assert (found["posterior 2.5 %"] < found["posterior 97.5 %"]).all()
    noisy = words("predict", "runs/house", "new.csv", "-o", "noisy.csv", "--noise", "--theory", "none")
    assert noisy.exit_code == 0, noisy.output
    assert (pd.read_csv("noisy.csv")["posterior std"] > found["posterior std"]).all()
    with pytest.raises(ValueError, match=r"out: got new.csv, the file with the inputs"):
        raise words("predict", "runs/house", "new.csv", "-o", "new.csv").exception
    new.assign(kind="barn").to_csv("barn.csv", index=False)
    with pytest.raises(ValueError, match=r"barn.csv: column 'kind', row 2: got the category 'barn'"):
        raise words("predict", "runs/house", "barn.csv").exception
    new.drop(columns="area").to_csv("less.csv", index=False)
    with pytest.raises(ValueError, match=r"less.csv: column: got 'area', expected one of"):
        raise words("predict", "runs/house", "less.csv").exception


def test_help_of_the_new_commands():
    for command in ("new", "predict"):
        done = subprocess.run([sys.executable, "-m", "stpbnn", command, "--help"], capture_output=True, text=True)
        assert (done.returncode, "Example: " in done.stdout) == (0, True)
