"""Verdicts in words: agreement, difference, or none."""

import numpy as np
import pytest
from compared_draws import CHAINS, DRAWS, normal_draws, theory, tree

from stpbnn.comparison import compare_predictions, quote


def test_verdict_agrees():
    mean, y = np.zeros(5), np.ones(5)
    comparison = compare_predictions(tree(normal_draws(mean, 1.0)), theory(mean, y=y))
    assert comparison["agrees"].item()
    assert comparison["verdict"].item().startswith("agrees within Monte Carlo error (largest |z| ")
    assert "among 5 predictions; error " in comparison["verdict"].item()


def test_verdict_differs_in_the_error_only():
    mean, y = np.zeros(5), np.ones(5)
    comparison = compare_predictions(tree(normal_draws(mean, 1.0)), theory(mean, 1.3 * np.ones(5), y))
    assert not comparison["agrees"].item()
    sentence = comparison["verdict"].item()
    assert sentence.startswith("differs: generalisation error 1")
    assert "% above the posterior's 1.98" in sentence
    assert "standard errors)" in sentence
    assert "|z|" not in sentence


def test_verdict_differs_in_one_prediction():
    mean = np.zeros(10)
    wrong = mean + 8 / np.sqrt(CHAINS * DRAWS) * (np.arange(10) == 3)
    comparison = compare_predictions(tree(normal_draws(mean, 1.0)), theory(wrong))
    assert comparison["verdict"].item().startswith("differs: largest |z| ")
    assert comparison["verdict"].item().endswith("among 10 predictions (threshold 3.3)")
    assert abs(comparison["z"]).argmax("test_point").item() == 3


def test_no_verdict_without_convergence():
    f = normal_draws(np.zeros(4), 1.0) + np.arange(4)[:, None, None]
    comparison = compare_predictions(tree(f), theory(np.full(4, 1.5)))
    assert not comparison["converged"]
    assert not comparison["agrees"].item()
    assert comparison["verdict"].item().startswith("no verdict: the posterior has not converged (R-hat ")
    neither = compare_predictions(tree(f), theory(np.full(4, 1.5), converged=False))
    assert neither["verdict"].item().endswith("), nor has the solver of the theory")


def test_merged_chains_are_judged_anew():
    """Two runs of one chain each say that R-hat needs two; together they differ, and that is what is said."""
    f = normal_draws(np.zeros(4), 1.0, shape=(2, 500)) + np.arange(2)[:, None, None]
    single = tree(f[:1])
    single.attrs |= {"chains": 1, "draws": 500, "verdict": "not converged", "remedy": "R-hat needs at least 2 chains"}
    kept = compare_predictions(single, theory(np.zeros(4)))
    assert kept.attrs["remedy"] == "R-hat needs at least 2 chains"
    merged = tree(f)
    merged.attrs |= single.attrs
    comparison = compare_predictions(merged, theory(np.full(4, 0.5)))
    assert "the chains differ" in comparison.attrs["remedy"]
    assert comparison.attrs["verdict"].startswith("not converged: R-hat 1.")
    assert "R-hat needs" not in comparison["verdict"].item()
    shorter = compare_predictions(merged.isel(draw=slice(3, None)), theory(np.full(4, 0.5)))
    assert "the chains differ" in shorter.attrs["remedy"]


def test_chains_stuck_at_different_constants_have_not_converged():
    f = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 500, 2)).copy()
    assert not compare_predictions(tree(f), theory(np.zeros(2)))["converged"]


@pytest.mark.parametrize("shape", [(1, 1000), (4, 3)])
def test_too_few_chains_or_draws_give_no_verdict(shape):
    comparison = compare_predictions(tree(normal_draws(np.zeros(2), 1.0, shape=shape)), theory(np.zeros(2)))
    assert "R-hat cannot be computed" in comparison["verdict"].item()
    assert not comparison["agrees"].item()


def test_no_verdict_from_an_unconverged_solver():
    comparison = compare_predictions(tree(normal_draws(np.zeros(2), 1.0)), theory(np.zeros(2), converged=False))
    assert comparison["verdict"].item() == "no verdict: the solver of the theory has not converged"
    predictions = theory(np.full(2, np.nan), converged=False).assign(reason=("theory", ["no solution so narrow"]))
    lost = compare_predictions(tree(normal_draws(np.zeros(2), 1.0)), predictions)
    assert lost["verdict"].item().endswith("the solver of the theory has not converged (no solution so narrow)")


def test_a_prediction_that_never_varies_is_right_or_wrong():
    f = normal_draws(np.zeros(2), np.array([0.0, 1.0]))
    comparison = compare_predictions(tree(f), theory(np.zeros(2)))
    assert comparison["z"].isel(test_point=0).item() == 0
    assert comparison["agrees"].item()
    wrong = compare_predictions(tree(f), theory(np.array([0.1, 0.0])))
    assert np.isinf(wrong["z"].isel(test_point=0).item())
    assert not wrong["agrees"].item()


def test_thresholds_are_arguments_and_recorded():
    posterior = tree(normal_draws(np.zeros(2), 1.0))
    comparison = compare_predictions(posterior, theory(np.zeros(2)), min_ess=1e6, level=0.05)
    assert not comparison["converged"]
    assert comparison.attrs["min_ess"] == 1e6
    assert comparison.attrs["max_z"] == pytest.approx(2.2414, abs=1e-4)  # normal quantile of 1 - 0.05/4, from tables


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.036987, 0.000512, "0.0370 ± 0.0005"),
        (2.0134, 0.0149, "2.013 ± 0.015"),
        (153.2, 21.0, "153 ± 21"),
        (1.0, 0.0, "1.00"),
        (0.1234, np.nan, "0.123"),
    ],
)
def test_numbers_are_quoted_to_the_digits_of_their_error(value, error, text):
    assert quote(value, error) == text
