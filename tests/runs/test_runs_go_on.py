"""Runs that were interrupted, damaged or changed, and go on."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr
from run_folders import FILES, TINY, contents, snapshot
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn import cards, files, runs, theories
from stpbnn.samplers.chains.blocks import Chains
from stpbnn.terminal import records

HOLD = """
import contextlib, sys, h5py
with contextlib.ExitStack() as stack:
    for path in sys.argv[1:]:
        stack.enter_context(h5py.File(path, "r+"))
    print("open", flush=True)
    sys.stdin.read()
"""


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
    monkeypatch.setattr("stpbnn.samplers.collect", lambda *args, **kwargs: finished.posterior.copy())
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
    changes = ["theories.names=['infinite', 'adaptive']", "theories.particles=64"]
    again = runs.run_card(cards.load_card("smoke-1hl-linear", [*TINY[:-1], *changes]), folder, progress=False)
    X, y, Xt, yt = stpbnn.datasets.load("linear_teacher", train=6, test=4, size=3, noise=0.1, seed=0)
    model = stpbnn.AdaptiveKernelRegressor(
        stpbnn.FullyConnected((5,), "linear"), temperature=0.1, particles=64, random_state=0
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
@pytest.mark.parametrize(
    "lost", [pytest.param(False, id="not settled", marks=pytest.mark.long), pytest.param(True, id="no solution")]
)
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


@pytest.mark.usefixtures("no_pictures")
def test_interrupted_run_leaves_only_whole_files_and_goes_on(card, finished, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("stpbnn.samplers.collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.run_card(card, tmp_path, progress=False)
    assert contents(tmp_path) == ["card.toml", "theory.nc"]
    with pytest.raises(ValueError, match=r"not finished, there is no posterior.nc; finish it with `stpbnn run"):
        runs.load_run(tmp_path)
    monkeypatch.setattr("stpbnn.samplers.collect", lambda *args, **kwargs: finished.posterior.copy())
    runs.run_card(card, tmp_path, progress=False)
    assert contents(tmp_path) == [name for name in FILES if name != "checkpoint"]


@pytest.mark.long
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
