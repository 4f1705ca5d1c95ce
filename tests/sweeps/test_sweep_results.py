"""Sweeps: their results, what is used again, and what they show."""

import json
import logging
import platform
import shutil

import numpy as np
import pytest
import xarray as xr
from small_sweep import CARD, CLOSED, TINY, swept
from typer.testing import CliRunner

from stpbnn import cards, cli, figures, runs
from stpbnn.report import render_sweep
from stpbnn.sweeps import growing, results, sweep

pytest.importorskip("distributed")


@pytest.mark.usefixtures("no_pictures")
def test_results_are_those_of_single_runs(finished, tmp_path):
    folder, whole = finished
    assert whole["finished"].all()
    assert dict(whole["point"].sizes) == {"width": 2, "train": 1}
    with xr.open_dataset(folder / "sweep.nc", engine="h5netcdf") as written:
        xr.testing.assert_equal(written.load(), whole)
    changes = [*TINY, CLOSED, "network.widths=[8]", "data.train=6"]
    single = runs.run_card(cards.load_card("smoke-1hl-linear", changes), tmp_path / "run", progress=False)
    point = whole.sel(width=8, train=6)
    for name in ("error_posterior", "error_mcse", "error", "rhat_worst", "ess_smallest", "converged"):
        np.testing.assert_allclose(point[name], single.comparison[name], rtol=1e-6)
    assert point["verdict"].values.tolist() == single.comparison["verdict"].values.tolist()
    np.testing.assert_allclose(point["order_parameters"], single.theory["order_parameters"], rtol=1e-8)
    observed = single.posterior["posterior"]
    np.testing.assert_allclose(point["kernel_scale"], observed["kernel_scale"].mean(("chain", "draw")), rtol=1e-6)
    there = runs.load_run(folder / "points" / point["point"].item())
    assert there.card.title == f"{CARD.title}: width 8, train 6"
    assert there.posterior["predictions"].equals(single.posterior["predictions"])


@pytest.mark.usefixtures("no_cluster")
def test_what_is_finished_is_not_run_again_in_any_order_of_the_lists(finished, tmp_path):
    folder, whole = shutil.copytree(finished[0], tmp_path / "swept"), finished[1]
    again = sweep(CARD, folder, progress=False)
    xr.testing.assert_equal(again, whole)
    other = sweep(swept(data__train=[6, 6], network__widths=[[8]]), folder, progress=False)
    assert other["seconds"].values.tolist() == [whole["seconds"].sel(width=8).values.tolist()] * 2


@pytest.mark.usefixtures("no_pictures")
def test_more_draws_join_those_of_a_shorter_run(finished, scheduler, tmp_path):
    """Draws and theories of the shorter run are where they were, and stand at the beginning of the longer one."""
    folder, shorter = shutil.copytree(finished[0], tmp_path / "swept"), finished[1].sel(width=8, train=6)
    before = folder / "points" / shorter["point"].item()
    assert not shorter["converged"]
    card = swept("sampler.draws=150", network__widths=[[8]], data__train=[6])
    point = sweep(card, folder, scheduler=scheduler, progress=False).sel(width=8, train=6)
    after = folder / "points" / point["point"].item()
    assert after != before
    there, here = (runs.load_run(path).posterior for path in (before, after))
    assert (there["predictions"].sizes["draw"], here["predictions"].sizes["draw"]) == (100, 150)
    xr.testing.assert_equal(here["predictions"].isel(draw=slice(100)).to_dataset(), there["predictions"].to_dataset())
    for path in sorted(before.glob("checkpoint/draws-*.nc")):
        assert (after / "checkpoint" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_a_shorter_run_with_other_data_or_unreadable_is_no_beginning(finished, tmp_path):
    shorter = finished[1].sel(width=8, train=6)
    before = finished[0] / "points" / shorter["point"].item()
    copied = shutil.copytree(before, tmp_path / before.name)
    card = cards.load_card(
        "smoke-1hl-linear", [*TINY, CLOSED, "network.widths=[8]", "data.train=6", "sampler.draws=150"]
    )
    X, y, X_test, y_test = card.data.load()
    new = tmp_path / "new"
    growing.begin_from_shorter(new, card, (X, 2 * y, X_test, y_test))
    fewer = card.model_copy(update={"sampler": card.sampler.model_copy(update={"draws": 50})})
    growing.begin_from_shorter(new, fewer, (X, y, X_test, y_test))
    (copied / "card.toml").write_text("[network")
    growing.begin_from_shorter(new, card, (X, y, X_test, y_test))
    assert not new.exists()
    shutil.copy(before / "card.toml", copied)
    growing.begin_from_shorter(new, card, (X, y, X_test, y_test))
    assert new.exists()
    assert not (new / "run.json").exists()  # not finished


@pytest.fixture
def shorter(finished, tmp_path):
    """The folder of a run, and what a longer one is begun with beside it."""
    before = finished[0] / "points" / finished[1].sel(width=8, train=6)["point"].item()
    changes = [*TINY, CLOSED, "network.widths=[8]", "data.train=6", "sampler.draws=150"]
    card = cards.load_card("smoke-1hl-linear", changes)
    return shutil.copytree(before, tmp_path / before.name), (tmp_path / "new", card, card.data.load())


def test_a_shorter_run_of_other_versions_is_no_beginning(shorter):
    """Its draws could not be added to, and the longer run would be refused for them."""
    settings = shorter[0] / "checkpoint" / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"jaxlib": "0.0.1"}))
    growing.begin_from_shorter(*shorter[1])
    assert not shorter[1][0].exists()


def test_a_shorter_run_that_cannot_be_copied_is_told_and_leaves_nothing(shorter, tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    growing.begin_from_shorter(*shorter[1])
    assert [path.name for path in tmp_path.iterdir()] == [shorter[0].name]
    assert "cannot be copied: [Errno 28] No space left" in caplog.text


def test_a_copy_has_the_state_before_its_last_block_and_nothing_of_dead_processes(shorter, tmp_path, monkeypatch):
    """Another process goes on with the shorter run meanwhile; an earlier copy was killed."""
    before, (new, *_) = shorter
    dead = tmp_path / f".new.{platform.node()}.{2**30}.part"
    for path in (before / "posterior.nc.damaged", before / ".theory.nc.elsewhere.1.part", dead / "card.toml"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    state, copytree = (before / "checkpoint" / "state.npz").read_bytes(), shutil.copytree

    def meanwhile(*arguments, **settings):
        (before / "checkpoint" / "state.npz").write_bytes(b"later")
        return copytree(*arguments, **settings)

    monkeypatch.setattr(shutil, "copytree", meanwhile)
    growing.begin_from_shorter(*shorter[1])
    assert (new / "checkpoint" / "state.npz").read_bytes() == state
    assert {path.name for path in tmp_path.iterdir()} == {before.name, "new"}
    assert {path.name for path in new.iterdir()} == {"card.toml", "checkpoint", "theory.nc"}
    assert {path.suffix for path in (new / "checkpoint").iterdir()} == {".json", ".nc", ".npz"}


@pytest.mark.long
@pytest.mark.usefixtures("no_pictures")
def test_a_longer_list_and_a_damaged_file_are_run_and_said_so(finished, scheduler, tmp_path, caplog):
    """Of three points one is new and one is cut in half; the third one's file stays as it is."""
    folder = shutil.copytree(finished[0], tmp_path / "swept")
    card = swept(network__widths=[[4], [8], [5]], data__train=[6])
    ids = finished[1]["point"].sel(train=6).values.tolist()
    kept, damaged = (folder / "points" / name / "posterior.nc" for name in ids)
    before, whole = kept.stat(), damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING, logger="stpbnn"):
        longer = sweep(card, folder, scheduler=scheduler, progress=False)
    assert [record.message for record in caplog.records] == [f"{damaged}: cannot be read and is computed anew"]
    assert longer["finished"].all()
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    np.testing.assert_array_equal(longer["error_posterior"][:2, 0], finished[1]["error_posterior"].sel(train=6))
    assert len(list((folder / "points").iterdir())) == 3


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"card.toml": b"[network"}, "card.toml: cannot be read"),
        pytest.param({"run.json": b"{}"}, "has no 'device'", marks=pytest.mark.long),
        ({"theory.nc": b"torn"}, "theory.nc: cannot be read"),
        pytest.param(
            {"run.json": None, "posterior.nc": None, "checkpoint/settings.json": b"{"}, None, marks=pytest.mark.long
        ),
    ],
)
def test_every_damaged_file_is_made_anew(finished, scheduler, tmp_path, caplog, damage, told):
    """Whatever is lost is sampled or solved anew, to the same numbers."""
    card = swept(network__widths=[[8]], data__train=[6])
    folder, whole = tmp_path / "swept", finished[1].sel(width=[8])
    point = shutil.copytree(finished[0] / "points" / whole["point"].item(), folder / "points" / whole["point"].item())
    for name, content in damage.items():
        (point / name).parent.mkdir(exist_ok=True)
        (point / name).unlink(missing_ok=True)
        if content is not None:
            (point / name).write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="stpbnn"):
        again = sweep(card, folder, scheduler=scheduler, progress=False)
    assert ([record.message for record in caplog.records] == []) if told is None else (told in caplog.text)
    assert again["finished"].all()
    np.testing.assert_array_equal(again["error_posterior"], whole["error_posterior"])
    np.testing.assert_allclose(again["error"], whole["error"])
    assert cards.load_card(point / "card.toml").network.widths == (8,)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("key", "theory"),
    [("proportional", "proportional limit"), pytest.param("adaptive", "adaptive kernel", marks=pytest.mark.long)],
)
def test_other_theories_are_solved_without_sampling_anew(finished, scheduler, tmp_path, key, theory):
    folder = shutil.copytree(finished[0], tmp_path / "swept")
    names = f"theories.names=['infinite', '{key}']"
    card = swept(names, "theories.particles=64", network__widths=[[8]], data__train=[6])
    posterior = folder / "points" / finished[1]["point"].sel(width=8, train=6).item() / "posterior.nc"
    before = posterior.stat()
    whole = sweep(card, folder, scheduler=scheduler, progress=False)
    assert whole["theory"].values.tolist() == ["infinite width", theory]
    assert (posterior.stat().st_mtime_ns, posterior.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    point = whole.sel(width=8, train=6)
    np.testing.assert_array_equal(point["error_posterior"], finished[1]["error_posterior"].sel(width=8, train=6))
    if key == "adaptive":
        own = point["theory_error_mcse"].sel(part="total")
        assert own.sel(theory="infinite width") == 0 < own.sel(theory=theory)
        assert np.isfinite(point["readout_second_moment"].sel(theory=theory))


def test_points_of_other_depths_and_theories_share_a_table(finished):
    """What a point does not have is NaN: theories and layers of the others."""
    point = finished[1].isel(width=0, train=0, drop=True)
    deep = xr.concat([point, point], "layer", data_vars="minimal", coords="minimal", compat="override")
    deep = deep.assign_coords(layer=[1, 2]).sel(theory=["infinite width"])
    card = swept(network__widths=[[4], [4, 4]])
    whole = results.joined(card, {(0,): point, (1,): deep})
    assert whole["width"].values.tolist() == ["4", "4-4"]
    assert whole["theory"].values.tolist() == point["theory"].values.tolist()
    assert np.isnan(whole["error"].sel(width="4-4", theory="finite width")).all()
    assert np.isnan(whole["kernel_scale"].sel(width="4", layer=2))
    assert whole["verdict"].sel(width="4-4", theory="finite width").item() == ""


def test_command_prints_a_row_for_each_point(finished, scheduler, monkeypatch):
    folder, whole = finished
    card = folder.parent / "card.toml"
    card.write_text(CARD.to_toml())
    monkeypatch.setattr(cli.console, "_width", 200)
    done = CliRunner().invoke(cli.app, ["sweep", str(card), "-o", str(folder), "-q", "--scheduler", scheduler])
    assert done.exit_code == 0, done.exception
    rows = [line.split() for line in done.output.splitlines()]
    shown = [row[:2] for row in rows if row and row[0] in "48" and len(row) > 5]
    assert shown == [["4", "6"], ["8", "6"]]
    assert f"{float(whole['error'].sel(width=8, train=6, theory='infinite width', part='total')):#.3g}" in next(
        row for row in rows if row[:2] == ["8", "6"]
    )
    assert done.output.endswith(f"Report: {folder / 'sweep.html'}\n")


def test_index_links_to_reports_that_are_there(finished):
    folder, whole = finished
    html = (folder / "sweep.html").read_text(encoding="utf-8")
    assert html == render_sweep(whole)
    for name in whole["point"].values.ravel():
        assert f'<a href="points/{name}/report.html">' in html
        assert (folder / "points" / name / "report.html").is_file()
    assert "http" not in html.replace("http-equiv", "")


def test_index_says_of_each_theory_whether_it_agrees_and_has_no_negative_zero(finished):
    whole = finished[1].copy(deep=True)
    posterior = whole["error_posterior"].sel(part="total")
    whole["error"].loc[{"part": "total"}] = posterior * (1 - 1e-6)
    whole["verdict"].loc[{"theory": "infinite width"}] = "differs: as a test"
    html = render_sweep(whole)
    assert html.count('title="differs: as a test">differs<') == 2
    assert html.count(">no verdict<") == 4
    assert "-0.0 %" not in html
    assert html.count("+0.0 %") == 6


def test_learning_curve_shows_theories_as_lines_and_the_posterior_as_points(finished):
    six = finished[1].copy(deep=True)
    nine = six.map(lambda values: values * 1.5 if values.dtype.kind == "f" else values).assign_coords(train=[9])
    whole = xr.concat([six, nine], "train").transpose("width", "train", ...)
    whole["converged"][...] = [[True, False], [True, True]]
    ax = figures.plot_learning_curve(whole)
    assert ax.get_xlabel() == "training examples P"
    posterior = whole["error_posterior"].sel(part="total")
    drawn = [(bar.lines[0].get_xdata().tolist(), bar.lines[0].get_ydata().tolist()) for bar in ax.containers]
    assert drawn == [
        ([6], [posterior[0, 0]]),
        ([9], [posterior[0, 1]]),
        ([6, 9], posterior[1].values.tolist()),
    ]
    assert [bar.lines[0].get_markerfacecolor() == "white" for bar in ax.containers] == [False, True, False]
    lines = [
        line.get_ydata().tolist() for line in ax.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2
    ]
    for theory in whole["theory"].values:
        curve = whole["error"].sel(part="total", theory=theory, width=8)
        assert any(np.allclose(line, curve, rtol=1e-9) for line in lines)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["N = 4", "N = 8", *whole["theory"].values, "posterior (MCMC)", "not converged"]
    theory = whole["theory"].values[-1]
    whole["theory_converged"].loc[{"train": 9, "width": 4, "theory": theory}] = False
    whole["theory_converged"].loc[{"train": 6, "width": 8, "theory": theory}] = False
    whole["error"].loc[{"train": 6, "width": 8, "theory": theory}] = np.nan
    ax = figures.plot_learning_curve(whole)
    crosses = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [[[9, whole["error"].sel(part="total", theory=theory, width=4, train=9)]]]
    told = {"solver not converged", f"{theory}: not solved everywhere"}
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {*labels, *told}
    with pytest.raises(ValueError, match="got the dimensions none, expected one of numbers"):
        figures.plot_learning_curve(whole.isel(width=0, train=0, drop=True))
    with pytest.raises(ValueError, match="no variable 'error'"):
        figures.plot_learning_curve(xr.Dataset())


@pytest.mark.usefixtures("no_cluster")
def test_points_that_are_not_asked_for_are_not_run_but_shown_where_they_are_there(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "swept")
    card = swept(network__widths=[[4], [8], [5]], data__train=[6])
    part = sweep(card, folder, where={"width": [8]}, progress=False)
    assert part["finished"].values.ravel().tolist() == [True, True, False]
    np.testing.assert_array_equal(part["error_posterior"][:2], finished[1]["error_posterior"])
