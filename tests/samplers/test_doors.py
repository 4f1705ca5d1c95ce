"""What sample() and sample_process() cannot do is refused at the door, in one line that names the argument."""

import numpy as np
import pytest
import xarray as xr
from numpyro.infer import AIES, ESS, NUTS
from small_run import data, small

import stpbnn
from stpbnn import FullyConnected, programs
from stpbnn.comparison import compare_predictions
from stpbnn.samplers import diagnose, sample_process

NET = FullyConnected((2,))


def refused(message, call, *arguments, **settings):
    with pytest.raises(ValueError, match=message) as caught:
        call(*arguments, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"chains": 10**9},
            "^chains: got 1000000000, which take about .* GiB, and .* are free here; take fewer chains",
        ),
        ({"chains": 10**18}, "^chains: got 10{18}, which take .* EiB"),
        ({"draws": 2**31 - 1}, "^draws: got 2147483647 of 2 chains, whose records take about .*; take fewer draws"),
        ({"draws": 10**13}, "^draws: got 10{13}, expected an integer of at least 1 and below 2147483648"),
        ({"warmup": 10**12}, "^warmup: got 10{12}, expected an integer of at least 0 and below 2147483648"),
        ({"net": FullyConnected((10**12,))}, r"^net: got widths \(10{12},\), whose weights and features take about"),
        ({"net": FullyConnected((2**62, 2))}, r"^net: got widths \(46\d+, 2\), whose .* take .* EiB"),
    ],
    ids=str,
)
def test_what_needs_more_memory_than_there_is(settings, message):
    refused(message, small, **settings)


def test_a_process_that_needs_more_memory_than_there_is():
    X, y, _ = data()
    refused("^chains: got 10{9}, which take about", sample_process, NET, X, y, process="finite-width", chains=10**9)
    refused("^draws: got 10{13}", sample_process, NET, X, y, process="finite-width", draws=10**13)


@pytest.mark.parametrize("kind", [AIES, ESS])
def test_kernels_that_move_chains_together(kind):
    refused(f"^sampler: {kind.__name__} moves an ensemble of chains together, expected .*NUTS", small, sampler=kind)


def test_a_kernel_that_is_made_already_and_one_that_fails():
    refused(
        r"^sampler: got a kernel that is made already, NUTS, expected .*: lambda model: NUTS\(model\)",
        small,
        sampler=NUTS(programs.marginal_network(NET)),
    )

    class Broken(NUTS):
        def init(self, *arguments, **settings):
            raise AssertionError

    refused("^sampler: Broken cannot sample this model .AssertionError.; take another kernel", small, sampler=Broken)


X, Y, X_TEST = data()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"X": 1.7e12 + X}, r"^X: got numbers up to 1.7e\+12, whose .* range of float32; standardise the inputs, or"),
        ({"X": 3e9 * np.ones_like(X)}, r"^X: got numbers up to 3e\+09, .* double precision: JAX_ENABLE_X64=1"),
        ({"X": 1e200 * X}, r"^X: got numbers up to \S+, whose products"),
        ({"X_test": 1e200 * X_TEST}, r"^X_test: got numbers up to \S+, whose products"),
        ({"y": 1e30 * Y}, "^y: got numbers up to .*, whose products .*; standardise the targets"),
    ],
    ids=["milliseconds", "3e9", "X", "X_test", "y"],
)
def test_numbers_that_are_too_large_for_the_precision(settings, message):
    refused(message, small, **settings)


def test_the_double_precision_of_processes_has_a_range_too():
    refused(
        "^X: got numbers up to .*, whose .* range of float64; standardise the inputs$",
        sample_process,
        NET,
        1e200 * X,
        Y,
        process="finite-width",
    )


def test_inputs_that_are_not_standardised_are_the_first_remedy():
    rng = np.random.default_rng(0)
    posterior = xr.DataTree.from_dict(
        {
            "predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), rng.normal(size=(2, 50, 3)))}),
            "constant_data": xr.Dataset({"X": (("train_point", "feature"), rng.uniform(-2020, 2020, (9, 1)).round())}),
        }
    )
    posterior.attrs["precision"] = "float32"
    remedy = diagnose(posterior).attrs["remedy"]
    assert remedy.startswith("X has entries up to ")
    assert ": standardise the inputs, or JAX_ENABLE_X64=1; " in remedy
    posterior["constant_data"] = posterior["constant_data"] * 0.01 + 2000  # years: double precision alone is no cure
    remedy = diagnose(posterior).attrs["remedy"]
    assert "far from zero beside their spread: standardise the inputs first; " in remedy
    assert "X64" not in remedy
    posterior["constant_data"] = posterior["constant_data"] / 2000
    assert "standardise" not in diagnose(posterior).attrs["remedy"]


@pytest.mark.parametrize("posterior", [None, "posterior.nc", 5, xr.Dataset()], ids=lambda value: type(value).__name__)
def test_what_is_no_posterior(posterior):
    message = "^posterior: got .*, expected the xarray.DataTree"
    refused(message, stpbnn.compare, posterior, {}, X)
    refused(message, compare_predictions, posterior, xr.Dataset())
    refused(message, diagnose, posterior)


def test_a_posterior_without_test_inputs_and_theories_that_are_none():
    losses = xr.Dataset({"train_loss": (("chain", "draw"), np.ones((2, 9)))})
    without = xr.DataTree.from_dict({"posterior": losses})
    refused("^X_test: got .* sample.. was given no X_test.*; sample again with it", stpbnn.compare, without, {}, X)
    theories = xr.Dataset({"mean": (("theory", "test_point"), [[0.0]])})
    refused("^posterior: got no predictions of f.* pass X_test to sample", compare_predictions, without, theories)
    known = xr.Dataset({"X_test": (("test_point", "feature"), X_TEST)})
    posterior = xr.DataTree.from_dict({"predictions_constant_data": known})
    refused("^theories.'a'.: got None, expected a fitted regressor", stpbnn.compare, posterior, {"a": None}, X_TEST)
    f = xr.Dataset({"f": (("chain", "draw", "test_point"), np.ones((2, 9, 1)))})
    posterior = xr.DataTree.from_dict({"predictions": f})
    refused("^predictions: got None, expected an xarray.Dataset", compare_predictions, posterior, None)
