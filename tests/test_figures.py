import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from stpbnn import FullyConnected, figures
from stpbnn.comparison import compare_predictions
from stpbnn.figures.style import POSTERIOR
from stpbnn.report.pictures import pictures


def made(points, outputs=None, targets=True, theories=("infinite width", "proportional limit"), seed=0):
    """A posterior of independent draws and its comparison with theories that are off by a little."""
    rng = np.random.default_rng(seed)
    shape = (points,) if outputs is None else (points, outputs)
    dims = ("test_point", "output")[: len(shape)]
    mean = rng.normal(size=shape)
    y = rng.normal(size=(6, *shape[1:]))
    draws = {
        "f": (("chain", "draw", *dims), mean + 0.3 * rng.normal(size=(4, 200, *shape))),
        "eigenmode": (("chain", "draw", "mode", *dims[1:]), 0.9 * y + 0.1 * rng.normal(size=(4, 200, *y.shape))),
    }
    chains = ("chain", "draw")
    observed = {
        "readout_norm": (chains, rng.gamma(10, 0.1, (4, 200))),
        "kernel_scale": ((*chains, "layer"), rng.gamma(100, 0.01, (4, 200, 2))),
    }
    posterior = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(observed),
            "predictions": xr.Dataset(draws),
            "sample_stats": xr.Dataset({"energy": (chains, rng.normal(50, 5, (4, 200)))}),
            "observed_data": xr.Dataset({"y": (("train_point", *dims[1:]), y)}),
            "constant_data": xr.Dataset(
                {"eigenvector": (("mode", "train_point"), np.eye(6)), "eigenvalue": ("mode", 2.0 ** -np.arange(6))}
            ),
        }
    )
    posterior.attrs["network"] = json.dumps(FullyConnected((20, 20)).to_dict())
    shifts = 0.02 * np.arange(len(theories)).reshape(-1, *[1] * len(shape))
    data = {
        "mean": (("theory", *dims), mean + shifts),
        "variance": (("theory", *dims), np.full((len(theories), *shape), 0.09)),
        "order_parameters": (("theory", "layer"), [[1.0, 1.0], [1.2, np.nan], [np.nan, np.nan]][: len(theories)]),
        "train_mean": (("theory", "train_point", *dims[1:]), np.stack([0.8 * y] * len(theories))),
    }
    coords = {"theory": list(theories)}
    if targets:
        data |= {"y_test": (dims, np.zeros(shape)), "error": (("theory", "part"), [[0.3, 0.2, 0.1]] * len(theories))}
        coords["part"] = ["total", "squared_bias", "variance"]
    return posterior, compare_predictions(posterior, xr.Dataset(data, coords))


def every(posterior, comparison):
    """Each plot as a function of axes alone."""
    return {
        "predictions": lambda ax: figures.plot_predictions(comparison, ax=ax),
        "z": lambda ax: figures.plot_z(comparison, ax=ax),
        "error": lambda ax: figures.plot_error(comparison, ax=ax),
        "order parameter": lambda ax: figures.plot_order_parameter(posterior, comparison, ax=ax),
        "first layer": lambda ax: figures.plot_order_parameter(posterior, comparison, layer=1, ax=ax),
        "ranks": lambda ax: figures.plot_ranks(posterior, comparison, ax=ax),
        "energy": lambda ax: figures.plot_energy(posterior, ax),
        "convergence": lambda ax: figures.plot_convergence(comparison, ax),
        "PIT": lambda ax: figures.plot_pit(comparison, ax),
        "coverage": lambda ax: figures.plot_coverage(comparison, ax),
        "spectrum": lambda ax: figures.plot_spectrum(comparison, ax),
    }


FEW = made(10)
CURVES = xr.Dataset(
    {"error": (("train", "theory", "part"), [[[0.9, 0.4, 0.5]], [[0.5, 0.2, 0.3]]])},
    {"train": [50, 100], "theory": ["infinite width"], "part": ["total", "squared_bias", "variance"]},
)
NAMES = list(every(*FEW))


@pytest.mark.parametrize("name", NAMES)
def test_draws_into_given_axes_and_changes_nothing_else(name):
    before = dict(matplotlib.rcParams)
    plot = every(*FEW)[name]
    ax = Figure().subplots()
    assert plot(ax) is ax
    own = plot(None)
    assert isinstance(own, Axes)
    assert own.figure is not ax.figure
    assert own.get_xlabel()
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


@pytest.fixture(params=["webagg", "module://shown_inline"])
def screen(request):
    """A backend that shows figures, in a window or below the cell of a notebook."""
    before = plt.get_backend()
    plt.switch_backend(request.param)
    yield request.param
    plt.close("all")
    plt.switch_backend(before)


def test_where_figures_can_be_shown_pyplot_has_them(screen):
    _, comparison = FEW
    axes = [figures.plot_coverage(comparison), figures.plot_z(comparison)]
    assert [plt.figure(number) for number in plt.get_fignums()] == [ax.figure for ax in axes]
    assert figures.plot_pit(comparison, axes[0]) is axes[0]
    assert len(plt.get_fignums()) == 2
    figures.plot_learning_curve(CURVES)
    assert len(plt.get_fignums()) == 3


@pytest.mark.parametrize("screen", ["webagg"], indirect=True)
def test_figures_of_a_report_are_not_shown(screen):
    pictures(*made(1))
    assert plt.get_fignums() == []


def test_notebooks_do_not_warn_of_many_figures_in_a_cell(screen):
    def many():
        for _ in range(21):
            figures.plot_coverage(FEW[1])

    if "inline" in screen:  # closed at the end of the cell
        many()
    else:
        with pytest.warns(RuntimeWarning, match="More than 20 figures"):
            many()


LARGE = [pytest.param(many, marks=pytest.mark.long) for many in ((300,), (5, 3))]


@pytest.mark.parametrize("arguments", [(30, 2), (1,), *LARGE], ids=str)
def test_every_figure_can_be_saved(arguments, tmp_path):
    for name, plot in every(*made(*arguments)).items():
        path = tmp_path / f"{name}.svg"
        plot(None).figure.savefig(path)
        assert path.stat().st_size > 1000


def test_few_predictions_show_mean_spread_and_targets():
    _, comparison = FEW
    ax = figures.plot_predictions(comparison)
    labels = ax.get_legend_handles_labels()[1]
    assert sorted(labels) == ["infinite width", "posterior (MCMC)", "proportional limit", "target"]
    drawn = {c.get_label(): c for c in ax.containers}
    np.testing.assert_allclose(drawn["posterior (MCMC)"].lines[0].get_ydata(), comparison["f_mean"])
    theory = drawn["proportional limit"].lines
    np.testing.assert_allclose(theory[0].get_ydata(), comparison["theory_mean"].sel(theory="proportional limit"))
    heights = [segment[1, 1] - segment[0, 1] for segment in theory[2][0].get_segments()]
    np.testing.assert_allclose(heights, 2 * 0.3)


def test_many_predictions_are_drawn_against_the_posterior():
    _, comparison = made(41)
    ax = figures.plot_predictions(comparison)
    points = ax.containers[1].lines[0]
    np.testing.assert_allclose(points.get_xdata(), comparison["f_mean"])
    np.testing.assert_allclose(points.get_ydata(), comparison["theory_mean"].sel(theory="proportional limit"))


def test_error_bars_have_the_lengths_of_their_parts():
    _, comparison = FEW
    ax = figures.plot_error(comparison)
    widths = [patch.get_width() for patch in ax.patches]
    for part in ("squared_bias", "variance"):
        assert any(np.isclose(widths, float(comparison["error_posterior"].sel(part=part))))
    assert any(np.isclose(widths, 0.2))
    assert any(np.isclose(widths, 0.1))


def test_order_parameter_stands_at_its_value():
    posterior, comparison = FEW
    lines = {line.get_label(): line for line in figures.plot_order_parameter(posterior, comparison, layer=1).lines}
    assert lines["proportional limit: Q̄ = 1.2"].get_xdata()[0] == 1.2
    last = figures.plot_order_parameter(posterior, comparison).get_legend_handles_labels()[1]
    assert "readout norm, posterior" in last
    assert not any("proportional limit" in label for label in last)  # no order parameter of the second layer: no line
    assert figures.plot_order_parameter(posterior).get_legend_handles_labels()[1]


def test_law_of_an_order_parameter_is_its_density():
    """The quantiles of a known law give the curve of its density."""
    posterior, comparison = FEW
    p = np.concatenate([[0.001], np.arange(1, 50) / 50, [0.999]])
    table = np.full((2, 2, len(p)), np.nan)
    table[1, 0] = stats.gamma.ppf(p, 10, scale=0.1)
    law = {"order_parameter_quantiles": (("theory", "layer", "probability"), table), "probability": p}
    ax = figures.plot_order_parameter(posterior, comparison.assign(law), layer=1)
    (line,) = (line for line in ax.lines if line.get_label() == "proportional limit: p(Q | y), mean 1.2")
    density = stats.gamma.pdf(line.get_xdata(), 10, scale=0.1)
    np.testing.assert_allclose(line.get_ydata()[1:-1], (density / density.max())[1:-1], atol=0.02)


def test_ranks_of_a_deviating_chain_stand_out():
    posterior, _ = FEW
    shifted = posterior["predictions"]["f"].copy(deep=True)
    shifted[0] += 10.0
    posterior = xr.DataTree.from_dict({"predictions": shifted.to_dataset(name="f")})
    ax = figures.plot_ranks(posterior)
    lowest = [float(np.min(line.get_ydata())) for line in ax.lines if len(line.get_ydata()) > 10]
    np.testing.assert_allclose(lowest[0], -0.75, atol=0.02)  # all its draws are above three quarters of all
    assert "p=0.00" in ax.texts[0].get_text()
    assert "p=0.00" not in figures.plot_ranks(FEW[0]).texts[0].get_text()


def test_convergence_names_the_worst_five():
    _, comparison = FEW
    worst = comparison.assign(rhat=("test_point", 1 + np.array([1, 9, 2, 8, 3, 7, 4, 6, 0, 5]) / 1000))
    assert [text.get_text() for text in figures.plot_convergence(worst).texts] == ["1", "3", "5", "7", "9"]


def test_pit_is_flat_and_coverage_nominal_for_the_law_itself():
    _, comparison = FEW  # the first theory has the law of the draws
    ax = figures.plot_pit(comparison)
    np.testing.assert_allclose(ax.patches[0].get_data().values, 1, atol=0.2)  # 8000 draws in 20 bins: five deviations
    bars = [c for c in figures.plot_coverage(comparison).containers if c.get_label() == "infinite width"]
    _, _, (segments,) = bars[0].lines
    for (_, low), (_, high) in (segment for segment in segments.get_segments()):
        assert low - (high - low) / 2 < 0 < high + (high - low) / 2  # four Monte Carlo errors


def test_spectrum_shows_theory_and_posterior():
    _, comparison = FEW
    ax = figures.plot_spectrum(comparison)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 0.8)
    np.testing.assert_allclose(ax.collections[1].get_offsets()[:, 1], 0.9, atol=0.05)


def test_without_targets_there_is_no_error_figure():
    _, comparison = made(5, targets=False)
    assert "target" not in figures.plot_predictions(comparison).get_legend_handles_labels()[1]
    with pytest.raises(ValueError, match="y_test"):
        figures.plot_error(comparison)


def test_what_is_missing_is_named():
    posterior, comparison = FEW
    for call, message in [
        (lambda: figures.plot_predictions(xr.Dataset()), "f_mean"),
        (lambda: figures.plot_z(xr.Dataset()), "'z'"),
        (lambda: figures.plot_order_parameter(xr.DataTree()), "readout_norm"),
        (lambda: figures.plot_order_parameter(posterior, layer=3), "expected 1..2"),
        (lambda: figures.plot_ranks(posterior, comparison, worst=10), r"expected 0\.\.9"),
        (lambda: figures.plot_energy(xr.DataTree()), "energy"),
        (lambda: figures.plot_convergence(xr.Dataset()), "'rhat'"),
        (lambda: figures.plot_pit(xr.Dataset()), "'pit'"),
        (lambda: figures.plot_coverage(xr.Dataset()), "'coverage'"),
        (lambda: figures.plot_spectrum(xr.Dataset()), "1000 training points"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_six_theories_have_six_colours_and_markers():
    from stpbnn.figures.style import styles

    drawn = styles(xr.Dataset(coords={"theory": list("abcdef")}))
    assert len({colour for _, colour, _ in drawn}) == len({marker for *_, marker in drawn}) == 6


def test_z_values_in_the_thousands_leave_the_others_to_be_seen():
    """They stand at the edge: ninety are between -2 and 2, as of a normal law, ten at 3000."""
    values = np.append(stats.norm.ppf(np.linspace(0.03, 0.97, 90)), np.full(10, 3000.0))
    ax = figures.plot_z(xr.Dataset({"z": (("theory", "test_point"), values[None])}, {"theory": ["a"]}))
    assert ax.get_xlim() == (-31.5, 31.5)
    assert "beyond ±30 at the edge" in ax.get_xlabel()
    ax.figure.draw_without_rendering()
    label, picture = ax.xaxis.label.get_window_extent(), ax.figure.bbox
    assert picture.x0 < label.x0 < label.x1 < picture.x1
    x, y = ax.patches[-1].get_xy().T
    area = np.sum(np.diff(x) * y[:-1])
    assert abs(area) == pytest.approx(1.0)
    assert y[np.abs(x) < 2].max() > 0.2
    assert y[x > 29].max() > 0


@pytest.mark.parametrize(("narrow", "common"), [(0.7, True), (0.5, False), (np.nan, False)])
def test_a_line_that_is_the_same_for_all_widths_is_drawn_once_in_black(narrow, common):
    """A theory that was solved for one of two widths is no such line."""
    errors = np.array([[0.9, 0.7], [0.9, narrow]])[:, :, None, None] * np.ones((2, 2, 1, 3))
    places = {"width": [50, 200], "train": [50, 100], "theory": ["adaptive kernel"]}
    curves = xr.Dataset(
        {"error": (("width", "train", "theory", "part"), errors)}, places | {"part": CURVES["part"].to_numpy()}
    )
    ax = figures.plot_learning_curve(curves)
    lines = [line for line in ax.lines if np.isfinite(line.get_ydata()).any()]
    assert len(lines) == (1 if common else 2)
    assert all((line.get_color() == POSTERIOR) == common for line in lines)
