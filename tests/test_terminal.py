"""What the command line gives to scripts: JSON, exit codes, completion, and what it finds on a machine."""

import dataclasses
import io
import json
import logging
import math
import os
import platform
import subprocess
import sys
from importlib import metadata

import jax
import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from run_folders import CLOSED, TINY
from threadpoolctl import threadpool_info
from typer.testing import CliRunner

import stpbnn
from stpbnn import cli, runs
from stpbnn.cards import load_card, shipped_cards
from stpbnn.terminal import doctor, records, tables


@pytest.fixture(autouse=True)
def level():
    """The level of the logs is that of the words of one command."""
    logger = logging.getLogger("stpbnn")
    before = logger.level
    yield
    logger.setLevel(before)


def words(*arguments):
    """Run the command line within this process, as far as its exit."""
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="stpbnn")


def document(*arguments):
    """Return the JSON document that a command prints, alone."""
    result = words(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, ""), result.exception
    return json.loads(result.stdout)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_in_json_has_the_numbers_of_its_folder(tmp_path, monkeypatch, caplog):
    folder = tmp_path / "run"
    changes = [word for change in TINY for word in ("--set", change)]
    told = document("run", "smoke-1hl-linear", "-o", folder, "-q", "-v", *changes)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "data",
        "solving the theories",
        "theory",
        "sampling",
        "comparison",
        "report",
    ]
    with xr.open_dataset(folder / "comparison.nc", engine="h5netcdf") as comparison:
        assert told["posterior"]["rhat"] == comparison["rhat_worst"].item()
        assert told["posterior"]["error"]["variance"] == comparison["error_posterior"].sel(part="variance").item()
        assert [one["theory"] for one in told["theories"]] == comparison["theory"].to_numpy().tolist()
        for one in told["theories"]:
            stored = comparison.sel(theory=one["theory"])
            assert one["verdict"] == stored["verdict"].item()
            assert one["error"]["total"] == stored["error"].sel(part="total").item()
            assert one["error_z"] == stored["error_z"].sel(part="total").item()
    assert told["seconds"] == json.loads((folder / "run.json").read_text())["seconds"]
    assert (told["card"], told["report"]) == ("smoke-1hl-linear", str(folder / "report.html"))
    assert told["agrees"] is told["posterior"]["converged"] is False  # forty draws

    failed = words("report", folder, "--strict", "--json")
    assert (failed.exit_code, json.loads(failed.stdout)) == (1, told)
    run = runs.load_run(folder)
    one_agrees = run.comparison.assign(agrees=("theory", np.arange(run.comparison.sizes["theory"]) == 1))
    monkeypatch.setattr(runs, "rerender", lambda folder, **options: dataclasses.replace(run, comparison=one_agrees))
    assert words("report", folder, "--strict").exit_code == 0


def test_the_process_exits_with_1_where_strict_asks_for_more(monkeypatch, capsys):
    """Through main, which is where exit codes are made."""
    monkeypatch.setattr(cli, "_show_run", lambda *arguments: (_ for _ in ()).throw(cli.typer.Exit(1)))
    monkeypatch.setattr(runs, "rerender", lambda folder, **options: None)
    with pytest.raises(SystemExit) as end:
        cli.main(["report", "somewhere", "--strict"])
    assert (end.value.code, capsys.readouterr().err) == (1, "")


def test_theory_in_json(tmp_path):
    told = document(
        "theory", "smoke-1hl-linear", *(w for s in ("data.train=6", "data.test=4", CLOSED) for w in ("--set", s))
    )
    X, y, X_test, y_test = stpbnn.datasets.load("linear_teacher", train=6, test=4, size=10, noise=0.1, seed=0)
    model = stpbnn.NNGPRegressor(stpbnn.FullyConnected((5,), "linear"), temperature=0.1).fit(X, y)
    total, squared_bias, variance = model.generalization_error(X_test, y_test)
    assert told["card"] == "smoke-1hl-linear"
    assert told["theories"][0] == {
        "theory": "infinite width",
        "error": {"total": total, "squared_bias": squared_bias, "variance": variance},
        "order_parameters": [1.0],
        "log_marginal_likelihood": model.log_marginal_likelihood_,
        "converged": True,
    }


def test_theory_of_a_sweep_in_json_has_a_record_for_each_point(tmp_path):
    card = tmp_path / "swept.toml"
    text = load_card("smoke-1hl-linear", ["name=swept", "data.test=4", CLOSED]).to_toml()
    card.write_text(text + "[sweep]\n'network.widths' = [[5], [500]]\n'data.train' = [6, 9]\n")
    points = document("theory", card, "-q")["points"]
    assert [(point["train"], point["width"]) for point in points] == [(6, 5), (6, 500), (9, 5), (9, 500)]
    X, y, X_test, y_test = stpbnn.datasets.load("linear_teacher", train=9, test=4, size=10, noise=0.1, seed=0)
    model = stpbnn.ProportionalLimitRegressor(stpbnn.FullyConnected((5,), "linear"), temperature=0.1).fit(X, y)
    (found,) = (one for one in points[2]["theories"] if one["theory"] == "proportional limit")
    assert found["order_parameters"] == pytest.approx(model.order_parameters_.tolist(), rel=1e-6)
    assert found["error"]["total"] == pytest.approx(model.generalization_error(X_test, y_test).total, rel=1e-6)


def test_models_and_datasets_in_json(tmp_path, monkeypatch):
    monkeypatch.setenv("STPBNN_DATA", str(tmp_path))
    cards = document("models")
    assert [card["name"] for card in cards] == list(shipped_cards())
    assert all(
        card["title"] and card["minutes"] > 0 and (card["network"]["widths"] or card["network"]["channels"])
        for card in cards
    )
    assert {one["name"]: one["found"] for one in document("datasets")} == {
        one.name: one.found for one in stpbnn.datasets.describe(tmp_path)
    }


def test_a_theory_that_is_simulated_has_its_error_and_its_reason_in_json_and_in_the_table():
    """As theory() gives them, for a theory that has not converged."""
    parts = ["total", "squared_bias", "variance"]
    predictions = xr.Dataset(
        {
            "error": (("theory", "part"), [[0.3, 0.2, 0.1]] * 2),
            "theory_error_mcse": (("theory", "part"), [[0.0] * 3, [0.01, 0.008, 0.006]]),
            "order_parameters": (("theory", "layer"), [[1.0], [math.nan]]),
            "log_marginal_likelihood": ("theory", [-1.5, math.nan]),
            "readout_second_moment": ("theory", [math.nan, 0.8]),
            "converged": ("theory", [True, False]),
            "reason": ("theory", ["", "has not settled"]),
        },
        {"theory": ["infinite width", "adaptive kernel"], "part": parts},
    )
    plain, simulated = records.theory_records(predictions)
    assert {"mcse", "readout_second_moment", "reason"}.isdisjoint(plain)
    assert simulated["mcse"] == dict(zip(parts, [0.01, 0.008, 0.006], strict=True))
    assert (simulated["readout_second_moment"], simulated["reason"]) == (0.8, "has not settled")
    assert simulated["order_parameters"] == []
    out = io.StringIO()
    Console(file=out, width=80).print(tables.theory_table(predictions))
    (row,) = (line.split() for line in out.getvalue().splitlines() if "±" in line)
    assert row == ["adaptive", "kernel", "0.300", "±", "0.010", "0.200", "0.100", "–", "–", "no"]
    assert "adaptive kernel: has not settled" in out.getvalue()


def test_numbers_that_are_not_finite_are_null():
    assert json.loads(records.as_json({"a": (math.nan, math.inf, 1.0), "b": None})) == {
        "a": [None, None, 1.0],
        "b": None,
    }


def test_verbose_shows_where_a_mistake_comes_from(capsys):
    for more, shown in (([], False), (["--verbose"], True)):
        with pytest.raises(SystemExit) as end:
            cli.main(["theory", "digit-1hl-erf", *more])
        error = capsys.readouterr().err
        assert end.value.code == 2
        assert ("Traceback" in error) is shown
        assert error.splitlines()[-1].startswith("stpbnn: error: digit-1hl-erf: expected")


def test_doctor_names_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("STPBNN_DATA", str(tmp_path))
    told = document("doctor")
    assert told["versions"]["stpbnn"] == stpbnn.__version__
    assert told["versions"]["python"] == platform.python_version()
    assert told["versions"]["jax"] == jax.__version__
    assert told["versions"]["scikit-learn"] == metadata.version("scikit-learn")
    assert [device["platform"] for device in told["devices"]] == [device.platform for device in jax.devices()]
    assert told["precision"]["chains"] == str(jax.numpy.zeros(()).dtype)
    loaded = {info["filepath"]: info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}
    assert {library["file"]: library["threads"] for library in told["blas"]} == loaded
    assert (told["data"]["folder"], told["data"]["found"]["mnist"]) == (str(tmp_path), False)
    assert [lack["what"] for lack in told["missing"]][-2:] == ["data set mnist", "data set cifar10"]
    table = words("doctor").output
    assert all(word in table for word in ("STPBNN_DATA", "float32", "openblas", "mnist"))


def test_doctor_speaks_of_what_is_broken(monkeypatch):
    """No package, no device and no GPU are findings, not errors."""

    def absent(package):
        raise metadata.PackageNotFoundError(package)

    def no_devices():
        raise RuntimeError("Unable to initialize\nbackend")

    monkeypatch.setattr(doctor.metadata, "version", absent)
    monkeypatch.setattr(jax, "devices", no_devices)
    found = doctor.examine()
    assert found["versions"]["numpyro"] is None
    assert found["devices"] == []
    what = {lack["what"]: lack["remedy"] for lack in found["missing"]}
    assert what["numpyro"] == "`uv sync` in a clone installs it"
    assert what["JAX does not start"] == "Unable to initialize backend"
    assert words("doctor").exit_code == 0

    monkeypatch.undo()
    monkeypatch.setattr(doctor.shutil, "which", lambda program: "/somewhere/nvidia-smi")
    if all(device.platform == "cpu" for device in jax.devices()):
        assert any("cuda" in lack["remedy"] for lack in doctor.examine()["missing"])


def test_the_shell_completes_commands_and_cards_without_jax():
    code = "import sys, stpbnn.cli\ntry: stpbnn.cli.main()\nfinally: print('jax' in sys.modules, file=sys.stderr)"
    completed = {}
    for line in ("stpbnn do", "stpbnn run smo"):
        asked = {"_STPBNN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, timeout=60
        )
        completed[line] = done.stdout.split()
        assert done.stderr == "False\n"
    assert completed == {"stpbnn do": ["doctor"], "stpbnn run smo": ["smoke-1hl-linear"]}
