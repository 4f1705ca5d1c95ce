"""Sweeps on a real cluster of two processes: their results, what is used again, and what a lost process leaves."""

import contextlib
import functools
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from stpbnn import cards, cli, figures, runs
from stpbnn.report import render_sweep
from stpbnn.sweeps import MANY, cluster, results, sweep

pytest.importorskip("distributed")

TINY = ["sampler.warmup=10", "sampler.draws=100", "sampler.chains=2", "data.size=3", "data.test=4"]
CLOSED = "theories.names=['infinite', 'proportional', 'finite']"
WIDTHS, TRAIN = "network.widths", "data.train"


def swept(*changes, **sweep):
    keys = {key.replace("__", "."): tuple(values) for key, values in sweep.items()}
    return cards.load_card("smoke-1hl-linear", [*TINY, CLOSED, *changes]).model_copy(update={"sweep": keys})


CARD = swept(network__widths=[[4], [8]], data__train=[6])


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a cluster such as sweep() starts; what its processes compile is kept for the others."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        environment.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        with cluster._local(2) as local:
            yield local.scheduler_address


@pytest.fixture(scope="module")
def finished(scheduler, tmp_path_factory):
    """A sweep that has been run, for tests that change nothing in it or copy it."""
    folder = tmp_path_factory.mktemp("sweeps") / "swept"
    return folder, sweep(CARD, folder, scheduler=scheduler, progress=False)


@pytest.fixture
def no_cluster(monkeypatch):
    def client(*arguments):
        raise AssertionError("something is run")

    monkeypatch.setattr(cluster, "client", client)


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


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"card.toml": b"[network"}, "card.toml: cannot be read"),
        ({"run.json": b"{}"}, "has no 'device'"),
        ({"theory.nc": b"torn"}, "theory.nc: cannot be read"),
        ({"run.json": None, "posterior.nc": None, "checkpoint/settings.json": b"{"}, None),
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


def test_other_theories_are_solved_without_sampling_anew(finished, scheduler, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "swept")
    card = swept(
        "theories.names=['infinite', 'adaptive']", "theories.particles=64", network__widths=[[8]], data__train=[6]
    )
    posterior = folder / "points" / finished[1]["point"].sel(width=8, train=6).item() / "posterior.nc"
    before = posterior.stat()
    whole = sweep(card, folder, scheduler=scheduler, progress=False)
    assert whole["theory"].values.tolist() == ["infinite width", "adaptive kernel"]
    assert (posterior.stat().st_mtime_ns, posterior.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    point = whole.sel(width=8, train=6)
    np.testing.assert_array_equal(point["error_posterior"], finished[1]["error_posterior"].sel(width=8, train=6))
    own = point["theory_error_mcse"].sel(part="total")
    assert own.sel(theory="infinite width") == 0 < own.sel(theory="adaptive kernel")
    assert np.isfinite(point["readout_second_moment"].sel(theory="adaptive kernel"))


def first_blocks(folder):
    """The first block of draws of each point that has gone past it, with what tells whether it is written again."""
    found = {}
    for path in folder.glob("points/*/checkpoint/draws-00000000-*.nc"):
        with contextlib.suppress(FileNotFoundError):  # the point has just been finished
            (path.parent / "state.npz").stat()
            found[path] = path.stat().st_ino, path.stat().st_mtime_ns
    return found


def test_a_killed_worker_loses_nothing_that_was_written(finished, scheduler, tmp_path):
    """Both processes are killed in mid-run: later blocks join those that were there, whose draws are the known ones."""
    from distributed import Client

    card = swept("sampler.draws=5000", "data.train=6", network__widths=[[4], [8]])
    with ThreadPoolExecutor(1) as pool, Client(scheduler, set_as_default=False) as client:
        pids = client.run(os.getpid)
        going = pool.submit(sweep, card, tmp_path, scheduler=scheduler, progress=False)
        while not first_blocks(tmp_path):
            assert not going.done()
            time.sleep(0.02)
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        left, written = first_blocks(tmp_path), set(tmp_path.glob("points/*/checkpoint/draws-*.nc"))
        while not set(tmp_path.glob("points/*/checkpoint/draws-*.nc")) - written:
            assert not going.done()
            time.sleep(0.02)
        later = first_blocks(tmp_path)
        whole = going.result()
        assert set(client.run(os.getpid).values()).isdisjoint(pids.values())
    assert whole["finished"].all()
    assert left
    assert left.items() <= later.items()
    for name, known in zip(whole["point"].values, finished[1]["point"].values[:, 0], strict=True):
        draws = [
            runs.load_run(folder / "points" / point).posterior["predictions/f"]
            for folder, point in ((tmp_path, name), (finished[0], known))
        ]
        assert draws[0].sizes["draw"] == 5000
        np.testing.assert_array_equal(draws[0][:, :100], draws[1])


def test_points_that_fail_are_missing_and_listed(finished, scheduler, tmp_path):
    """One point's folder holds something else; a point that is there already is shown."""
    folder = shutil.copytree(finished[0], tmp_path / "swept")
    name = finished[1]["point"].sel(train=6, width=4).item()
    shutil.rmtree(folder / "points" / name)
    (folder / "points" / name).mkdir()
    (folder / "points" / name / "thesis.tex").write_text("years of work")
    with pytest.warns(UserWarning, match=rf"1 of 2 points failed \({name}\): .*is not empty and holds no run"):
        partial = sweep(CARD, folder, scheduler=scheduler, progress=False)
    assert partial["finished"].values.tolist() == [[False], [True]]
    assert np.isnan(partial["error_posterior"].sel(width=4, train=6)).all()
    assert not partial["converged"].sel(width=4, train=6)
    html = (folder / "sweep.html").read_text(encoding="utf-8")
    assert "1 of 2 points are finished" in html
    assert html.count("report.html") == 2  # the link and what it is sorted by
    assert name not in html


def test_a_point_whose_file_cannot_be_read_now_fails_and_is_left_alone(finished, scheduler, tmp_path, caplog):
    """A folder stands in the place of a posterior; the good one beside it is neither put aside nor written anew."""
    folder = shutil.copytree(finished[0], tmp_path / "swept")
    point = folder / "points" / finished[1]["point"].sel(train=6, width=4).item()
    (point / "posterior.nc").rename(point / "good.nc")
    (point / "posterior.nc").mkdir()
    before = {path.name for path in point.iterdir()}
    with pytest.warns(UserWarning, match="1 of 2 points failed .*IsADirectoryError: .*cannot be read now"):
        partial = sweep(CARD, folder, scheduler=scheduler, progress=False)
    assert partial["finished"].values.ravel().tolist() == [False, True]
    assert {path.name for path in point.iterdir()} == before
    assert "computed anew" not in caplog.text


def test_no_scheduler_and_other_versions_are_refused_by_name(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT", 1.0)
    card = swept(network__widths=[[4]])
    with pytest.raises(ValueError, match=r"scheduler: tcp://127.0.0.1:9 does not answer .*expected the address"):
        sweep(card, tmp_path, scheduler="tcp://127.0.0.1:9", progress=False)
    monkeypatch.setattr(cluster, "versions", lambda: {"stpbnn": "7.0.0"})
    with pytest.raises(ValueError, match=r"worker tcp:.*: stpbnn .* there and 7.0.0 here; install the same versions"):
        sweep(card, tmp_path, scheduler=scheduler, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_cluster")
def test_mistakes_are_refused_before_anything_is_run(tmp_path, monkeypatch):
    for card, message in [
        (swept(), r"got no \[sweep\], expected a list of values"),
        (swept(sampler__seed=range(MANY), data__train=[6, 9]), r"has 2000 points, expected 1000 at most; .*--many"),
        (swept(network__weight_precision=[1.0, [1.0, 2.0, 3.0]]), "network.weight_precision 1.0-2.0-3.0: network"),
        (swept(data__name=["linear_teacher", "digts"]), "point data.name digts: "),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            sweep(card, tmp_path, progress=False)
    with pytest.raises(ValueError, match="workers: got 0"):
        sweep(CARD, tmp_path, workers=0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"needs the package distributed.*stpbnn\[cluster\]"):
        sweep(CARD, tmp_path)


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


def test_a_script_without_a_guard_is_told_so_in_one_line(tmp_path):
    """Before its processes are started, which would read the script and come upon the call."""
    script = tmp_path / "script.py"
    script.write_text(
        "import stpbnn\n"
        f"stpbnn.sweep('smoke-1hl-linear', widths=[5, 6], theories=['infinite'], folder={str(tmp_path / 'out')!r})\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "sweep: is called at the top of a script, which its new processes import; call it under "
        'if __name__ == "__main__":\n'
    )


@pytest.mark.parametrize(
    ("script", "refused"),
    [
        ("call()", True),
        ("for _ in range(1):\n    call()", True),
        ("def main():\n    call()\nmain()", True),
        ("if True:\n    call()", True),
        ('def main():\n    call()\nif __name__ == "__main__":\n    main()', False),
        ('import sys\nif __name__ != "__main__":\n    sys.exit()\ncall()', False),
    ],
)
def test_a_guard_is_seen_where_it_is(tmp_path, monkeypatch, script, refused):
    path = tmp_path / "script.py"
    path.write_text(script)
    main = types.ModuleType("__main__")
    main.__file__, main.call = str(path), cluster._refuse_without_guard
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(ValueError, match="sweep: is called at the top") if refused else contextlib.nullcontext():
        exec(compile(script, path, "exec"), vars(main))


@contextlib.contextmanager
def killing(most):
    """Kill the processes that are started meanwhile, up to so many, as soon as they are there."""
    known, killed, over = {child.pid for child in multiprocessing.active_children()}, [], threading.Event()

    def hunt():
        while not over.wait(0.02):
            for pid in {child.pid for child in multiprocessing.active_children()} - known:
                if len(killed) < most:
                    known.add(pid)
                    killed.append(pid)
                    os.kill(pid, signal.SIGKILL)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield killed
    finally:
        over.set()
        hunter.join()


def test_workers_that_are_killed_while_they_start_are_started_again():
    with killing(1) as killed, cluster.client(workers=1) as one:
        assert one.submit(os.getpid).result() not in killed
    assert len(killed) == 1


def test_workers_that_are_killed_whenever_they_start_end_in_one_line():
    again = r"workers: the processes ended while they were started; .* call again: it goes on from what is finished"
    with killing(100) as killed, pytest.raises(ValueError, match=again), cluster.client(workers=1):
        pass
    assert len(killed) == cluster.ATTEMPTS


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
    with pytest.raises(ValueError, match="got the dimensions none, expected one of numbers"):
        figures.plot_learning_curve(whole.isel(width=0, train=0, drop=True))
    with pytest.raises(ValueError, match="no variable 'error'"):
        figures.plot_learning_curve(xr.Dataset())


@pytest.mark.long
def test_interruption_leaves_what_is_written_and_no_process(tmp_path):
    """The command with a cluster of its own: Ctrl-C to the whole process group, as a terminal sends it, then again.

    One point is finished by then and another has blocks of draws: neither is written anew, later blocks join those.
    """
    card, folder = tmp_path / "card.toml", tmp_path / "swept"
    card.write_text(swept("sampler.draws=20000", "data.train=6", network__widths=[[4], [8], [5]]).to_toml())
    command = [sys.executable, "-m", "stpbnn", "sweep", str(card), "-o", str(folder), "-q", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (list(folder.glob("points/*/run.json")) and first_blocks(folder)):
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 130
    assert shown.splitlines()[-1] == "stpbnn: interrupted; `stpbnn run` and `stpbnn sweep` go on from what is finished"
    time.sleep(10)
    with pytest.raises(ProcessLookupError):  # no worker is left in the group
        os.killpg(process.pid, 0)
    finished = list(folder.glob("points/*/run.json"))
    before = [path.stat().st_mtime_ns for path in finished]
    left, written = first_blocks(folder), set(folder.glob("points/*/checkpoint/draws-*.nc"))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as again:
        while not set(folder.glob("points/*/checkpoint/draws-*.nc")) - written:
            assert again.poll() is None
            time.sleep(0.02)
        later = first_blocks(folder)
        _, shown = again.communicate(timeout=300)
    assert again.returncode == 0, shown
    assert left
    assert left.items() <= later.items()
    assert len(finished) < 3
    assert len(list(folder.glob("points/*/run.json"))) == 3
    assert [path.stat().st_mtime_ns for path in finished] == before


@pytest.mark.usefixtures("no_cluster")
def test_points_that_are_not_asked_for_are_not_run_but_shown_where_they_are_there(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "swept")
    card = swept(network__widths=[[4], [8], [5]], data__train=[6])
    part = sweep(card, folder, where={"width": [8]}, progress=False)
    assert part["finished"].values.ravel().tolist() == [True, True, False]
    np.testing.assert_array_equal(part["error_posterior"][:2], finished[1]["error_posterior"])


def test_workers_hear_no_ctrl_c_nor_does_this_process_miss_any(scheduler):
    """A terminal sends it to them as well: in their imports it would be a traceback each."""
    blocked = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, [])
    with cluster.client(scheduler) as client:
        assert all(signal.SIGINT in found for found in client.run(blocked).values())
    assert signal.SIGINT not in blocked()


def test_a_cluster_of_its_own_has_as_many_workers_as_asked_for():
    with cluster.client(workers=1) as one:
        assert list(one.nthreads().values()) == [1]


def test_the_cheapest_points_come_first(monkeypatch, tmp_path):
    order = []

    def run(client, missing, *others):
        order.extend((point.data.train, point.network.widths) for point in missing.values())
        return iter(())

    monkeypatch.setattr("stpbnn.sweeps.running._run", run)
    monkeypatch.setattr(cluster, "client", lambda *arguments: contextlib.nullcontext())
    card = swept("data.size=100", network__widths=[[9], [3, 3], [3]], data__train=[20, 10])
    with pytest.raises(ValueError, match="no point could be finished"):
        sweep(card, tmp_path, where={"data.train": [10, "20"]}, progress=False)
    assert order == [(10, (3,)), (10, (3, 3)), (10, (9,)), (20, (3,)), (20, (3, 3)), (20, (9,))]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"widths": [4]}, "where: got 'widths', expected a key of the sweep of smoke-1hl-linear: width, train"),
        ({"width": [4, 5]}, "where: got width=5, expected some of 4, 8"),
    ],
)
def test_a_choice_that_is_not_in_the_sweep_is_refused(where, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sweep(CARD, tmp_path, where=where, progress=False)
