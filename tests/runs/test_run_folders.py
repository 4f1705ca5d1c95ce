"""Run folders: what they hold, read back and made anew."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from run_folders import FILES, TINY, contents, snapshot

import stpbnn
from stpbnn import cards, runs, theories
from stpbnn.runs import stages
from stpbnn.samplers.chains.blocks import Chains

AGAIN = """
import sys
from stpbnn import cards, quoting, runs
again = runs.run_card(cards.load_card(sys.argv[1]), sys.argv[2], progress=False)
quoting.comparison_table(again.comparison)
slow = ("arviz", "arviz_stats", "jax", "matplotlib", "numpyro", "scipy.stats", "sklearn")
print([name for name in slow if name in sys.modules])
"""


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
    some = card.theories.model_copy(update={"names": ("infinite", "finite")})
    fewer = card.model_copy(update={"theories": some})
    runs.run_card(fewer, folder, progress=False)
    solved = []
    regressor = theories.regressor_of
    monkeypatch.setattr(
        theories, "regressor_of", lambda kind, *rest, **more: solved.append(kind) or regressor(kind, *rest, **more)
    )
    again = runs.run_card(card, folder, progress=False)
    assert solved == ["proportional"]
    xr.testing.assert_identical(again.theory, finished.theory)
    X, y, X_test, y_test = card.data.load()
    known = finished.theory
    for settings in ({"posterior": cards.Posterior(temperature=0.2)}, {"network": cards.Network(widths=[6])}):
        other = card.model_copy(update=settings)
        assert not np.array_equal(stages.theories(folder, other, (X, y, X_test, y_test))[0]["mean"], known["mean"])
    assert not np.array_equal(stages.theories(folder, card, (X, 2 * y, X_test, y_test))[0]["mean"], known["mean"])
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


@pytest.mark.parametrize("mistake", ["data.name=digts", "data.classes=[0, 1]", "network.outputs=2"])
def test_bad_input_leaves_no_folder(mistake, tmp_path):
    card = cards.load_card("smoke-1hl-linear", [*TINY, mistake])
    with pytest.raises(ValueError, match=r"expected|regression"):
        runs.run_card(card, tmp_path / "run", progress=False)
    assert contents(tmp_path) == []


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
        patch.setattr(stages, "compared", interrupted)
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
