"""Temperatures and seeds are arguments of what is compiled: a sweep over them compiles its chains once."""

import jax
import numpy as np
import pytest
from small_run import data

from stpbnn import FullyConnected, sample
from stpbnn.samplers import collect, paper_scales, pose


def compiled(caplog, **settings):
    """Return a posterior, and the names of the programs that it compiled."""
    X, y, X_test = data()
    caplog.clear()
    with jax.log_compiles(), caplog.at_level("WARNING", "jax"):
        settings = {"warmup": 2, "draws": 4, "chains": 2, "progress": False} | settings
        found = sample(FullyConnected((2,), weight_precision=3.0), X, y, X_test=X_test, sampler="langevin", **settings)
    return found, [record.args[0] for record in caplog.records if str(record.msg).startswith("Compiling")]


def test_three_temperatures_compile_once(caplog):
    (first, some), (second, none), (third, also_none) = (
        compiled(caplog, temperature=T, seed=seed) for seed, T in enumerate((0.1, 0.2, 0.4))
    )
    assert {name for name in some if "advance" in str(name)}
    assert not none
    assert not also_none
    assert [each.attrs["temperature"] for each in (first, second, third)] == [0.1, 0.2, 0.4]


@pytest.mark.parametrize("sampler", ["langevin", "mala", "hmc", "nuts"])
def test_what_is_compiled_ahead_is_what_the_chains_run(caplog, sampler):
    X, y, X_test = data()
    settings = {"temperature": 0.1, "sampler": sampler, "readout": None, "keep_draws": 4, "progress": False}
    plan = {"warmup": 3, "draws": 4, "chains": 2, "seed": 0}
    posed = pose(FullyConnected((3,), weight_precision=5.0), X, y, X_test=X_test, y_test=None, **settings, **plan)
    programs = posed.lowered()
    assert len(programs) == 3
    for program in programs:
        program.compile()
    with jax.log_compiles(), caplog.at_level("WARNING", "jax"):
        found = collect(posed)
    compiling = [str(record.args[0]) for record in caplog.records if str(record.msg).startswith("Compiling")]
    assert not [name for name in compiling if "advance" in name or "weigh" in name or "lambda" in name]
    assert dict(found["weights"].sizes)["draw"] == 2


def test_the_temperature_that_is_told_is_that_of_the_chains(caplog):
    """Of a frozen chain, T can be read off the losses: log N(y; f, T) is told for the f that gives the loss."""
    for T in (0.1, 0.4):
        found, _ = compiled(caplog, temperature=T)
        log_likelihood = found["log_likelihood"]["y"].sum("train_point").to_numpy()
        P = found["log_likelihood"].sizes["train_point"]
        loss = found["posterior"]["train_loss"].to_numpy()
        np.testing.assert_allclose(log_likelihood, -P * (loss / T + np.log(2 * np.pi * T)) / 2, rtol=2e-5)


def test_scales_may_be_traced():
    net = FullyConnected((2,), weight_precision=(1.0, 4.0))
    traced = jax.jit(lambda T: paper_scales(net, T))(0.5)
    assert {name: float(value) for name, value in traced.items()} == paper_scales(net, 0.5)
