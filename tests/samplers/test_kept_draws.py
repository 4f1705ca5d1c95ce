"""Weights that a few draws keep: they give the functions that were recorded, and change no draw."""

import numpy as np
import pytest
import xarray as xr
from small_run import Metropolis

from stpbnn import FullyConnected, sample
from stpbnn.samplers import functions, sample_process
from stpbnn.samplers.chains.plan import KEPT_BYTES, count

RNG = np.random.default_rng(0)
X, X_TEST = RNG.normal(size=(6, 9)), RNG.normal(size=(5, 9))
Y = RNG.normal(size=6)
SETTINGS = {"temperature": 0.1, "X_test": X_TEST, "warmup": 60, "chains": 2, "seed": 3, "progress": False}
QUICK = SETTINGS | {"sampler": Metropolis}
NET = FullyConnected((4,), "erf")
DEEP = FullyConnected((4, 3), "relu", outputs=2, bias_precision=2.0)
pytestmark = pytest.mark.filterwarnings("ignore:.*R-hat", "ignore:.*effective", "ignore:.*chain")


@pytest.fixture(scope="module")
def kept():
    return sample(NET, X, Y, draws=30, keep_draws=6, **QUICK)


def agrees(found, recorded):
    assert set(found) == set(recorded) & {"f", "f_mean", "f_variance"}
    for name in found:
        np.testing.assert_allclose(found[name], recorded[name].sel(draw=found["draw"]), rtol=2e-4, atol=1e-5)


def test_kept_draws_give_the_recorded_functions(kept):
    assert kept["weights"]["draw"].values.tolist() == [9, 19, 29]
    assert all(values.dtype == np.float32 for values in kept["weights"].data_vars.values())
    agrees(functions(kept, X_TEST), kept["predictions"].to_dataset())


@pytest.mark.long
def test_kept_draws_of_a_deep_network_with_biases_and_several_outputs():
    y = np.column_stack([Y, -Y[::-1]])
    posterior = sample(DEEP, X, y, draws=9, readout="explicit", keep_draws=6, **QUICK)
    assert posterior["weights"]["W1"].dims == ("chain", "draw", "feature", "unit_1")
    agrees(functions(posterior, X_TEST), posterior["predictions"].to_dataset())


def test_what_is_kept_changes_no_draw(kept):
    plain = sample(NET, X, Y, draws=30, **QUICK)
    assert "weights" not in plain.children
    for group in plain.children:
        xr.testing.assert_identical(plain[group].to_dataset(), kept[group].to_dataset())
    with pytest.raises(ValueError, match=r"posterior: got no weights, expected .*keep_draws=200"):
        functions(plain, X_TEST)


@pytest.mark.long
def test_an_interrupted_run_keeps_the_same_weights(kept, tmp_path):
    settings = QUICK | {"checkpoint": tmp_path, "block": 10}
    sample(NET, X, Y, draws=20, keep_draws=4, **settings)
    again = sample(NET, X, Y, draws=30, keep_draws=6, **settings)
    xr.testing.assert_identical(kept["weights"].to_dataset(), again["weights"].to_dataset())


@pytest.mark.long
def test_a_checkpoint_without_weights_goes_on(tmp_path):
    sample(NET, X, Y, draws=20, checkpoint=tmp_path, **QUICK)
    posterior = sample(NET, X, Y, draws=40, checkpoint=tmp_path, keep_draws=8, **QUICK)
    assert posterior["weights"]["draw"].values.tolist() == [29, 39]


def test_files_stay_small():
    """Of what is asked for as much is kept as fits, the same number of every chain."""
    each = count(200, 4, 1000, 30_000)
    assert each * 4 * 30_000 * 4 <= KEPT_BYTES < (each + 1) * 4 * 30_000 * 4
    assert [count(keep, 4, 20, 10) for keep in (0, 1, 8, 200)] == [0, 1, 2, 20]
    assert count(200, 4, 1000, KEPT_BYTES) == 0


@pytest.mark.long
def test_a_process_is_evaluated_at_its_scales():
    settings = {name: value for name, value in SETTINGS.items() if name != "X_test"}
    posterior = sample_process(NET, X, Y, process="finite-width", draws=40, X_test=X_TEST, **settings)
    found, recorded = functions(posterior, X_TEST), posterior["predictions"].to_dataset()
    for name in ("f_mean", "f_variance"):
        np.testing.assert_allclose(found[name], recorded[name].sel(draw=found["draw"]), rtol=1e-8, atol=1e-10)
