"""Fitted regressors against data: figures, laws through pipelines, and the held-out numbers of a comparison."""

import importlib

import arviz_stats as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report_data import made
from scipy import stats
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.inspection import PartialDependenceDisplay, partial_dependence
from sklearn.linear_model import BayesianRidge, LinearRegression
from sklearn.metrics import PredictionErrorDisplay
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import stpbnn
from stpbnn import figures, report
from stpbnn.comparison import compare_predictions, predict_theories
from stpbnn.predictive import Gaussian, StudentT

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)) * [1.0, 10.0, 100.0]
Y = np.sin(X[:, 0]) + 0.3 * RNG.normal(size=40)
NET = stpbnn.FullyConnected((20,), "erf")
KINDS = [
    stpbnn.NNGPRegressor(NET, temperature=0.1),
    stpbnn.FiniteWidthRegressor(NET, temperature=0.1),
    stpbnn.StudentTProcessRegressor(NET, temperature=0.1, normalize_y=True),
]


def new(kind=0):
    return clone(KINDS[kind])


MODEL = new().fit(X, Y)
PIPE = make_pipeline(StandardScaler(), new()).fit(X, Y)


def bands(ax):
    """The lower and upper ends of every band that is drawn, over its abscissas."""
    found = []
    for band in ax.collections:
        points = band.get_paths()[0].vertices
        x = np.unique(points[:, 0])
        at = [points[points[:, 0] == value, 1] for value in x]
        found.append((x, np.array([v.min() for v in at]), np.array([v.max() for v in at])))
    return found


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_the_band_is_that_of_the_law_with_the_other_inputs_at_their_medians(kind):
    model = make_pipeline(StandardScaler(), new(kind)).fit(X, Y)
    ax = figures.plot_band(model, X, Y, feature=1, p=0.8)
    assert isinstance(ax, Axes)
    grid = np.linspace(X[:, 1].min(), X[:, 1].max(), 200)
    points = np.column_stack([np.full(200, np.median(X[:, 0])), grid, np.full(200, np.median(X[:, 2]))])
    scaled = (points - X.mean(axis=0)) / X.std(axis=0)
    for (x, low, high), noise in zip(bands(ax), (True, False), strict=True):
        law = model[-1].predictive(scaled, noise=noise)
        np.testing.assert_allclose(x, grid, rtol=1e-12)
        np.testing.assert_allclose(low, law.quantile(0.1), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(high, law.quantile(0.9), rtol=1e-6, atol=1e-9)
    mean, data = ax.lines
    np.testing.assert_allclose(mean.get_ydata(), model.predict(points))
    np.testing.assert_array_equal(data.get_xydata(), np.column_stack([X[:, 1], Y]))
    assert len(bands(figures.plot_band(model, X, Y, noise=False))) == 1


def test_the_band_of_a_gaussian_law_is_mean_and_standard_deviations():
    ax = figures.plot_band(MODEL, X, Y, noise=False, p=0.95)
    ((grid, low, high),) = bands(ax)
    points = np.column_stack([grid, *(np.full(200, np.median(X[:, i])) for i in (1, 2))])
    mean, std = MODEL.predict(points, return_std=True)
    np.testing.assert_allclose(low, mean + stats.norm.ppf(0.025) * std, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(high, mean + stats.norm.ppf(0.975) * std, rtol=1e-9, atol=1e-12)


def test_a_frame_is_drawn_by_the_names_of_its_columns_and_categories_are_at_the_most_frequent():
    frame = pd.DataFrame({"size": X[:, 0], "rooms": X[:, 1], "town": ["a", "b", "b", "b"] * 10})
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder=StandardScaler())
    model = make_pipeline(encode, new()).fit(frame, Y)
    ax = figures.plot_band(model, frame, pd.Series(Y), feature="rooms")
    assert ax.get_xlabel() == "rooms"
    row = pd.DataFrame({"size": frame["size"].median(), "rooms": [ax.lines[0].get_xdata()[0]], "town": "b"})
    np.testing.assert_allclose(ax.lines[0].get_ydata()[0], model.predict(row)[0])
    with pytest.raises(ValueError, match=r"feature: got 'room', expected one of .*did you mean 'rooms'"):
        figures.plot_band(model, frame, Y, feature="room")


def test_the_band_of_one_of_several_outputs():
    both = np.column_stack([Y, 10 + Y])
    model = stpbnn.NNGPRegressor(stpbnn.FullyConnected((20,), "erf", outputs=2), temperature=0.1).fit(X, both)
    np.testing.assert_array_equal(figures.plot_band(model, X, both, output=1).lines[1].get_ydata(), both[:, 1])
    with pytest.raises(ValueError, match=r"output: got 2, expected 0\.\.1"):
        figures.plot_band(model, X, both, output=2)


def test_predictions_against_observed_targets_and_the_intervals_that_hold_them():
    ax = figures.plot_observed(PIPE, X, Y, p=0.5)
    mean, std = PIPE.predict(X, return_std=True)
    reach = stats.norm.ppf(0.75) * np.sqrt(std**2 + 0.1)
    held = np.abs(Y - mean) <= reach
    assert ax.get_title() == f"50 % intervals hold {held.sum()} of 40 targets"
    for container, chosen in zip(ax.containers, (held, ~held), strict=True):
        points, _, (bars,) = container.lines
        np.testing.assert_allclose(points.get_xydata(), np.column_stack([Y, mean])[chosen])
        ends = np.array(bars.get_segments())[:, :, 1]
        np.testing.assert_allclose(ends, np.column_stack([mean - reach, mean + reach])[chosen])


@pytest.mark.parametrize("kind", [0, 2])
def test_residuals_are_normal_scores(kind):
    """For a Gaussian law (y − mean)/std; for Student's t by SciPy's distribution functions."""
    model = new(kind).fit(X, Y)
    law = model.predictive(X, noise=True)
    drawn = figures.plot_residuals(model, X, Y).lines[-1].get_xydata()
    expected = (Y - law.mean) / law.std
    if kind:
        scale = law.std * np.sqrt((law.df - 2) / law.df)
        expected = stats.norm.ppf(stats.t.cdf((Y - law.mean) / scale, law.df))
    np.testing.assert_allclose(drawn, np.column_stack([law.mean, expected]), rtol=1e-7, atol=1e-9)


def test_the_law_that_made_the_targets_has_flat_transforms_and_nominal_coverage():
    """10,000 targets that NumPy draws; the counts that are drawn are SciPy's, within four of their deviations."""
    centre, scale, rng = RNG.normal(size=10_000), RNG.uniform(0.5, 2, 10_000), np.random.default_rng(1)
    y = centre + scale * rng.standard_t(5, size=10_000)
    right = StudentT(centre, scale, 5.0)
    narrow = Gaussian(centre, scale**2 / 4)
    ax = figures.plot_pit({"right": right, "narrow": narrow}, y)
    flat, valley = (patch.get_data() for patch in ax.patches if hasattr(patch, "get_data"))
    u = stats.t.cdf((y - centre) / scale, 5)
    assert stats.kstest(u, "uniform").pvalue > 0.01
    np.testing.assert_allclose(flat.values, np.histogram(u, flat.edges, density=True)[0])
    np.testing.assert_allclose(flat.values, 1, atol=4 * np.sqrt(20 / 10_000))
    assert valley.values[[0, -1]].min() > 2 > 1 > valley.values[9:11].max()
    ax = figures.plot_coverage({"right": right, "narrow": narrow}, y)
    for container, law in zip(ax.containers, (stats.t(5), stats.norm(scale=0.5)), strict=True):
        points, _, (bars,) = container.lines
        nominal = np.arange(1, 10) / 10
        inside = np.abs(y - centre)[:, None] <= scale[:, None] * law.ppf((1 + nominal) / 2)
        np.testing.assert_allclose(points.get_ydata(), 100 * (inside.mean(axis=0) - nominal), atol=1e-9)
        lengths = np.diff(np.array(bars.get_segments())[:, :, 1]).ravel()
        np.testing.assert_allclose(lengths, 400 * np.sqrt(nominal * (1 - nominal) / 10_000))
    right, narrow = (container.lines[0].get_ydata() for container in ax.containers)
    assert np.abs(right).max() < 200 / 100 < 10 < -narrow[5]


def test_axes_come_second_beside_a_comparison_and_third_with_targets():
    ax = Figure().subplots()
    assert figures.plot_pit(MODEL.predictive(X, noise=True), Y, ax) is ax
    assert figures.plot_coverage(MODEL.predictive(X, noise=True), Y, ax=ax) is ax
    for plot in (figures.plot_pit, figures.plot_coverage):
        with pytest.raises(ValueError, match=r"y: got shape \(39,\), expected \(40,\)"):
            plot(MODEL.predictive(X), Y[1:])
        with pytest.raises(ValueError, match=r"comparison: got .* expected what stpbnn\.compare returned, a law"):
            plot({"a": 3}, Y)
        with pytest.raises(ValueError, match=r"comparison: got \{\}"):
            plot({}, Y)


def test_the_law_through_pipelines_and_searches():
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    alone = new().fit(scaled, Y)
    search = GridSearchCV(make_pipeline(StandardScaler(), new()), {"nngpregressor__temperature": [0.1]}, cv=2).fit(X, Y)
    nested = make_pipeline(StandardScaler(), make_pipeline("passthrough", new())).fit(X, Y)
    for model in (PIPE, search, nested):
        law, expected = stpbnn.predictive_of(model, X, noise=True), alone.predictive(scaled, noise=True)
        np.testing.assert_allclose(law.mean, expected.mean)
        np.testing.assert_allclose(law.variance, expected.variance)
    joint = stpbnn.predictive_of(PIPE, X[:3], joint=True)
    np.testing.assert_allclose(joint.covariance, alone.predictive(scaled[:3], joint=True).covariance)
    np.testing.assert_allclose(stpbnn.predictive_of(MODEL, X).mean, MODEL.predict(X))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (make_pipeline(StandardScaler(), new()), "model: this Pipeline is not fitted; call fit"),
        (new(), "model: this NNGPRegressor is not fitted; call fit"),
        (
            make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y),
            "LinearRegression, which has no",
        ),
        (TransformedTargetRegressor(new(), transformer=StandardScaler()).fit(X, Y), "normalize_y=True, or scale y"),
        ("model", "expected a fitted regressor"),
    ],
    ids=["pipeline", "regressor", "no law", "transformed targets", "text"],
)
def test_what_has_no_law_says_so(model, message):
    for call in (lambda: stpbnn.predictive_of(model, X), lambda: figures.plot_residuals(model, X, Y)):
        with pytest.raises(ValueError, match=message):
            call()


def test_inputs_that_do_not_suit_a_pipeline_are_named():
    with pytest.raises(ValueError, match=r"^X: .*2 features"):
        stpbnn.predictive_of(PIPE, X[:, :2])


@pytest.mark.parametrize("model", [MODEL, PIPE], ids=["regressor", "pipeline"])
def test_displays_of_scikit_learn_take_our_regressors(model):
    ax = Figure().subplots(1, 1)
    shown = PartialDependenceDisplay.from_estimator(model, X, [0], ax=ax, grid_resolution=5)
    there = shown.pd_results[0]
    grid = there["grid_values"][0]
    by_hand = [model.predict(np.column_stack([np.full(40, x), X[:, 1:]])).mean() for x in grid]
    np.testing.assert_allclose(there["average"][0], by_hand)
    np.testing.assert_allclose(partial_dependence(model, X, [0], grid_resolution=5)["average"][0], by_hand)
    shown = PredictionErrorDisplay.from_estimator(model, X, Y, ax=Figure().subplots())
    np.testing.assert_allclose(shown.y_pred, model.predict(X))


def with_likelihood(outputs=1):
    """A posterior of ten test points with the log-likelihood of its training points, and theories."""
    posterior, theories, test_inputs, test_targets = made(10, draws=200, outputs=outputs)
    y = posterior["observed_data"]["y"].to_numpy()
    rng = np.random.default_rng(3)
    f = 0.8 * y + 0.2 * rng.normal(size=(4, 200, *y.shape))
    told = stats.norm.logpdf(y, f, np.sqrt(0.1)).reshape(4, 200, 12, -1).sum(-1)
    dims = ("chain", "draw", "train_point", "output")[: f.ndim]
    posterior["log_likelihood"] = xr.DataTree(xr.Dataset({"y": (dims[:3], told)}))
    new_targets = f + np.sqrt(0.1) * rng.normal(size=f.shape)
    posterior["posterior_predictive"] = xr.DataTree(xr.Dataset({"y": (dims, new_targets)}))
    predictions = predict_theories(theories, test_inputs, test_targets)
    return posterior, predictions, compare_predictions(posterior, predictions), theories, test_inputs, test_targets


def page(posterior, predictions, comparison):
    """The report, with the pictures of its section on data alone."""
    shown = {key: [] for key in ("predictions", "error", "z", "calibration", "order", "spectrum", "chains")}
    drawn = importlib.import_module("stpbnn.report.pictures")
    data = drawn._held_out(comparison) + drawn._left_out(comparison)
    told = {"title": None, "card": None, "run": None}
    return report.page(posterior, predictions, comparison, shown | {"data": data}, **told)


@pytest.mark.parametrize("outputs", [1, 2])
def test_held_out_targets_under_posterior_and_theories(outputs):
    posterior, _, comparison, theories, test_inputs, y = with_likelihood(outputs)
    f = posterior["predictions"]["f"].to_numpy()
    np.testing.assert_allclose(
        comparison["log_score_posterior"], np.log(stats.norm.pdf(y, f, np.sqrt(0.1)).mean((0, 1)))
    )
    np.testing.assert_allclose(comparison["target_pit_posterior"], stats.norm.cdf(y, f, np.sqrt(0.1)).mean((0, 1)))
    mean, std = theories["infinite width"].predict(test_inputs, return_std=True)
    law = stats.norm(mean, np.sqrt(std**2 + 0.1))
    one = comparison.sel(theory="infinite width")
    np.testing.assert_allclose(one["log_score"], law.logpdf(y))
    np.testing.assert_allclose(one["target_pit"], law.cdf(y))


def test_the_mean_that_was_integrated_keeps_its_variance():
    posterior, predictions, *_, y = with_likelihood()
    f, rng = posterior["predictions"]["f"].to_numpy(), np.random.default_rng(5)
    variance = rng.uniform(0.1, 0.4, f.shape)
    dims = ("chain", "draw", "test_point")
    held = {"f": (dims, f), "f_mean": (dims, f), "f_variance": (dims, variance)}
    posterior["predictions"] = xr.DataTree(xr.Dataset(held))
    found = compare_predictions(posterior, predictions)["log_score_posterior"]
    np.testing.assert_allclose(found, np.log(stats.norm.pdf(y, f, np.sqrt(variance + 0.1)).mean((0, 1))))


def test_regressors_without_a_law_of_targets_and_posteriors_of_random_temperature_have_no_scores():
    posterior, theories, test_inputs, y = made(10, draws=50)
    train = posterior["constant_data"]["X"].to_numpy(), posterior["observed_data"]["y"].to_numpy()
    predictions = predict_theories({"ridge": BayesianRidge().fit(*train)} | theories, test_inputs, y)
    assert np.isnan(predictions["log_score"].sel(theory="ridge")).all()
    posterior.attrs["temperature"] = "a prior"
    comparison = compare_predictions(posterior, predictions)
    assert "log_score_posterior" not in comparison
    html = page(posterior, predictions, comparison)
    section = html[html.index('id="data"') :]
    section = section[: section.index("</table>")]
    assert "ridge" not in section
    assert "infinite width" in section


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_leave_one_out_numbers_are_those_of_arviz():
    posterior, _, comparison, *_ = with_likelihood()
    names = ("log_likelihood", "posterior_predictive", "observed_data")
    groups = {name: posterior[name].to_dataset() for name in names}
    groups["posterior"] = groups["log_likelihood"].sum("train_point")  # whose effective sample size counts
    expected = az.loo(tree := xr.DataTree.from_dict(groups), pointwise=True, var_name="y")
    np.testing.assert_allclose(comparison["elpd_loo"], expected.elpd_i)
    np.testing.assert_allclose(comparison["pareto_k"], expected.pareto_k)
    assert comparison["good_k"] == expected.good_k
    np.testing.assert_allclose(comparison["loo_pit"], az.loo_pit(tree, var_names="y")["y"], atol=1e-9)
    u = comparison["loo_pit"].to_numpy()
    ax = figures.plot_loo_pit(comparison)
    drawn = next(patch for patch in ax.patches if hasattr(patch, "get_data")).get_data()
    np.testing.assert_allclose(drawn.values, np.histogram(u, drawn.edges, density=True)[0])
    drawn = np.concatenate([line.get_xydata() for line in figures.plot_pareto_k(comparison).lines[1:]])
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0]), 1], comparison["pareto_k"])


def test_exact_leave_one_out_of_a_conjugate_mean():
    """y ~ N(m, 1) with a flat prior on m: y_i given the others is N(their mean, 1 + 1/(P − 1)). 8000 draws."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=12)
    m = y.mean() + rng.normal(size=(4, 2000, 1)) / np.sqrt(12)
    dims = ("chain", "draw", "train_point")
    groups = {
        "log_likelihood": xr.Dataset({"y": (dims, stats.norm.logpdf(y, m, 1))}),
        "posterior_predictive": xr.Dataset({"y": (dims, m + rng.normal(size=(4, 2000, 12)))}),
        "observed_data": xr.Dataset({"y": ("train_point", y)}),
    }
    from stpbnn.comparison.observed import left_out

    found = left_out(xr.DataTree.from_dict(groups))
    law = stats.norm([np.delete(y, i).mean() for i in range(12)], np.sqrt(1 + 1 / 11))
    np.testing.assert_allclose(found["elpd_loo"][1], law.logpdf(y), atol=0.02)
    np.testing.assert_allclose(found["loo_pit"][1], law.cdf(y), atol=0.03)
    assert found["pareto_k"][1].max() < found["good_k"]


def test_leave_one_out_of_very_few_draws_is_left_out():
    """The law of the tail is fitted to a fifth of the draws, five at least: 25 draws have it, 24 do not."""
    from stpbnn.comparison.observed import left_out

    value = np.random.default_rng(0).normal(size=(1, 25, 6))
    recorded = xr.Dataset({"y": (("chain", "draw", "train_point"), value)})
    fewer = {draws: recorded.isel(draw=slice(draws)) for draws in (4, 5, 24)}
    found = {n: left_out(xr.DataTree.from_dict({"log_likelihood": part})) for n, part in fewer.items()}
    assert found == {4: {}, 5: {}, 24: {}}
    assert left_out(xr.DataTree.from_dict({"log_likelihood": recorded}))["elpd_loo"][1].shape == (6,)


def test_the_report_sets_model_against_data():
    posterior, predictions, comparison, *_ = with_likelihood()
    html = page(posterior, predictions, comparison)
    assert '<li><a href="#data">Model against data</a></li>' in html
    section = html[html.index('<section aria-labelledby="data">') :]
    section = section[: section.index("</section>")].replace("\u00a0", " ").replace("−", "-")
    assert section.count("<img") == 4
    scores = comparison["log_score_posterior"].to_numpy()
    quoted = stpbnn.comparison.quote(scores.sum(), np.sqrt(10) * scores.std(ddof=1))
    assert f'posterior (MCMC)</th><td class="number">{quoted}</td>' in section
    u = comparison["target_pit"].sel(theory="infinite width").to_numpy()
    assert f"{100 * np.mean(np.abs(2 * u - 1) <= 0.8):.1f} %" in section
    assert "The 12 training targets, each under the posterior given the others: ELPD " in section


def test_a_comparison_of_an_earlier_version_has_no_such_section():
    posterior, predictions, comparison, *_ = with_likelihood()
    known = ("log_score", "target_pit", "loo_pit", "pareto_k", "elpd_loo", "good_k")
    older = comparison.drop_vars([name for name in comparison if str(name).startswith(known)])
    html = page(posterior, predictions, older)
    assert "Model against data" not in html
