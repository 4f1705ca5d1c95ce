"""The verdict on chains: series whose law, correlation and faults are known."""

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from stpbnn.samplers import diagnose
from stpbnn.samplers.chains.diagnosis import warn_of_chains
from stpbnn.samplers.chains.mixing import convergence, reaches, rhat_limit

SAMPLES = ("chain", "draw")


def ar1(rho, shape, seed=0):
    """Stationary AR(1) series of unit variance, (chain, draw, series)."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(1 - rho**2) * rng.normal(size=shape)
    noise[:, 0] = rng.normal(size=(shape[0], shape[2]))
    return lfilter([1], [1, -rho], noise, axis=1)


def tree(f, stats=None, attrs=None, **posterior):
    groups = (
        {"predictions": xr.Dataset({"f": ((*SAMPLES, "test_point", "output")[: f.ndim], f)})} if f is not None else {}
    )
    groups["posterior"] = xr.Dataset({name: ((*SAMPLES, "layer")[: v.ndim], v) for name, v in posterior.items()})
    groups["sample_stats"] = xr.Dataset({name: (SAMPLES, v) for name, v in (stats or {}).items()})
    made = xr.DataTree.from_dict(groups)
    made.attrs |= attrs or {}
    return made


def test_numbers_are_those_of_arviz_one_by_one():
    f = ar1(0.6, (4, 300, 130))
    f[..., 7] = 1.0
    found = convergence(xr.DataArray(f.reshape(4, 300, 65, 2), dims=(*SAMPLES, "test_point", "output")))
    assert found["rhat"].dims == ("test_point", "output")
    assert found["rhat"].values[3, 1] == 1.0
    for i in (0, 63, 64, 129):
        place = dict(zip(("test_point", "output"), divmod(i, 2), strict=True))
        one = xr.DataArray(f[..., i], dims=SAMPLES)
        expected = {
            "rhat": az.rhat(one), "ess": az.ess(one), "ess_tail": az.ess(one, method="tail"), "mcse": az.mcse(one)
        }  # fmt: skip
        for name, value in expected.items():
            np.testing.assert_allclose(found[name].isel(place), value, rtol=1e-12)


def passing(rho, chains, draws, repetitions):
    """Return how many of repeated perfect runs of 200 predictions pass, and how many have no R-hat above 1.01."""
    passed = naive = 0
    for seed in range(repetitions):
        found = convergence(xr.DataArray(ar1(rho, (chains, draws, 200), seed), dims=(*SAMPLES, "test_point")))
        limit = rhat_limit(found["ess_within"], chains, 200)
        passed += bool((found["rhat"] <= limit).all() and (found["ess"] > 400).all())
        naive += bool((found["rhat"] < 1.01).all())
    return passed, naive


@pytest.mark.long
def test_perfect_chains_of_200_predictions_pass_where_1_01_is_exceeded_by_chance():
    passed, naive = passing(0.0, 4, 200, 10)
    assert passed == 10
    assert naive < 5


@pytest.mark.long
@pytest.mark.parametrize(("rho", "chains", "draws"), [(0.0, 4, 200), (0.0, 2, 400), (0.8, 4, 1800)])
def test_95_in_100_perfect_runs_pass(rho, chains, draws):
    """200 predictions, 800 effective draws."""
    passed, naive = passing(rho, chains, draws, 100)
    assert passed >= 95
    assert naive < 70


def test_one_chain_that_is_elsewhere_is_seen():
    f = ar1(0.0, (4, 1000, 200))
    assert diagnose(tree(f)).attrs["converged"] == 1
    f[2, :, 17] += 0.5
    diagnosis = diagnose(tree(f))
    assert diagnosis.attrs["converged"] == 0
    assert diagnosis.attrs["verdict"].startswith("not converged: R-hat 1.0")
    assert "the chains differ: a longer warm-up and more draws" in diagnosis.attrs["remedy"]
    one = diagnosis.sel(quantity="f[17]")
    assert one["rhat"] > one["rhat_limit"]


def test_too_few_draws_are_named_with_the_number_that_would_do():
    diagnosis = diagnose(tree(ar1(0.0, (2, 100, 3))))
    assert diagnosis.attrs["verdict"].startswith("not converged")
    assert "more draws, draws=" in diagnosis.attrs["remedy"]
    single = diagnose(tree(ar1(0.0, (1, 500, 3))))
    assert single.attrs["converged"] == 0
    assert "R-hat needs at least 2 chains" in single.attrs["remedy"]


def test_what_the_sampler_says():
    """Divergences, a slow energy, trajectories at the greatest depth, a chain that stays where it is."""
    rng = np.random.default_rng(0)
    stats = {
        "diverging": np.zeros((4, 1000), bool),
        "energy": np.cumsum(0.1 * rng.normal(size=(4, 1000)), axis=1),
        "num_steps": np.full((4, 1000), 1023),
        "accept_prob": np.full((4, 1000), 0.8),
    }
    stats["diverging"][1, :300] = True
    scale = rng.normal(size=(4, 1000, 1))
    scale[3, 10:] = 1.0
    posterior = tree(ar1(0.0, (4, 1000, 2)), stats, {"max_tree_depth": 10}, kernel_scale=scale)
    diagnosis = diagnose(posterior)
    np.testing.assert_array_equal(diagnosis["divergences"], [0, 300, 0, 0])
    np.testing.assert_allclose(diagnosis["bfmi"], az.bfmi(posterior["sample_stats"].to_dataset()["energy"]))
    np.testing.assert_array_equal(diagnosis["saturated"], np.ones(4))
    assert diagnosis["moved"].to_numpy()[3] == pytest.approx(10 / 999, abs=1e-6)
    for part in ("300 divergent transitions: smaller steps", "greatest tree depth", "BFMI 0.0", "readout='marginal'"):
        assert part in diagnosis.attrs["remedy"]
    assert diagnosis.attrs["converged"] == 1
    with pytest.warns(UserWarning, match="chain") as caught:
        warn_of_chains(diagnosis, 1000)
    assert [str(w.message).split(":")[0] for w in caught] == ["chain 3 hardly moves", "chain 1 diverges"]


def test_without_test_points_losses_decide():
    loss = ar1(0.0, (4, 1000, 1))[..., 0]
    diagnosis = diagnose(tree(None, train_loss=loss, readout_norm=np.repeat(loss[:, :1], 1000, axis=1)))
    assert diagnosis.attrs["verdict"].endswith("among 1 losses")
    assert diagnosis.attrs["converged"] == 1
    assert diagnosis["rhat"].sel(quantity="readout_norm") > 1.5
    with pytest.raises(ValueError, match="neither predictions nor losses"):
        diagnose(xr.DataTree())


def test_goals_are_reached_by_every_series():
    f = ar1(0.0, (4, 1000, 100))
    series = xr.DataArray(f, dims=(*SAMPLES, "test_point"))
    assert reaches(series, ess=2000, rhat=1.02)
    assert not reaches(series, ess=10_000)
    f[0, :, 99] += 1
    assert not reaches(series, rhat=1.02)
    assert not reaches(series.isel(draw=slice(3)), ess=1)
