"""From a table to a card, a report and predictions, by the command line."""

import subprocess
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
from sklearn.gaussian_process import GaussianProcessClassifier
from typer.testing import CliRunner

import stpbnn
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


def pets(rows=60):
    """Return a table of animals: their kind as text, as words of two, and as whole numbers."""
    rng = np.random.default_rng(0)
    number = np.arange(rows) % 3
    table = pd.DataFrame({"weight": number + rng.normal(0, 0.3, rows), "age": rng.normal(5, 2, rows)}).round(2)
    table["kind"] = np.array(["cat", "dog", "pony"])[number]
    return table.assign(barks=np.where(number == 1, "yes", "no"), number=number)


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


def test_what_is_done_with_missing_values_may_be_said(folder):
    """By pandas: rows without an area are left out, and a target that is missing is only left out when asked."""
    assert words("new", "house.csv", "-t", "price", "--missing", "drop").exit_code == 0
    card, table = load_card("house.toml"), house()
    X, _, Xt, _ = card.load()
    assert (card.data.missing, len(X) + len(Xt)) == ("drop", len(table.dropna()))
    assert "leaves out the rows of missing values (1 in area)" in (folder / "house.toml").read_text()
    with pytest.raises(ValueError, match=r"house.toml: is there already, with missing drop, and mean is asked for; ch"):
        raise words("run", "house.csv", "-t", "price", "--missing", "mean").exception
    with pytest.raises(ValueError, match=r"house.toml: is there already, with target price, and area is asked for"):
        raise words("run", "house.csv", "-t", "area").exception
    with pytest.raises(ValueError, match=r"missing: got 'median', expected one of"):
        raise words("run", "house.csv", "-t", "price", "--missing", "median").exception
    (folder / "house.toml").unlink()
    with pytest.raises(ValueError, match=r"column 'area', row .*: the value is missing"):
        raise words("new", "house.csv", "-t", "price", "--missing", "refuse").exception
    with pytest.raises(ValueError, match=r"missing: got 'median', expected one of"):
        raise words("new", "house.csv", "-t", "price", "--missing", "median").exception
    table.loc[3, "price"] = np.nan
    table.to_csv("house.csv", index=False)
    with pytest.raises(ValueError, match=r"column 'price', row .*; here: --missing drop"):
        raise words("new", "house.csv", "-t", "price").exception
    assert words("new", "house.csv", "-t", "price", "--missing", "drop").exit_code == 0
    assert "(1 in area, 1 in price)" in (folder / "house.toml").read_text()


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
    report = (folder / "runs" / "house" / "report.html").read_text("utf-8")
    assert str(folder) not in report
    assert "file = &#34;house.csv&#34;" in report  # for a co-author, whose card is beside the table
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
    with pytest.raises(ValueError, match=r"less.csv: column 'area': the table lacks it"):
        raise words("predict", "runs/house", "less.csv").exception


@pytest.mark.parametrize(
    ("column", "words_of_it", "likelihood", "outputs", "classes"),
    [
        ("barks", [], "bernoulli", 1, ["no", "yes"]),
        ("kind", ["--classes"], "categorical", 3, ["cat", "dog", "pony"]),
        pytest.param("number", ["--classes"], "categorical", 3, [0, 1, 2], marks=pytest.mark.long),
        ("number", [], "gaussian", 1, None),
    ],
)
def test_a_target_of_classes_gets_a_card_of_classes(folder, caplog, column, words_of_it, likelihood, outputs, classes):
    """The readout's precision is the likeliest of the card's five, by scikit-learn's evidence where it has one."""
    pets()[["weight", "age", column]].to_csv("pets.csv", index=False)
    with caplog.at_level("INFO", "stpbnn"):
        result = words("new", "pets.csv", "-t", column, *words_of_it)
    assert result.exit_code == 0, result.output
    card = load_card("pets.toml")
    assert (card.network.likelihood, card.network.outputs) == (likelihood, outputs)
    X, y, _, yt = card.load()
    hints = [record.message for record in caplog.records if "give --classes" in record.message]
    if classes is None:
        assert hints == ["number has 3 different whole numbers; if they name classes, give --classes"]
        return
    assert hints == []
    assert card.posterior.temperature == 1.0
    assert sorted(set(y.tolist()) | set(yt.tolist())) == classes
    if likelihood == "bernoulli":
        net = card.build()
        evidence = {
            precision: GaussianProcessClassifier(
                stpbnn.NNGPKernel(net.set_params(weight_precision=(1.0, precision))), optimizer=None
            ).fit(X, y)
            for precision in (0.01, 0.03, 0.1, 0.3, 1.0)
        }
        best = max(evidence, key=lambda precision: evidence[precision].log_marginal_likelihood_value_)
        assert card.network.weight_precision == (1.0, best)
    text = (folder / "pets.toml").read_text("utf-8")
    assert ", ".join(f'"{name}"' if isinstance(name, str) else str(name) for name in classes) in text


def test_a_class_that_training_would_lack_is_shared_out_again(folder):
    """The one pony of fifteen rows has to be learned from; where every row is a class of its own, there is no split."""
    table = pets().drop(columns=["barks", "number"])
    few = pd.concat([table[table.kind == "pony"].head(1), table[table.kind != "pony"].head(14)])
    few.to_csv("pets.csv", index=False)
    assert words("new", "pets.csv", "-t", "kind").exit_code == 0
    _, y, _, yt = load_card("pets.toml").load()
    assert ("pony" in y, "pony" in yt) == (True, False)
    (folder / "pets.toml").unlink()
    few.assign(kind=range(15)).to_csv("pets.csv", index=False)
    with pytest.raises(ValueError, match=r"target: got so few rows of the classes \d.*; remove these rows"):
        raise words("new", "pets.csv", "-t", "kind", "--classes").exception


@pytest.mark.usefixtures("folder")
def test_a_card_of_numbers_is_not_taken_for_one_of_classes():
    pets()[["weight", "age", "number"]].to_csv("pets.csv", index=False)
    assert words("new", "pets.csv", "-t", "number").exit_code == 0
    with pytest.raises(ValueError, match=r"pets.toml: is there already, with classes no, and yes is asked for"):
        raise words("run", "pets.csv", "-t", "number", "--classes").exception
    with pytest.raises(ValueError, match=r"classes: is for a table, and smoke-1hl-linear is a card"):
        raise words("run", "smoke-1hl-linear", "--classes").exception


@pytest.mark.long
def test_from_a_table_of_classes_to_a_report(folder):
    pets()[["weight", "age", "barks"]].to_csv("pets.csv", index=False)
    result = words("run", "pets.csv", "-t", "barks", "-q", *(word for key in FEW for word in ("--set", key)))
    assert result.exit_code == 0, result.output
    report = (folder / "runs" / "pets" / "report.html").read_text("utf-8")
    for said in ("no, yes; logistic function of one output", "Reliability", "Confusion matrix"):
        assert said in report
    pets()[["weight", "age"]].head(6).to_csv("new.csv", index=False)
    assert words("predict", "runs/pets", "new.csv", "-o", "out.csv").exit_code == 0
    assert (pd.read_csv("out.csv")["posterior class"] == pets().barks.head(6)).all()


def test_help_of_the_new_commands():
    for command in ("new", "predict"):
        done = subprocess.run([sys.executable, "-m", "stpbnn", command, "--help"], capture_output=True, text=True)
        assert (done.returncode, "Example: " in done.stdout) == (0, True)
