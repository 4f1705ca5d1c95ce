"""The command line: its words, its exit codes, one line for a mistake."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import xarray as xr
from run_folders import TINY
from typer.testing import CliRunner

import stpbnn
from stpbnn import cli
from stpbnn.cards import load_card

CARDS = sorted(path.stem for path in (Path(__file__).parents[1] / "models").glob("*.toml"))


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Tables are printed without breaks, whatever the terminal that the tests run in."""
    monkeypatch.setattr(cli.console, "_width", 200)


def words(*arguments):
    """Run the command line within this process, as far as its exit."""
    return CliRunner().invoke(cli.app, arguments, prog_name="stpbnn", env={"COLUMNS": "200", "TERM": "dumb"})


def process(*arguments, **more):
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "stpbnn", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "200"}, **more
    )


def test_version_and_help_are_instant_and_load_nothing_heavy():
    code = "import sys, stpbnn.cli; print(*({'jax', 'arviz', 'xarray', 'sklearn', 'pydantic'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
    version = process("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"stpbnn {stpbnn.__version__}\n", "")


@pytest.mark.parametrize("command", ["run", "theory", "sweep", "report", "models", "datasets", "doctor"])
def test_every_command_is_in_the_help_and_has_its_own(command):
    assert command in words().output
    result = words(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: stpbnn {command}" in result.output
    assert "Example: " in result.output


def test_models_lists_the_shipped_cards():
    result = words("models")
    assert result.exit_code == 0
    assert all(name in result.output for name in CARDS)
    assert "A linear teacher, one hidden layer of 5 linear units" in result.output


def test_datasets_says_which_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("STPBNN_DATA", str(tmp_path))
    result = words("datasets")
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines() if line.strip()]
    found = {row[0]: row[-1] for row in rows if row[-1] in ("yes", "no")}
    assert found["digits"] == found["linear_teacher"] == "yes"
    assert found["mnist"] == found["cifar10"] == "no"
    assert set(found) == set(stpbnn.datasets.names())


def test_theory_prints_the_closed_forms_and_writes_them(tmp_path):
    file = tmp_path / "theory.nc"
    small = [word for change in ("train=6", "test=4") for word in ("--set", f"data.{change}")]
    chosen = ["--set", "theories.names=['infinite', 'finite']"]
    result = words("theory", "smoke-1hl-linear", *small, *chosen, "-o", str(file))
    assert result.exit_code == 0
    X, y, X_test, y_test = stpbnn.datasets.load("linear_teacher", train=6, test=4, size=10, noise=0.1, seed=0)
    model = stpbnn.NNGPRegressor(stpbnn.FullyConnected((5,), "linear"), temperature=0.1).fit(X, y)
    (row,) = (line.split() for line in result.output.splitlines() if "infinite width" in line)
    error = model.generalization_error(X_test, y_test)
    evidence = f"{model.log_marginal_likelihood_:.2f}"
    assert row[2:] == [*(f"{part:#.3g}" for part in error), "1.00", evidence, "yes"]
    with xr.open_dataset(file, engine="h5netcdf") as written:
        assert written["error"].sel(theory="infinite width", part="total").item() == error.total
    assert [path.name for path in tmp_path.iterdir()] == ["theory.nc"]


def test_run_and_report_print_the_table_and_the_path(tmp_path):
    """A card from end to end, with a chain of a few steps; then its report from the folder."""
    folder, changes = tmp_path / "run", [word for change in TINY for word in ("--set", change)]
    done = words("run", "smoke-1hl-linear", "-o", str(folder), "--quiet", *changes)
    assert (done.exit_code, done.stderr) == (0, ""), done.exception
    assert "posterior (MCMC)" in done.output
    assert done.output.endswith(f"Report: {folder / 'report.html'}\n")
    (folder / "report.html").unlink()
    again = words("report", str(folder))
    assert (again.exit_code, again.output) == (0, done.output)
    assert (folder / "report.html").is_file()


def test_run_folder_is_named_after_the_card_and_a_sweep_is_left_aside_aloud(tmp_path, monkeypatch):
    """What is asked of the library: the base point, in runs/NAME."""
    card, asked = tmp_path / "swept.toml", []
    card.write_text(
        load_card("smoke-1hl-linear", ["name=swept"]).to_toml() + "[sweep]\n'network.widths' = [[5], [9]]\n"
    )

    def run_card(card, folder, *, progress):
        asked.append((card.network.widths, folder, progress))
        raise ValueError("enough")

    monkeypatch.setattr("stpbnn.runs.run_card", run_card)
    with pytest.warns(
        UserWarning, match=r"swept has a sweep over network.widths: only its base point is run; `stpbnn sweep`"
    ):
        words("run", str(card), "-q")
    assert asked == [((5,), Path("runs/swept"), False)]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run"], "Missing argument 'card'."),
        (["rnu"], "No such command 'rnu'. Did you mean 'run'?"),
        (["run", "digits-1hl-erf", "--sett"], "No such option: --sett"),
        (["run", "digit-1hl-erf"], f"digit-1hl-erf: expected a TOML file or one of {', '.join(CARDS)}; did you mean"),
        (["run", "digits-1hl-erf", "--set", "network.widths=[0]"], "override 'network.widths=[0]': network"),
        (
            ["theory", "digits-1hl-erf", "--set", "data.train=9999"],
            "override 'data.train=9999': data.train: digits has 360 rows of these classes for training and test",
        ),
        (["theory", "digits-1hl-erf", "--set", "network.activation=erff"], "override 'network.activation=erff': "),
        (
            ["theory", "smoke-1hl-linear", "-o", "{file}/theory.nc"],
            "out: got '{file}/theory.nc', but there is no folder '{file}'",
        ),
        (["run", "smoke-1hl-linear", "-o", "{file}"], "{file}: is a file; choose another folder with -o"),
        (["report", "{absent}"], "{absent}: expected a run folder, as `stpbnn run` makes it; there is no "),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line_and_exit_code_2(arguments, line, tmp_path, capsys):
    file, absent = tmp_path / "file.txt", tmp_path / "absent"
    file.touch()
    with pytest.raises(SystemExit) as end:
        cli.main([argument.format(file=file, absent=absent) for argument in arguments])
    shown = capsys.readouterr().err
    assert end.value.code == 2
    assert shown.startswith(f"stpbnn: error: {line.format(file=file, absent=absent)}")
    assert shown.count("\n") == 1
    assert not absent.exists()


def test_a_process_ends_so_too_and_lists_every_mistake(tmp_path):
    card = tmp_path / "card.toml"
    text = load_card("smoke-1hl-linear").to_toml()
    card.write_text(text.replace("0.1\n\n[sampler]", "0\n\n[sampler]").replace("\ndraws", "\ndarws"))
    done = process("run", card, "-o", tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"stpbnn: error: {card}: posterior.temperature: got 0, expected a positive number, the variance of the "
        "Gaussian likelihood; of classes the T of p(y|f)^(1/T)",
        f"{card}: unknown key sampler.darws; did you mean sampler.draws?",
    ]
    assert not (tmp_path / "run").exists()


BUSY = """
import jax, stpbnn.cards, stpbnn.cli

def busy(*arguments, **options):
    global result  # computed in the background, for hours
    result = jax.jit(lambda x: jax.lax.while_loop(lambda x: x[0] < 1e9, lambda x: x + 1e-3, x))(jax.numpy.ones(1000))
    raise KeyboardInterrupt

stpbnn.cards.load_card = busy
stpbnn.cli.main(["run", "digits-1hl-erf"])
"""


def test_interruption_ends_with_130_at_once_though_jax_is_busy():
    done = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == "stpbnn: interrupted; `stpbnn run` and `stpbnn sweep` go on from what is finished\n"


DEAF = """
import jax, signal, stpbnn.runs, stpbnn.cli

signal.signal(signal.SIGINT, signal.default_int_handler)

def deaf(*arguments, **options):
    print("begun", flush=True)
    loop = jax.jit(lambda x: jax.lax.while_loop(lambda x: x[0] < 1e9, lambda x: x + 1e-3, x))
    loop(jax.numpy.ones(1000)).block_until_ready()  # for hours, in which Python handles no signal

stpbnn.runs.run_card = deaf
stpbnn.cli.main(["run", "smoke-1hl-linear"])
"""


def test_ctrl_c_ends_a_run_that_waits_for_a_compiled_loop():
    with subprocess.Popen(
        [sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout.readline() == "begun\n"
            time.sleep(3)
            run.send_signal(signal.SIGINT)
            _, shown = run.communicate(timeout=60)
        finally:
            run.kill()  # a loop of hours must not outlive a test that fails
    assert run.returncode == 130
    assert shown.endswith("stpbnn: interrupted; `stpbnn run` and `stpbnn sweep` go on from what is finished\n")


CALLER = """
import os, signal, time, stpbnn.cli

signal.signal(signal.SIGINT, signal.default_int_handler)
stpbnn.terminal.endings.GRACE = 0.1
try:
    with stpbnn.cli.exit_when_interrupted():
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    time.sleep(1)
print("alive", signal.set_wakeup_fd(-1))
"""


def test_a_caller_that_catches_the_interruption_lives_on():
    done = subprocess.run([sys.executable, "-c", CALLER], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "alive -1\n"), done.stderr


def test_warnings_are_one_line_each(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    warnings.showwarning(UserWarning("mind the gap"), UserWarning, "a.py", 1)
    assert capsys.readouterr().err == "stpbnn: warning: mind the gap\n"


def test_theory_follows_the_sweep_of_a_card(tmp_path):
    """A row for each point, in the order of the lists; the data set is written."""
    card, file = tmp_path / "swept.toml", tmp_path / "curves.nc"
    closed = "theories.names=['infinite', 'proportional', 'finite']"
    text = load_card("smoke-1hl-linear", ["name=swept", "data.test=4", closed]).to_toml()
    card.write_text(text + "[sweep]\n'network.widths' = [[5], [500]]\n'data.train' = [6, 9]\n")
    result = words("theory", str(card), "-q", "-o", str(file))
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split() for line in result.output.splitlines()]
    assert [row[:2] for row in rows if row[:1] in (["6"], ["9"])] == [
        ["6", "5"],
        ["6", "500"],
        ["9", "5"],
        ["9", "500"],
    ]
    with xr.open_dataset(file, engine="h5netcdf") as curves:
        assert curves.sizes["width"] == curves.sizes["train"] == 2
        assert [f"{error:#.3g}" for error in curves["error"].sel(width=5, train=6, part="total").squeeze()] == next(
            row[2:5] for row in rows if row[:2] == ["6", "5"]
        )
