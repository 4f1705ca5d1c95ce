"""Workers of a sweep: killed, interrupted, of other versions, refused, and in what order they are given points."""

import contextlib
import functools
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
from small_sweep import CARD, swept

from stpbnn import runs
from stpbnn.sweeps import MANY, cluster, sweep

pytest.importorskip("distributed")


def first_blocks(folder):
    """The first block of draws of each point that has gone past it, with what tells whether it is written again."""
    found = {}
    for path in folder.glob("points/*/checkpoint/draws-00000000-*.nc"):
        with contextlib.suppress(FileNotFoundError):  # the point has just been finished
            (path.parent / "state.npz").stat()
            found[path] = path.stat().st_ino, path.stat().st_mtime_ns
    return found


@pytest.mark.long
def test_a_killed_worker_loses_nothing_that_was_written(finished, tmp_path):
    """Both processes are killed in mid-run: later blocks join those that were there, whose draws are the known ones."""
    from distributed import Client

    card = swept("sampler.draws=5000", "data.train=6", network__widths=[[4], [8]])
    with (
        cluster._local(2) as local,
        ThreadPoolExecutor(1) as pool,
        Client(local.scheduler_address, set_as_default=False) as client,
    ):
        pids = client.run(os.getpid)
        going = pool.submit(sweep, card, tmp_path, scheduler=local.scheduler_address, progress=False)
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


@pytest.mark.long
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


def test_a_cluster_has_as_many_workers_as_asked_for_and_they_hear_no_ctrl_c():
    """A terminal sends it to them as well: in their imports it would be a traceback each. This process misses none."""
    blocked = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, [])
    with cluster.client(workers=1) as one:
        assert list(one.nthreads().values()) == [1]
        assert all(signal.SIGINT in found for found in one.run(blocked).values())
    assert signal.SIGINT not in blocked()


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
