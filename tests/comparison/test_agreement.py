"""z values and generalisation errors of known draws: their values, and the errors that are reported of them."""

import numpy as np
import pytest
import xarray as xr
from compared_draws import CHAINS, DRAWS, normal_draws, theory, tree
from scipy.signal import lfilter
from scipy.stats import norm
from scipy.stats import t as student

from stpbnn.comparison import compare_predictions
from stpbnn.comparison.estimates import posterior_draws, posterior_error


def ar1(rho, points, seed=0, shape=(CHAINS, DRAWS)):
    """Stationary AR(1) series of unit variance."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(1 - rho**2) * rng.normal(size=(*shape, points))
    noise[:, 0] = rng.normal(size=(shape[0], points))
    return lfilter([1], [1, -rho], noise, axis=1)


def test_independent_draws_have_the_textbook_standard_error():
    mean, sd = np.array([0.0, 1.0, -2.0]), np.array([0.1, 1.0, 3.0])
    comparison = compare_predictions(tree(normal_draws(mean, sd)), theory(mean))
    np.testing.assert_allclose(comparison["mcse"], sd / np.sqrt(CHAINS * DRAWS), rtol=0.1)
    np.testing.assert_allclose(comparison["f_variance"], sd**2, rtol=0.1)
    assert (abs(comparison["z"]) < 4).all()
    assert (comparison["rhat"] < 1.01).all()
    np.testing.assert_allclose(comparison["ess"], CHAINS * DRAWS, rtol=0.15)


def test_z_counts_standard_errors():
    mean, sd = np.zeros(3), np.ones(3)
    steps = np.array([5.0, 0.0, -7.0])
    posterior = tree(normal_draws(mean, sd))
    f_mean = posterior["predictions"]["f"].mean(("chain", "draw")).to_numpy()
    comparison = compare_predictions(posterior, theory(f_mean + steps / np.sqrt(CHAINS * DRAWS)))
    np.testing.assert_allclose(comparison["z"].sel(theory="theory"), steps, rtol=0.1, atol=1e-12)
    assert comparison["largest_z"].item() == pytest.approx(7, rel=0.1)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_correlated_draws_have_the_standard_error_of_their_autocorrelation_time(rho):
    comparison = compare_predictions(tree(ar1(rho, 8, shape=(4, 4000))), theory(np.zeros(8)))
    expected = np.sqrt((1 + rho) / (1 - rho) / 16000)
    assert float(comparison["mcse"].mean()) == pytest.approx(expected, rel=0.15)
    assert (abs(comparison["z"]) < 4).all()


def test_error_parts_of_known_draws():
    mean, sd, y = np.array([0.1, -0.4]), np.array([0.3, 0.2]), np.array([1.0, -1.0])
    comparison = compare_predictions(tree(normal_draws(mean, sd)), theory(mean, sd**2, y))
    b = y - mean
    truth = np.array([np.mean(b**2 + sd**2), np.mean(b**2), np.mean(sd**2)])
    spread = np.array([np.sum(2 * sd**4 + 4 * b**2 * sd**2), np.sum(4 * b**2 * sd**2), np.sum(2 * sd**4)])
    mcse = np.sqrt(spread / 2**2 / (CHAINS * DRAWS))
    found = comparison["error_posterior"].to_numpy()
    assert (abs(found - truth) < 4 * mcse).all()
    assert found[0] == pytest.approx(found[1] + found[2], rel=1e-12)
    np.testing.assert_allclose(comparison["error_mcse"], mcse, rtol=0.12)
    np.testing.assert_allclose(comparison["error"].sel(theory="theory"), truth, rtol=1e-12)
    np.testing.assert_allclose(comparison["relative_error"].sel(theory="theory"), truth / found - 1, rtol=1e-9)
    np.testing.assert_allclose(
        comparison["error_z"].sel(theory="theory"), (truth - found) / comparison["error_mcse"], rtol=1e-9
    )


def replications(bias, count=200):
    """Estimates and reported errors of repeated runs of one thousand independent draws, and the truth."""
    mean, sd = np.array([0.2]), np.array([0.7])
    y = xr.DataArray(mean + bias, dims="test_point")
    found, mcse = [], []
    for seed in range(count):
        draws, given = posterior_draws(tree(normal_draws(mean, sd, seed, shape=(4, 250))))
        error = posterior_error(draws, given, y, draws.std(("chain", "draw")) / 1000**0.5)
        found.append(error["error_posterior"].to_numpy())
        mcse.append(error["error_mcse"].to_numpy())
    return np.array(found), np.sqrt(np.mean(np.square(mcse), axis=0)), np.array([bias**2 + 0.49, bias**2, 0.49])


def test_reported_errors_are_the_spread_of_replications():
    found, reported, truth = replications(bias=0.5)
    spread = found.std(axis=0, ddof=1)
    np.testing.assert_allclose(reported, spread, rtol=0.2)
    assert (abs(found.mean(axis=0) - truth) < 4 * spread / np.sqrt(len(found))).all()


def test_where_the_bias_vanishes_its_estimate_is_centred_and_its_error_cautious():
    found, reported, truth = replications(bias=0.0)
    spread = found.std(axis=0, ddof=1)
    np.testing.assert_allclose(reported[[0, 2]], spread[[0, 2]], rtol=0.2)
    assert spread[1] < reported[1] < 1.8 * spread[1]
    assert (abs(found.mean(axis=0) - truth) < 4 * spread / np.sqrt(len(found))).all()


def test_integrated_readout_gives_the_same_answer_with_less_noise():
    rng = np.random.default_rng(1)
    center = rng.normal(1.0, 0.1, (CHAINS, DRAWS, 3))
    given = 0.5 + 0.1 * rng.uniform(size=center.shape)
    f = center + np.sqrt(given) * rng.normal(size=center.shape)
    y = np.zeros(3)
    plain = compare_predictions(tree(f, y), theory(np.ones(3), y=y))
    integrated = compare_predictions(tree(f, y, f_mean=center, f_variance=given), theory(np.ones(3), y=y))
    assert integrated.attrs["series"] == "f_mean"
    assert (integrated["mcse"] < plain["mcse"] / 4).all()
    np.testing.assert_allclose(integrated["f_variance"], 0.01 + 0.55, rtol=0.02)
    difference = abs(integrated["error_posterior"] - plain["error_posterior"])
    assert (difference < 4 * plain["error_mcse"]).all()
    assert (integrated["error_mcse"] < plain["error_mcse"]).all()


def test_outputs_are_summed_and_rows_averaged():
    mean, y = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]]), np.zeros((3, 2))
    f = normal_draws(mean, 0.2)
    comparison = compare_predictions(tree(f, y), theory(mean, y=y))
    assert comparison["z"].dims == ("theory", "test_point", "output")
    loss = ((f - y) ** 2).sum(-1).mean(-1)
    np.testing.assert_allclose(comparison["error_posterior"].sel(part="total"), loss.mean(), rtol=1e-12)
    assert comparison["error_posterior"].sel(part="variance").item() == pytest.approx(2 * 0.04, rel=0.05)
    assert comparison["z"].size == 6


def test_one_output_column_is_no_output_dimension():
    f = normal_draws(np.zeros((3, 1)), 1.0)
    assert compare_predictions(tree(f, np.zeros((3, 1))), theory(np.zeros(3)))["z"].shape == (1, 3)


def simulated(mean, own, freedom, y=None, error=0.0):
    """Predictions of a theory with Monte Carlo errors of its own, as predict_theories stores them."""
    predictions = theory(mean, y=y)
    predictions["theory_mcse"] = predictions["mean"] * 0 + own
    predictions["theory_freedom"] = ("theory", [freedom])
    if y is not None:
        predictions["theory_error_mcse"] = predictions["error"] * 0 + error
    return predictions


def test_errors_of_theory_and_posterior_add_in_quadrature():
    mean, y = np.zeros(3), np.ones(3)
    posterior = tree(normal_draws(mean, 1.0))
    plain = compare_predictions(posterior, theory(mean + 0.01, y=y))
    own = 2 * plain["mcse"].to_numpy()
    both = compare_predictions(posterior, simulated(mean + 0.01, own, np.inf, y, 2 * plain["error_mcse"].to_numpy()))
    np.testing.assert_allclose(both["z"], plain["z"] / np.sqrt(5), rtol=1e-12)
    np.testing.assert_allclose(both["error_z"], plain["error_z"] / np.sqrt(5), rtol=1e-12)
    truth = plain["error_posterior"]
    np.testing.assert_allclose(plain["relative_error_mcse"], plain["error"] * plain["error_mcse"] / truth**2)
    np.testing.assert_allclose(
        both["relative_error_mcse"], np.hypot(plain["relative_error_mcse"], 2 * plain["error_mcse"] / truth)
    )
    shift = 100 * both["relative_error_mcse"].sel(part="total").item()
    assert f"± {shift:.1f} %" in both["verdict"].item()


@pytest.mark.parametrize("freedom", [3, 20])
def test_an_error_from_few_populations_gives_the_normal_score_of_students_tail(freedom):
    """Where the theory's error is all there is, by scipy's t; Wallace's approximation is good to a few per cent."""
    steps = np.array([0.5, -2.0, 5.0, -20.0])
    posterior = tree(normal_draws(np.zeros(4), 1e-6))
    z = compare_predictions(posterior, simulated(0.1 * steps, 0.1, freedom))["z"].sel(theory="theory")
    expected = np.sign(steps) * norm.isf(student.sf(np.abs(steps), freedom))
    np.testing.assert_allclose(z, expected, rtol=0.03, atol=1e-4)


def test_false_alarms_from_four_populations_are_as_rare_as_asked_for():
    """The noise of 200 theories alone: the family-wise level of the largest of ten predictions."""
    populations = np.random.default_rng(0).normal(size=(4, 200, 10))
    own = populations.std(axis=0, ddof=1) / 2
    dims = ("theory", "test_point")
    noise = xr.Dataset(
        {
            "mean": (dims, populations.mean(axis=0)),
            "variance": (dims, np.ones((200, 10))),
            "theory_mcse": (dims, own),
            "theory_freedom": ("theory", np.full(200, 3.0)),
        },
        {"theory": [str(i) for i in range(200)]},
    )
    found = compare_predictions(tree(normal_draws(np.zeros(10), 1e-3, shape=(4, 200))), noise, level=0.1)
    assert 5 < (found["largest_z"] > found.attrs["max_z"]).sum() < 34  # binomial(200, 0.1), three standard deviations
