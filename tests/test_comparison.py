import io
import json
import warnings

import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from scipy.signal import lfilter
from scipy.stats import norm
from scipy.stats import t as student

from stpbnn import FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.comparison import compare, compare_predictions, comparison_table, predict_theories, quote
from stpbnn.comparison.estimates import posterior_draws, posterior_error

CHAINS, DRAWS = 4, 1000
PARTS = ["total", "squared_bias", "variance"]


def tree(f, y=None, X=None, **predictions):
    """A posterior with draws f (chain, draw, test_point[, output]) and nothing that comparison does not need."""
    dims = ("chain", "draw", "test_point", "output")[: f.ndim]
    X = np.arange(f.shape[2], dtype=float)[:, None] if X is None else X
    known = {"X_test": (("test_point", "feature"), X)}
    if y is not None:
        known["y_test"] = (dims[2:], y)
    stats = {"diverging": (("chain", "draw"), np.zeros(f.shape[:2], bool))}
    groups = {
        "predictions": xr.Dataset({"f": (dims, f)} | {k: (dims, v) for k, v in predictions.items()}),
        "predictions_constant_data": xr.Dataset(known),
        "sample_stats": xr.Dataset(stats),
    }
    return xr.DataTree.from_dict(groups)


def theory(mean, variance=None, y=None, converged=True):
    """Predictions of one theory as predict_theories stores them."""
    mean = np.asarray(mean, float)
    variance = np.ones_like(mean) if variance is None else np.asarray(variance, float)
    dims = ("theory", "test_point", "output")[: mean.ndim + 1]
    data = {"mean": (dims, mean[None]), "variance": (dims, variance[None]), "converged": ("theory", [converged])}
    if y is not None:
        bias, var = ((y - mean) ** 2).sum() / len(y), variance.sum() / len(y)
        data |= {"y_test": (dims[1:], y), "error": (("theory", "part"), [[bias + var, bias, var]])}
    return xr.Dataset(data, {"theory": ["theory"]} | ({} if y is None else {"part": PARTS}))


def normal_draws(mean, sd, seed=0, shape=(CHAINS, DRAWS)):
    mean = np.asarray(mean, float)
    return mean + np.asarray(sd) * np.random.default_rng(seed).normal(size=(*shape, *mean.shape))


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


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(3)
    X, Xt = rng.normal(size=(12, 4)), rng.normal(size=(6, 4))
    y, yt = np.sign(X[:, 0]), np.sign(Xt[:, 0])
    net = FullyConnected((20,), "erf")
    theories = {
        "infinite width": NNGPRegressor(net, temperature=0.1).fit(X, y),
        "proportional limit": ProportionalLimitRegressor(net, temperature=0.1).fit(X, y),
    }
    return theories, Xt, yt


def test_predictions_are_those_of_the_regressors(fitted):
    theories, Xt, yt = fitted
    predictions = predict_theories(theories, Xt, yt)
    for name, model in theories.items():
        mean, std = model.predict(Xt, return_std=True)
        one = predictions.sel(theory=name)
        np.testing.assert_array_equal(one["mean"], mean)
        np.testing.assert_allclose(one["variance"], std**2)
        np.testing.assert_allclose(one["error"], [np.mean((yt - mean) ** 2 + std**2), *one["error"][1:]])
        np.testing.assert_array_equal(one["order_parameters"], model.order_parameters_)
    assert predictions["regressor"].to_numpy().tolist() == ["NNGPRegressor", "ProportionalLimitRegressor"]
    assert predictions["order_parameters"].sel(theory="infinite width").item() == 1
    assert "error" not in predict_theories(theories, Xt)


def test_layers_and_outputs_are_padded():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), rng.normal(size=8)
    deep = ProportionalLimitRegressor(FullyConnected((20, 30), "erf"), temperature=0.1).fit(X, y)
    shallow = NNGPRegressor(FullyConnected((20,), "erf"), temperature=0.1).fit(X, y)
    predictions = predict_theories({"deep": deep, "shallow": shallow}, X)
    assert predictions["order_parameters"].shape == (2, 2)
    assert np.isnan(predictions["order_parameters"].sel(theory="shallow")[1])
    two = NNGPRegressor(FullyConnected((20,), "erf", outputs=2), temperature=0.1).fit(X, np.stack([y, -y], 1))
    assert predict_theories({"two": two}, X, np.stack([y, y], 1))["mean"].dims == ("theory", "test_point", "output")


def test_a_matrix_order_parameter_is_stored_with_its_trace(fitted):
    _, Xt, _ = fitted

    class Matrix(NNGPRegressor):
        pass

    model = Matrix(FullyConnected((20,), "erf", outputs=2)).fit(np.eye(4), np.ones((4, 2)))
    model.order_parameters_ = np.array([[2.0, 0.5], [0.5, 1.0]])
    predictions = predict_theories({"matrix": model}, Xt)
    assert predictions["order_parameters"].item() == 1.5
    np.testing.assert_array_equal(predictions["order_parameter_matrix"][0], model.order_parameters_)


def test_compare_is_predict_then_compare(fitted):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), yt, Xt.astype(np.float32))
    expected = compare_predictions(posterior, predict_theories(theories, Xt, yt))
    xr.testing.assert_identical(compare(posterior, theories, Xt, yt), expected)
    xr.testing.assert_identical(compare(posterior, theories, Xt), expected)
    without = compare(tree(normal_draws(yt, 1.0), X=Xt), theories, Xt)
    assert "error" not in without
    assert set(without) >= {"z", "verdict", "agrees"}


def test_theories_of_other_training_data_are_warned_of(fitted):
    theories, Xt, yt = fitted
    model = next(iter(theories.values()))
    for y, expected in ((model.y_train_, False), (model.y_train_[:, None], False), (-model.y_train_, True)):
        posterior = tree(normal_draws(yt, 1.0), yt, Xt)
        dims = ("train_point", "output")[: y.ndim]
        posterior["observed_data"] = xr.DataTree(xr.Dataset({"y": (dims, y)}))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compare(posterior, theories, Xt, yt)
        assert any("other training data" in str(one.message) for one in caught) == expected


def test_a_stored_run_can_be_compared_again(fitted, tmp_path):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), X=Xt)
    predictions = predict_theories(theories, Xt, yt)
    predictions.to_netcdf(tmp_path / "theory.nc", engine="h5netcdf")
    posterior.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    comparison = compare_predictions(posterior, predictions)
    comparison.to_netcdf(tmp_path / "comparison.nc", engine="h5netcdf")
    with (
        xr.open_dataset(tmp_path / "theory.nc", engine="h5netcdf") as stored,
        xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as draws,
        xr.open_dataset(tmp_path / "comparison.nc", engine="h5netcdf") as again,
    ):
        xr.testing.assert_equal(stored, predictions)
        xr.testing.assert_equal(again, comparison)
        assert again["agrees"].dtype == bool
        assert again["verdict"].to_numpy().tolist() == comparison["verdict"].to_numpy().tolist()
        xr.testing.assert_equal(compare_predictions(draws, stored), comparison)


def test_a_theory_of_another_network_or_temperature_is_pointed_out(fitted):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), X=Xt)
    posterior.attrs |= {"temperature": 0.1, "network": json.dumps(FullyConnected((20,), "erf").to_dict())}
    compare(posterior, theories, Xt)
    posterior.attrs["temperature"] = 0.05
    with pytest.warns(UserWarning, match=r"'infinite width'.*temperature 0.1 instead of 0.05"):
        compare(posterior, {"infinite width": theories["infinite width"]}, Xt)
    posterior.attrs |= {"temperature": "Gamma", "network": json.dumps(FullyConnected((50,), "erf").to_dict())}
    with pytest.warns(UserWarning, match=r"'proportional limit'.*widths \[20\] instead of \[50\]"):
        compare(posterior, theories, Xt)


def test_bad_input_is_refused_with_a_reason(fitted):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), yt, Xt)
    unfitted = {"theory": NNGPRegressor()}
    for arguments, message in [
        ((posterior, {}, Xt, yt), "theories: got {}"),
        ((posterior, unfitted, Xt, yt), "not fitted; call fit"),
        ((posterior, theories, Xt + 1, yt), "other test inputs"),
        ((posterior, theories, Xt[:3], yt[:3]), "other test inputs"),
        ((posterior, theories, Xt, yt[:3]), "y_test"),
        ((posterior, theories, Xt, yt + 1), "other targets .* than were given to sample"),
        ((xr.DataTree(), theories, Xt, yt), "other test inputs"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(*arguments)


def test_bad_draws_and_thresholds_are_refused():
    f = normal_draws(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="no predictions of f"):
        compare_predictions(xr.DataTree(), theory(np.zeros(3)))
    with pytest.raises(ValueError, match="same test points"):
        compare_predictions(tree(f), theory(np.zeros(2)))
    with pytest.raises(ValueError, match="level"):
        compare_predictions(tree(f), theory(np.zeros(3)), level=2.0)
    f[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        compare_predictions(tree(f), theory(np.zeros(3)))


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


@pytest.mark.parametrize("width", [80, 200])
def test_table_for_the_terminal(fitted, width):
    theories, Xt, yt = fitted
    theories = {"infinite [bold]width": theories["infinite width"]}
    comparison = compare(tree(normal_draws(yt, 1.0), yt, Xt), theories, Xt, yt)
    out = io.StringIO()
    Console(file=out, width=width).print(comparison_table(comparison))
    text = " ".join(out.getvalue().split())
    for word in (
        "posterior",
        "(MCMC)",
        "[bold]",
        "bias²",
        "±",
        "%",
        "differs",
        "has converged (R-hat 1.0",
        "differs: ",
    ):
        assert word in text
    assert max(map(len, out.getvalue().splitlines())) <= width
    with pytest.raises(ValueError, match="verdict"):
        comparison_table(xr.Dataset())
