"""Run folders: what is in them, what is used again, what is refused, and what an interruption leaves."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn import cards, files, runs, theories
from stpbnn.runs import stages
from stpbnn.samplers.chains.blocks import Chains
from stpbnn.terminal import records

FILES = ["card.toml", "checkpoint", "comparison.nc", "posterior.nc", "report.html", "run.json", "theory.nc"]
CLOSED = "theories.names=['infinite', 'proportional', 'finite']"
HOLD = """
import contextlib, sys, h5py
with contextlib.ExitStack() as stack:
    for path in sys.argv[1:]:
        stack.enter_context(h5py.File(path, "r+"))
    print("open", flush=True)
    sys.stdin.read()
"""
AGAIN = """
import sys
from stpbnn import cards, quoting, runs
again = runs.run_card(cards.load_card(sys.argv[1]), sys.argv[2], progress=False)
quoting.comparison_table(again.comparison)
slow = ("arviz", "arviz_stats", "matplotlib", "numpyro", "scipy.stats", "sklearn")
print([name for name in slow if name in sys.modules])
"""
TINY = [
    "sampler.warmup=10",
    "sampler.draws=20",
    "sampler.chains=2",
    "data.train=6",
    "data.size=3",
    "data.test=4",
    CLOSED,
]


@pytest.fixture(scope="module")
def card():
    return cards.load_card("smoke-1hl-linear", TINY)


@pytest.fixture(scope="module")
def finished(card, tmp_path_factory):
    """One real run, sampled once; tests that change its folder copy it first."""
    return runs.run_card(card, tmp_path_factory.mktemp("runs") / "deep" / "run", progress=False)


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished.folder, tmp_path / "run")


@pytest.fixture
def no_sampling(monkeypatch):
    def sample(*args, **kwargs):
        raise AssertionError("sampled again")

    monkeypatch.setattr("stpbnn.samplers.sample", sample)


@pytest.fixture
def no_pictures(monkeypatch):
    """A report of one word, for tests that look at everything else."""
    monkeypatch.setattr(stages, "write_report", lambda run: files.write_text(run.report, "report"))


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def snapshot(folder):
    """Every file and folder below a folder, with what tells whether it was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def test_folder_holds_the_whole_run(card, finished):
    assert contents(finished.folder) == FILES
    assert cards.load_card(finished.folder / "card.toml") == card
    assert finished.report.read_text(encoding="utf-8").count("</html>") == 1
    record = json.loads((finished.folder / "run.json").read_text())
    assert record == finished.record
    assert (record["card"], record["seed"], record["versions"]["stpbnn"]) == (card.name, 0, stpbnn.__version__)
    assert set(record["seconds"]) == {"data", "theory", "sampling", "comparison", "report"}
    assert record["seconds"]["sampling"] == round(finished.posterior.attrs["wall_time_s"], 3)


def test_run_is_what_the_library_gives_with_the_settings_of_the_card(finished):
    """The same calls as in a script: theory and chain, draw by draw."""
    X, y, X_test, y_test = stpbnn.datasets.load("linear_teacher", train=6, test=4, size=3, noise=0.1, seed=0)
    net = stpbnn.FullyConnected((5,), "linear")
    for name, regressor in (
        ("infinite width", stpbnn.NNGPRegressor(net, temperature=0.1)),
        ("proportional limit", stpbnn.ProportionalLimitRegressor(net, temperature=0.1)),
    ):
        theory = finished.theory.sel(theory=name)
        mean, std = regressor.fit(X, y).predict(X_test, return_std=True)
        np.testing.assert_array_equal(theory["mean"], mean)
        np.testing.assert_allclose(theory["variance"], std**2, rtol=1e-12)
        expected = regressor.generalization_error(X_test, y_test).total
        np.testing.assert_allclose(theory["error"].sel(part="total"), expected, rtol=1e-12)
    posterior = stpbnn.sample(
        net, X, y, temperature=0.1, X_test=X_test, y_test=y_test, warmup=10, draws=20, chains=2, seed=0, progress=False
    )
    for group in ("posterior", "predictions", "sample_stats"):
        xr.testing.assert_equal(finished.posterior[group].to_dataset(), posterior[group].to_dataset())


def test_files_read_back_as_what_run_card_returned(finished):
    again = runs.load_run(finished.folder)
    assert (again.card, again.record) == (finished.card, finished.record)
    xr.testing.assert_identical(again.theory, finished.theory)
    xr.testing.assert_identical(again.comparison, finished.comparison)
    assert again.posterior.identical(finished.posterior)


@pytest.mark.usefixtures("no_sampling", "no_pictures")
def test_second_run_uses_the_posterior_again(card, folder, finished):
    before = snapshot(folder)
    again = runs.run_card(card, folder, progress=False)
    after = snapshot(folder)
    assert contents(folder) == FILES
    assert after["posterior.nc"] == before["posterior.nc"]
    xr.testing.assert_identical(again.comparison, finished.comparison)
    assert again.record["seconds"]["sampling"] == finished.record["seconds"]["sampling"]


@pytest.mark.usefixtures("no_sampling")
def test_a_finished_run_is_read_and_nothing_is_made_anew(card, folder, finished, monkeypatch, caplog):
    (folder / f".card.toml.{os.uname().nodename}.{2**22 + 1}.part").write_text("torn")  # no process has this number
    before = snapshot(folder)
    del before[f".card.toml.{os.uname().nodename}.{2**22 + 1}.part"]
    for name in ("theories", "compared", "write_report"):
        monkeypatch.setattr(stages, name, lambda *_: pytest.fail("made anew"))
    with caplog.at_level("INFO", "stpbnn"):
        again = runs.run_card(card, folder, progress=False)
    assert snapshot(folder) == before
    assert f"{folder} is finished already" in caplog.text
    xr.testing.assert_identical(again.comparison, finished.comparison)
    assert again.record == finished.record


def test_a_finished_run_is_read_without_what_takes_seconds_to_import(finished):
    before = snapshot(finished.folder)
    command = [sys.executable, "-c", AGAIN, finished.folder / "card.toml", finished.folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
    assert snapshot(finished.folder) == before


@pytest.mark.usefixtures("no_sampling", "no_pictures")
def test_theories_that_are_there_are_not_solved_again(card, folder, finished, monkeypatch):
    """One by one, and joined with one that is new they are what solving all of them gives."""
    fewer = card.model_copy(update={"theories": cards.Theories(names=("infinite", "finite"))})
    runs.run_card(fewer, folder, progress=False)
    solved = []
    regressor = theories.regressor
    monkeypatch.setattr(
        theories, "regressor", lambda kind, *rest, **more: solved.append(kind) or regressor(kind, *rest, **more)
    )
    again = runs.run_card(card, folder, progress=False)
    assert solved == ["proportional"]
    xr.testing.assert_identical(again.theory, finished.theory)
    X, y, X_test, y_test = card.data.load()
    known = finished.theory
    for settings in ({"posterior": cards.Posterior(temperature=0.2)}, {"network": cards.Network(widths=[6])}):
        other = card.model_copy(update=settings)
        assert not np.array_equal(stages.theories(folder, other, (X, y, X_test, y_test))["mean"], known["mean"])
    assert not np.array_equal(stages.theories(folder, card, (X, 2 * y, X_test, y_test))["mean"], known["mean"])
    assert solved[1:] == ["infinite", "proportional", "finite"] * 3


@pytest.mark.usefixtures("no_pictures")
def test_draws_grow_from_where_they_stopped(folder, finished, monkeypatch):
    """The same draws as of one run of as many, bit for bit; after an interruption, too, and never fewer."""
    start, steps = Chains.start, Chains.steps
    more = cards.load_card("smoke-1hl-linear", [*TINY, "sampler.draws=45"])

    def interrupted(self, block, count):
        for part in steps(self, block, count):
            yield part
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Chains, "start", lambda self: pytest.fail("began anew"))
    monkeypatch.setattr(Chains, "steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.run_card(more, folder, progress=False)
    monkeypatch.setattr(Chains, "steps", steps)
    grown = runs.run_card(more, folder, progress=False)
    monkeypatch.setattr(Chains, "start", start)
    network, (X, y, X_test, y_test) = more.build(), more.data.load()
    settings = {"temperature": 0.1, "warmup": 10, "chains": 2, "seed": 0, "progress": False}
    whole = stpbnn.sample(network, X, y, X_test=X_test, y_test=y_test, draws=45, **settings)
    for group in ("posterior", "predictions", "sample_stats"):
        xr.testing.assert_equal(grown.posterior[group].to_dataset(), whole[group].to_dataset())
    assert grown.comparison["draws"] == 45
    assert runs.load_run(folder).card.sampler.draws == 45
    with pytest.raises(ValueError, match=r"sampler.draws is 45 there and 20 here"):
        runs.run_card(finished.card, folder, progress=False)


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("name", ["posterior.nc", "theory.nc", "comparison.nc", "run.json", "card.toml"])
def test_a_file_that_cannot_be_read_now_is_left_alone(card, folder, name):
    """A folder stands in its place, which nobody can read as a file."""
    (folder / name).rename(folder / "good")
    (folder / name).mkdir()
    before = snapshot(folder)
    for attempt in (runs.load_run, runs.rerender, lambda folder: runs.run_card(card, folder, progress=False)):
        with pytest.raises(OSError, match="cannot be read now") as caught:
            attempt(folder)
        assert caught.value.filename == str(folder / name)
        assert "remove" not in str(caught.value)
    assert snapshot(folder) == before


@pytest.mark.usefixtures("no_sampling")
def test_a_run_whose_files_are_locked_by_another_process_is_read(card, folder, finished):
    """The NetCDF files by a process that has them open for writing, as HDF5 locks them; the others by flock."""
    command = [sys.executable, "-c", HOLD, *map(str, folder.glob("*.nc"))]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        contextlib.ExitStack() as stack,
    ):
        assert holder.stdout.readline() == b"open\n"
        for path in [folder / "run.json", folder / "card.toml"]:
            fcntl.flock(stack.enter_context(path.open("rb+")), fcntl.LOCK_EX)
        for path in folder.glob("*.nc"):
            with pytest.raises(OSError, match="lock"):
                xr.open_datatree(path, engine="h5netcdf")
        assert runs.load_run(folder).posterior.identical(finished.posterior)
        assert runs.run_card(card, folder, progress=False).record == finished.record


@pytest.mark.usefixtures("no_sampling", "no_pictures")
def test_what_can_be_made_again_is_made_again_where_it_is_damaged(card, folder, finished):
    for name in ("theory.nc", "comparison.nc", "run.json"):
        (folder / name).write_bytes(b"torn")
    again = runs.run_card(card, folder, progress=False)
    xr.testing.assert_identical(again.comparison, finished.comparison)


@pytest.mark.usefixtures("no_pictures")
def test_a_folder_whose_first_file_was_not_finished_is_used(card, finished, tmp_path, monkeypatch):
    (tmp_path / f".card.toml.{os.uname().nodename}.{2**22 + 1}.part").write_text("[netw")
    monkeypatch.setattr("stpbnn.samplers.sample", lambda *args, **kwargs: finished.posterior.copy())
    runs.run_card(card, tmp_path, progress=False)
    assert contents(tmp_path) == [name for name in FILES if name != "checkpoint"]


@pytest.mark.parametrize("deep", ["a" * 300, "runs/" + "a" * 300, "runs/" + "a" * 300 + "/run"])
def test_names_that_are_too_long_leave_nothing(card, tmp_path, deep):
    with pytest.raises(ValueError, match=r"folder: got the name 'a+…a+' of 300 bytes, expected at most 255"):
        runs.run_card(card, tmp_path / deep, progress=False)
    assert contents(tmp_path) == []


def test_what_the_sampler_refuses_leaves_nothing(tmp_path):
    """T = 1e300 lies beyond the single precision of the chains."""
    card = cards.load_card(
        "smoke-1hl-linear", [*TINY[:-1], "posterior.temperature=1e300", "theories.names=['infinite']"]
    )
    with warnings.catch_warnings(action="ignore"), pytest.raises(ValueError, match=r"temperature|finite"):
        runs.run_card(card, tmp_path / "runs" / "hot", progress=False)
    assert contents(tmp_path) == []


@pytest.mark.usefixtures("no_sampling")
def test_theories_may_change_without_sampling_anew(folder, finished):
    """The adaptive kernel joins the others, with the card's seed and particles; numbers are those of the library."""
    changes = ["theories.names=['infinite', 'adaptive']", "theories.particles=256"]
    again = runs.run_card(cards.load_card("smoke-1hl-linear", [*TINY[:-1], *changes]), folder, progress=False)
    X, y, Xt, yt = stpbnn.datasets.load("linear_teacher", train=6, test=4, size=3, noise=0.1, seed=0)
    model = stpbnn.AdaptiveKernelRegressor(
        stpbnn.FullyConnected((5,), "linear"), temperature=0.1, particles=256, random_state=0
    ).fit(X, y)
    assert again.theory["theory"].values.tolist() == ["infinite width", "adaptive kernel"]
    found, compared = (stored.sel(theory="adaptive kernel") for stored in (again.theory, again.comparison))
    np.testing.assert_allclose(found["mean"], model.predict(Xt), rtol=1e-12)
    np.testing.assert_allclose(found["theory_mcse"], model.standard_error(Xt).mean, rtol=1e-9)
    np.testing.assert_allclose(
        compared["theory_error_mcse"], model.generalization_error_standard_error(Xt, yt), rtol=1e-9
    )
    assert found["readout_second_moment"] == model.readout_second_moment_
    assert np.isnan(found["order_parameters"]).all()
    assert found["log_marginal_likelihood"] == model.log_marginal_likelihood_
    assert "adaptive kernel" in again.report.read_text(encoding="utf-8")
    assert again.record["fingerprint"] == finished.record["fingerprint"]


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("lost", [False, True], ids=["not settled", "no solution"])
def test_a_theory_without_a_solution_is_listed_and_the_run_goes_on(folder, monkeypatch, lost):
    """A search that stops early, and one that raises: the reason is told, stored and shown; figures leave it out."""
    fit, reason = stpbnn.AdaptiveKernelRegressor.fit, "has not settled after 12 moves"

    def early(self, X, y):
        if lost:
            raise ValueError(reason)
        fit(self.set_params(max_iter=12), X, y)
        self.converged_ = False
        warnings.warn(reason, ConvergenceWarning, stacklevel=2)
        return self

    monkeypatch.setattr(stpbnn.AdaptiveKernelRegressor, "fit", early)
    changes = ["theories.particles=64", "theories.names=['proportional', 'adaptive']"]
    card = cards.load_card("smoke-1hl-linear", [*TINY[:-1], *changes])
    with pytest.warns(ConvergenceWarning, match="adaptive kernel: .*has not settled after 12 moves"):
        again = runs.run_card(card, folder, progress=False)
    stored = runs.load_run(folder)
    assert stored.theory["converged"].values.tolist() == [True, False]
    assert stored.theory["converged"].dtype == bool
    assert stored.theory["reason"].values[0] == ""
    assert reason in stored.theory["reason"].values[1]
    assert np.isnan(stored.theory["mean"].sel(theory="adaptive kernel")).all() == lost
    html = again.report.read_text(encoding="utf-8")
    assert "adaptive kernel" in html
    assert "of proportional limit against" in html or "those of proportional limit." in html
    (record,) = (one for one in records.run_record(again)["theories"] if one["theory"] == "adaptive kernel")
    assert reason in record["reason"]
    assert not record["agrees"]


def test_a_card_without_any_solution_is_refused_with_the_first_reason(monkeypatch):
    def fit(self, X, y):
        raise ValueError("no solution")

    monkeypatch.setattr(stpbnn.AdaptiveKernelRegressor, "fit", fit)
    with pytest.raises(ValueError, match="no solution"):
        theories.theory(cards.load_card("smoke-1hl-linear", [*TINY[:-1], "theories.names=['adaptive']"]))


@pytest.mark.usefixtures("no_sampling", "no_pictures")
def test_what_does_not_change_the_numbers_may_change(folder):
    card = cards.load_card("smoke-1hl-linear", [*TINY, "title=Another title", "data.data_home=elsewhere"])
    runs.run_card(card, folder, progress=False)
    assert "Another title" in (folder / "card.toml").read_text()


def test_run_of_another_card_is_refused_and_left_alone(folder):
    before = snapshot(folder)
    other = cards.load_card("smoke-1hl-linear", [*TINY, "posterior.temperature=0.2", "network.widths=[6]"])
    with pytest.raises(ValueError, match=r"widths is \[5\] there and \[6\] here; posterior.temperature is 0.1 "):
        runs.run_card(other, folder, progress=False)
    assert snapshot(folder) == before


def test_posterior_of_other_data_is_refused_and_left_alone(card, folder, monkeypatch):
    before = snapshot(folder)
    X, y, X_test, y_test = card.data.load()
    monkeypatch.setattr(cards.Data, "load", lambda self: (X, y + 1e-9, X_test, y_test))
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


@pytest.mark.parametrize("mistake", ["data.name=digts", "data.classes=[0, 1]", "network.outputs=2"])
def test_bad_input_leaves_no_folder(mistake, tmp_path):
    card = cards.load_card("smoke-1hl-linear", [*TINY, mistake])
    with pytest.raises(ValueError, match=r"expected|regression"):
        runs.run_card(card, tmp_path / "run", progress=False)
    assert contents(tmp_path) == []


@pytest.mark.usefixtures("no_pictures")
def test_interrupted_run_leaves_only_whole_files_and_goes_on(card, finished, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("stpbnn.samplers.sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.run_card(card, tmp_path, progress=False)
    assert contents(tmp_path) == ["card.toml", "theory.nc"]
    with pytest.raises(ValueError, match=r"not finished, there is no posterior.nc; finish it with `stpbnn run"):
        runs.load_run(tmp_path)
    monkeypatch.setattr("stpbnn.samplers.sample", lambda *args, **kwargs: finished.posterior.copy())
    runs.run_card(card, tmp_path, progress=False)
    assert contents(tmp_path) == [name for name in FILES if name != "checkpoint"]


@pytest.mark.usefixtures("no_pictures")
def test_sampling_that_was_interrupted_goes_on_where_it_stopped(card, finished, tmp_path, monkeypatch):
    steps = Chains.steps

    def interrupted(self, block, count):
        for part in steps(self, block, count):
            yield part
            if part.done > 0:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Chains, "steps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runs.run_card(card, tmp_path, progress=False)
    assert contents(tmp_path) == ["card.toml", "checkpoint", "theory.nc"]
    started = []
    monkeypatch.setattr(Chains, "start", lambda self: started.append(self))
    again = runs.run_card(card, tmp_path, progress=False)
    assert contents(tmp_path) == FILES
    assert not started
    for group in ("posterior", "predictions", "sample_stats"):
        xr.testing.assert_equal(finished.posterior[group].to_dataset(), again.posterior[group].to_dataset())


def test_interruption_while_a_file_is_written_leaves_the_old_one(tmp_path):
    def interrupt(path):
        with files.written_whole(path) as temporary:
            temporary.write_text("ha")
            raise KeyboardInterrupt

    path = tmp_path / "a.txt"
    with pytest.raises(KeyboardInterrupt):
        interrupt(path)
    assert contents(tmp_path) == []
    path.write_text("whole")
    with pytest.raises(KeyboardInterrupt):
        interrupt(path)
    assert contents(tmp_path) == ["a.txt"]
    assert path.read_text() == "whole"


@pytest.mark.usefixtures("no_sampling")
def test_rerender_needs_the_folder_alone(folder, finished, monkeypatch):
    monkeypatch.setattr(cards.Data, "load", lambda self: pytest.fail("loaded the data"))
    report = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    again = runs.rerender(folder)
    xr.testing.assert_identical(again.comparison, finished.comparison)
    xr.testing.assert_identical(runs.load_run(folder).comparison, finished.comparison)
    assert again.report == folder / "report.html"
    assert again.report.read_bytes() == report


@pytest.mark.usefixtures("no_pictures")
def test_a_run_whose_theories_changed_is_not_finished_before_its_comparison_is_there(
    card, finished, folder, monkeypatch
):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    other = card.model_copy(update={"theories": cards.Theories(names=("infinite",))})
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_compared", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runs.run_card(other, folder, progress=False)
    with pytest.raises(ValueError, match=r"the run is not finished, there is no run\.json"):
        runs.load_run(folder)
    again = runs.run_card(other, folder, progress=False)
    assert again.comparison["theory"].values.tolist() == ["infinite width"]
    assert again.posterior.attrs == finished.posterior.attrs


def test_damaged_and_absent_runs_are_refused(card, folder, tmp_path):
    with pytest.raises(ValueError, match=r"expected a run folder, .*there is no card.toml"):
        runs.load_run(tmp_path / "absent")
    whole = (folder / "posterior.nc").read_bytes()
    (folder / "posterior.nc").write_bytes(whole[: len(whole) // 2])
    for attempt in (runs.load_run, lambda folder: runs.run_card(card, folder, progress=False)):
        with pytest.raises(ValueError, match=r"posterior.nc: cannot be read .*remove it and run the card again"):
            attempt(folder)
    (folder / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run.json: cannot be read \(not valid JSON"):
        runs.load_run(folder)
    (folder / "card.toml").write_text("[network")
    with pytest.raises(ValueError, match=r"card.toml: cannot be read \(.*; choose another folder"):
        runs.run_card(card, folder, progress=False)


@pytest.mark.long
def test_the_main_job_converges_and_has_the_known_numbers(tmp_path):
    """Digits 0 and 1: R-hat and ESS of every prediction, the proportional limit's error, and the posterior's."""
    run = runs.run_card(cards.load_card("digits-1hl-erf"), tmp_path / "run", progress=False)
    assert run.comparison["rhat_worst"] < 1.01
    assert run.comparison["ess_smallest"] > 400
    theory = run.theory.sel(theory="proportional limit")
    np.testing.assert_allclose(theory["order_parameters"], 0.943685, atol=5e-7)
    np.testing.assert_allclose(theory["error"].sel(part="total"), 0.039398, atol=5e-7)
    posterior, error = (run.comparison[name].sel(part="total").item() for name in ("error_posterior", "error_mcse"))
    assert error < 0.0005
    assert abs(posterior - 0.0370) < 4 * np.hypot(error, 0.0005)
    assert run.report.stat().st_size > 100_000
