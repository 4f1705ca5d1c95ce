"""When sampling stops, what is asked of it, and what happens where it cannot go on."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run
import xarray as xr
from numpyro.infer import HMC
from small_run import same, small

from stpbnn.samplers import Tempered
from stpbnn.samplers.chains.blocks import Chains
from stpbnn.samplers.chains.mixing import reaches


@pytest.fixture(scope="module")
def long_run():
    return small(draws=2000)


def test_it_stops_at_the_first_block_that_is_precise_enough(long_run):
    stopped = small(draws=2000, block=100, until={"ess": 40, "rhat": 1.1})
    draws = stopped.attrs["draws"]
    assert stopped.attrs["stopped"] == "precision"
    assert stopped.attrs["until"] == '{"ess": 40.0, "rhat": 1.1}'
    assert 0 < draws < 2000
    assert draws % 100 == 0
    assert same(stopped, long_run, draws)
    f = long_run["predictions"]["f_mean"]
    assert reaches(f.isel(draw=slice(draws)), ess=40, rhat=1.1)
    assert not reaches(f.isel(draw=slice(draws - 100)), ess=40, rhat=1.1)


def test_it_stops_where_it_stopped_when_it_is_interrupted(long_run, tmp_path, monkeypatch):
    """Interrupted in the middle of a block, the next call looks at its end; another one has nothing left to do."""
    goals = {"ess": 40, "rhat": 1.1}
    small(tmp_path, 130, block=100)
    stopped = small(tmp_path, 2000, block=100, until=goals)
    draws = stopped.attrs["draws"]
    assert draws % 100 == 0
    assert same(stopped, long_run, draws)
    assert not reaches(long_run["predictions"]["f_mean"].isel(draw=slice(draws - 100)), **goals)
    monkeypatch.setattr(Chains, "steps", lambda *_: pytest.fail("sampled on"))
    assert same(small(tmp_path, 2000, block=100, until=goals), stopped)


def test_it_stops_when_time_is_up(long_run):
    stopped = small(draws=2_000_000, block=100, until={"seconds": 1e-3})
    assert stopped.attrs["stopped"] == "seconds"
    draws = min(stopped.attrs["draws"], 2000)
    assert draws >= 1
    f = (tree["predictions"]["f"].isel(draw=slice(draws)) for tree in (stopped, long_run))
    np.testing.assert_array_equal(*f)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": 21}, "block: got 21, expected at most the 20 draws"),
        ({"block": 0}, "block: got 0, expected an integer of at least 1"),
        ({"draws": 0}, "draws: got 0"),
        ({"chains": 0}, "chains: got 0"),
        ({"until": {}}, "until: got {}, expected goals such as"),
        ({"until": 400}, "until: got 400, expected goals such as"),
        ({"until": {"es": 400}}, "until: got 'es', expected one of 'ess', 'rhat', 'seconds'; did you mean 'ess'"),
        ({"until": {"ess": 0}}, r"until\['ess'\]: got 0, expected a finite number greater than 0"),
        ({"until": {"rhat": 1.0}}, r"until\['rhat'\]: got 1.0, expected a finite number greater than 1"),
        ({"until": {"rhat": 1.01}, "chains": 1}, "with one chain, expected at least two"),
    ],
    ids=str,
)
def test_goals_and_blocks_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_a_start_without_a_density_is_refused():
    """Targets whose squares are beyond single precision: no start would have a finite density."""
    y = np.full(6, 1e25)
    with pytest.raises(
        ValueError, match=r"^y: got numbers up to 1e\+25, whose products are out of the range of float32"
    ):
        small(y=y, sampler="hmc", readout="explicit")


def test_a_chain_that_leaves_the_finite_numbers_is_named(tmp_path, monkeypatch):
    original = Chains.steps

    def steps(self, block, count):
        for part in original(self, block, count):
            if part.done > 8:
                part.store["f"] = part.store["f"].at[1, 8 - part.first].set(jnp.nan)
            yield part

    monkeypatch.setattr(Chains, "steps", steps)
    with pytest.raises(ValueError, match="chain 1: f is not finite at draw 8; take smaller steps"):
        small(tmp_path, 20, block=6)
    assert len(list(tmp_path.glob("draws-*.nc"))) == 1


def test_few_draws_and_many_share_their_programs():
    small(draws=7)
    seen = []
    jax.monitoring.register_event_listener(lambda event, **_: seen.append(event))
    small(draws=9)
    assert not [event for event in seen if event.endswith("compilation_cache/cache_misses")]


def test_compiling_is_no_part_of_the_estimated_time(tmp_path, capsys):
    """Nor is what a checkpoint held: the first sight of the bar tells no time, and the pace counts from there."""
    for draws, first in ((20, 1), (30, 26)):
        small(tmp_path, draws, progress=True)
        sights = capsys.readouterr().err.split("\r")
        seen = [sight for sight in sights if f" {first}/" in sight]
        assert seen
        assert all("<?" in sight for sight in seen)


@pytest.mark.long
def test_chains_that_hardly_move_are_named():
    def wild(model):
        return HMC(model, step_size=1e4, adapt_step_size=False, num_steps=1, trajectory_length=None)

    moves = pytest.warns(UserWarning, match=r"chain 0, 1 hardly moves \(that is all of them\): take smaller steps")
    with moves, pytest.warns(UserWarning, match=r"chain 0, 1 diverges \(that is all of them\)"):
        small(sampler=wild)


@pytest.mark.long
def test_memory_is_what_is_returned_and_a_block():
    """2 × 15,000 draws of 1000 predictions: 360 MB are returned; the run takes less than 60 % more."""
    script = (
        "import resource, numpy as np, small_run as s\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "X_test = np.random.default_rng(0).normal(size=(1000, 3))\n"
        "s.small(draws=50, X_test=X_test)\n"
        "before = peak()\n"
        "posterior = s.small(draws=15_000, X_test=X_test)\n"
        "print((peak() - before) / posterior.nbytes)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.path.dirname(small_run.__file__)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(run.stdout) < 1.6


SHARED = """
import sys
import jax, small_run
from stpbnn.samplers import Tempered
assert len(jax.local_devices()) == 2
kind = {"metropolis": small_run.Metropolis, "tempered": lambda model: Tempered(model, replicas=3)}[sys.argv[1]]
small_run.small(draws=5, chains=4, sampler=kind).to_netcdf(sys.argv[2], engine="h5netcdf")
"""


@pytest.mark.parametrize("kind", ["metropolis", pytest.param("tempered", marks=pytest.mark.long)])
def test_two_devices_share_the_chains(kind, tmp_path):
    """In a process of its own, in which the processor counts as two devices: the same draws up to rounding."""
    flags = "--xla_force_host_platform_device_count=2 " + os.environ["XLA_FLAGS"]  # first: XLA reads up to a bare word
    subprocess.run(
        [sys.executable, "-c", SHARED, kind, tmp_path / "out.nc"],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.path.dirname(small_run.__file__)},
        check=True,
    )
    sampler = small_run.Metropolis if kind == "metropolis" else lambda model: Tempered(model, replicas=3)
    with xr.open_datatree(tmp_path / "out.nc", engine="h5netcdf") as shared:
        alone = small(draws=5, chains=4, sampler=sampler)
        for name in ("f", "f_mean"):
            np.testing.assert_allclose(shared["predictions"][name], alone["predictions"][name], rtol=1e-4, atol=1e-5)
