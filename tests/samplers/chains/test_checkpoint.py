"""Interrupted in every way, a run goes on as if nothing had happened; what is not its own is refused."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise

import jax
import numpy as np
import pytest
import small_run
import xarray as xr
from small_run import Metropolis, data, same, small

from stpbnn import FullyConnected
from stpbnn.samplers.chains.blocks import Chains
from stpbnn.samplers.chains.checkpoint import Checkpoint

DRAWS, BLOCK = 20, 6


@pytest.fixture(scope="module")
def whole():
    """The run that is not interrupted, in memory and in one block."""
    return small(draws=DRAWS, block=DRAWS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "deep" / "checkpoint"
    return folder, small(folder, DRAWS, block=BLOCK)


@pytest.fixture
def no_chains(monkeypatch):
    monkeypatch.setattr(Chains, "start", lambda self: pytest.fail("sampled again"))
    monkeypatch.setattr(Chains, "steps", lambda self, *_: pytest.fail("sampled again"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def on_call(monkeypatch, number, action):
    """Let the call of that number of Checkpoint.write do something else first."""
    write, calls = Checkpoint.write, []

    def counted(self, *arguments):
        calls.append(arguments)
        if len(calls) == number:
            action()
        return write(self, *arguments)

    monkeypatch.setattr(Checkpoint, "write", counted)


def test_blocks_change_no_bit_and_are_on_disk_one_after_the_other(whole, finished):
    folder, posterior = finished
    assert same(posterior, whole)
    ends = [0, 6, 12, 18, 20]
    blocks = [f"draws-{a:08d}-{b:08d}.nc" for a, b in pairwise(ends)]
    assert sorted(contents(folder)) == [*blocks, "lock", "settings.json", "state.npz"]
    with xr.open_dataset(folder / blocks[1], engine="h5netcdf") as block:
        np.testing.assert_array_equal(block["f"], whole["predictions"]["f"].isel(draw=slice(6, 12)))
    with np.load(folder / "state.npz", allow_pickle=False) as state:
        assert state["draws"] == 20


@pytest.fixture(scope="module")
def of_usual_blocks():
    return small(draws=250)


def test_blocks_are_written_one_by_one_where_they_take_long(of_usual_blocks, tmp_path, monkeypatch):
    monkeypatch.setattr("stpbnn.samplers.chains.run.PATIENCE", 0.0)
    assert same(small(tmp_path, 250), of_usual_blocks)
    ends = [(0, 100), (100, 200), (200, 250)]
    assert [path.stem for path in sorted(tmp_path.glob("*.nc"))] == [f"draws-{a:08d}-{b:08d}" for a, b in ends]


def interrupt_after(draws, monkeypatch):
    """Send Ctrl-C once more than so many draws of a block are done."""
    steps = Chains.steps

    def interrupted(self, block, count):
        for part in steps(self, block, count):
            yield part
            if part.done > draws:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Chains, "steps", interrupted)


def test_blocks_of_seconds_are_written_together_by_ctrl_c_and_in_the_end(of_usual_blocks, tmp_path, monkeypatch):
    monkeypatch.setattr("stpbnn.samplers.chains.run.PATIENCE", 3600.0)  # however slow the machine is
    with monkeypatch.context() as patch:
        interrupt_after(120, patch)
        with pytest.warns(UserWarning, match="interrupted: "):
            part = small(tmp_path, 250)
    done = part.attrs["draws"]
    assert [path.stem for path in tmp_path.glob("*.nc")] == [f"draws-00000000-{done:08d}"]
    assert same(small(tmp_path, 250), of_usual_blocks)
    assert sorted(path.stem for path in tmp_path.glob("*.nc"))[1:] == [f"draws-{done:08d}-00000250"]


@pytest.mark.usefixtures("no_chains")
@pytest.mark.parametrize("draws", [DRAWS, 7])
def test_a_finished_run_is_read_and_not_sampled_again(finished, draws):
    folder, posterior = finished
    again = small(folder, draws, block=3)
    assert same(again, posterior, draws)
    assert again.attrs["draws"] == draws
    assert again.attrs["wall_time_s"] >= posterior.attrs["wall_time_s"]


def test_a_full_disk_stops_it_with_a_clear_error_and_room_lets_it_go_on(whole, tmp_path, monkeypatch):
    def full(path, data):
        (path.parent / f".{path.name}.1.part").write_bytes(b"torn")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    on_call(monkeypatch, 3, lambda: monkeypatch.setattr("stpbnn.samplers.chains.checkpoint.write_netcdf", full))
    with pytest.raises(OSError, match=r"draws 12 to 17 could not be written \(No space left") as caught:
        small(tmp_path, DRAWS, block=BLOCK)
    assert caught.value.filename == str(tmp_path)
    assert len(list(tmp_path.glob("draws-*.nc"))) == 2
    monkeypatch.undo()
    assert same(small(tmp_path, DRAWS, block=BLOCK), whole)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.long
def test_a_really_full_disk(tmp_path):
    """A file system of 100 kB, where one can be made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", disk], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with pytest.raises(OSError, match=r"could not be written \(No space left on device\)"):
            small(disk / "run", 400, block=DRAWS)
        (disk / "file").unlink(missing_ok=True)
        stored = sorted((disk / "run").glob("draws-*.nc"))
        assert stored
        for path in stored:
            with xr.open_dataset(path, engine="h5netcdf") as block:
                assert np.isfinite(block["f"]).all()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_ctrl_c_returns_what_is_finished_and_the_same_call_goes_on(whole, tmp_path, monkeypatch):
    on_call(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.warns(UserWarning, match="interrupted: 18 of 20 draws are returned"):
        part = small(tmp_path, DRAWS, block=BLOCK)
    assert part.attrs["stopped"] == "interrupted"
    assert same(part, whole, 18)
    monkeypatch.undo()
    rest = small(tmp_path, DRAWS, block=BLOCK)
    assert same(rest, whole)
    assert rest.attrs["stopped"] == "draws"


def test_ctrl_c_in_the_middle_of_a_block_and_without_a_checkpoint(whole, monkeypatch):
    interrupt_after(0, monkeypatch)
    with pytest.warns(UserWarning, match="interrupted: 1 of 20"):
        part = small(draws=DRAWS)
    assert same(part, whole, 1)


def test_ctrl_c_before_the_first_draw_is_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(Chains, "start", lambda self: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert sorted(contents(tmp_path)) == ["lock", "settings.json"]


@pytest.mark.long
def test_nuts_with_the_readout_integrated_goes_on_in_the_middle_of_a_block(tmp_path, monkeypatch):
    """All that its state holds: keys, adapted step sizes and mass matrices; more draws than were asked for at first."""
    settings = {"sampler": "nuts", "keep": "weights", "X_test": None}
    small(tmp_path, 7, block=4, **settings)
    longer = small(tmp_path, 16, block=5, **settings)
    assert [path.name[6:23] for path in sorted(tmp_path.glob("draws-*"))][:3] == [
        "00000000-00000004", "00000004-00000007", "00000007-00000010"
    ]  # fmt: skip
    whole = small(draws=16, **settings)
    for group in ("posterior", "sample_stats", "log_likelihood"):
        xr.testing.assert_equal(longer[group].to_dataset(), whole[group].to_dataset())


class Child:
    """The small run in a process of its own."""

    def __init__(self, folder, out, draws, block, sampler="metropolis"):
        self.folder = folder
        arguments = [str(a) for a in (folder, draws, block, sampler, out)]
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(out.parent / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, small_run.__file__, *arguments],
            env=os.environ | cache,
            stderr=subprocess.PIPE,
            text=True,
        )

    def blocks(self):
        return len(list(self.folder.glob("draws-*.nc"))) if self.folder.exists() else 0

    def wait_for(self, blocks):
        """Wait until there are so many blocks more than now, or it has ended."""
        goal = self.blocks() + blocks
        while self.blocks() < goal and self.process.poll() is None:
            time.sleep(0.002)

    def end(self):
        """Wait for the end; return the exit status and the last line of its errors."""
        errors = self.process.communicate()[1].strip().splitlines()
        return self.process.returncode, (errors or [""])[-1]


def killed_and_resumed(tmp_path, kills, draws, sampler):
    """Kill a run at random moments; return what it has in the end, and the uninterrupted one."""
    chance, folder, out = random.Random(0), tmp_path / "checkpoint", tmp_path / "out.nc"
    for kill in range(kills):
        child = Child(folder, out, draws, 2, sampler)
        if kill % 5 == 4:
            time.sleep(chance.uniform(0, 5))
        else:
            child.wait_for(chance.randint(1, 8))
            time.sleep(chance.uniform(0, 0.02))
        child.process.kill()
        child.end()
        assert not out.exists(), "not killed: it was at its end already"
        for path in folder.glob("draws-*.nc"):
            with xr.open_dataset(path, engine="h5netcdf") as block:
                assert block.sizes["draw"] == 2
    child = Child(folder, out, draws, 2, sampler)
    assert child.end()[0] == 0
    with xr.open_datatree(out, engine="h5netcdf") as stored:
        return stored.load(), small(draws=draws, sampler=Metropolis if sampler == "metropolis" else sampler)


@pytest.mark.long
def test_killed_it_has_the_draws_of_the_uninterrupted_run(tmp_path):
    assert same(*killed_and_resumed(tmp_path, 1, 60, "metropolis"))


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["metropolis", "nuts"])
def test_killed_twenty_times_it_has_the_draws_of_the_uninterrupted_run(tmp_path, sampler):
    assert same(*killed_and_resumed(tmp_path, 20, 500, sampler))


def test_two_processes_on_one_folder(finished, tmp_path):
    """The second is refused; when the first is killed, its lock is gone."""
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    hold = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(folder / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    before = contents(folder)
    with pytest.raises(ValueError, match="is in use by another process"):
        small(folder, DRAWS)
    assert contents(folder) == before
    holder.kill()
    holder.communicate()
    assert same(small(folder, DRAWS), finished[1])


def test_one_process_is_not_let_in_twice(tmp_path):
    with (
        Checkpoint(tmp_path, {"seed": 0}),
        pytest.raises(ValueError, match="in use"),
        Checkpoint(tmp_path, {"seed": 0}),
    ):
        pass
    with Checkpoint(tmp_path, {"seed": 0}):
        pass


@pytest.mark.usefixtures("no_chains")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"warmup": 6}, "warmup is 5 there and 6 here"),
        ({"chains": 3}, "chains is 2 there and 3 here"),
        ({"temperature": 0.6}, "temperature is 0.5 there and 0.6 here"),
        ({"keep": "weights"}, "keep is observables there and weights here"),
        ({"readout": "explicit"}, "readout is marginal there and explicit here"),
        ({"net": FullyConnected((3,))}, r'network is {"widths": \[2\].* there and {"widths": \[3\]'),
        ({"X": data()[0] + 1e-6}, "X is 6x3 .* there and 6x3 .* here"),
        ({"y": data()[1] + 1e-6}, "y is 6 .* there and 6 .* here"),
        ({"X_test": None}, "X_test is 2x3 .* there and none here"),
        ({"sampler": lambda model: Metropolis(model, 0.2)}, r"sampler is Metropolis\(step=0.3\) there and .*0.2"),
        ({"sampler": "hmc"}, r"sampler is Metropolis.* there and SplitHMC\("),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_checkpoint_of_another_run_is_refused_by_name_and_left_alone(finished, change, message):
    folder, _ = finished
    before = contents(folder)
    with pytest.raises(ValueError, match=f"holds another run .*{message}"):
        small(folder, DRAWS, **change)
    assert contents(folder) == before


@pytest.mark.usefixtures("no_chains")
def test_another_version_or_an_activation_of_the_same_name_is_refused(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps(settings | {"numpyro": "0.1", "activation": "0 0 0 0"}))
    with pytest.raises(ValueError, match=r"activation is 0 0 0 0 there and .*; numpyro is 0.1 there and \d"):
        small(folder, DRAWS)


@pytest.mark.usefixtures("no_chains")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jax_threefry_partitionable", False),
        ("jax_default_prng_impl", "rbg"),
        ("jax_random_seed_offset", 7),
        ("jax_default_matmul_precision", "highest"),
        ("jax_accurate_erf_inv", True),
    ],
)
def test_settings_of_jax_that_change_the_draws_are_named(finished, monkeypatch, setting, value):
    folder, before = finished[0], getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        with pytest.raises(ValueError, match=rf"another run \({setting} is {before} there and {value} here\)"):
            small(folder, DRAWS)
    finally:
        jax.config.update(setting, before)


@pytest.mark.usefixtures("no_chains")
def test_flags_of_xla_that_change_rounding_are_named_and_no_others(finished, monkeypatch):
    folder, posterior = finished
    flags = os.environ.get("XLA_FLAGS", "")
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_dump_to=/tmp/dumped")
    assert same(small(folder, DRAWS), posterior)
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_cpu_enable_fast_math=true")
    with pytest.raises(ValueError, match="XLA_FLAGS is  there and --xla_cpu_enable_fast_math=true here"):
        small(folder, DRAWS)


@pytest.mark.long
def test_another_generator_of_random_numbers_goes_on_as_well(tmp_path):
    with jax.default_prng_impl("rbg"):
        small(tmp_path, 7, block=4)
        assert same(small(tmp_path, 16, block=5), small(draws=16))


def test_foreign_folders_are_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"not empty and holds no checkpoint \(thesis.tex is there\)"):
        small(tmp_path)
    for path in (tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "checkpoint"):
        with pytest.raises(ValueError, match=r"cannot be written \((File exists|Not a directory)\)"):
            small(path)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.usefixtures("no_chains")
@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("settings.json", False),
        ("state.npz", False),
        ("draws-00000006-00000012.nc", False),
        ("draws-00000006-00000012.nc", True),
    ],
)
def test_damaged_checkpoints_are_refused(finished, tmp_path, name, lost):
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    if lost:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"cannot be read \({name[:14]}.*; remove it and sample again"):
        small(folder, DRAWS)


def test_a_block_whose_state_was_not_written_does_not_count(whole, tmp_path, monkeypatch):
    """Killed between the two files of a block."""
    small(tmp_path, 12, block=BLOCK)
    state = (tmp_path / "state.npz").read_bytes()
    small(tmp_path, 18, block=BLOCK)
    (tmp_path / "state.npz").write_bytes(state)
    assert same(small(tmp_path, DRAWS, block=4), whole)
