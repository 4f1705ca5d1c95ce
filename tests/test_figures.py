import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stpbnn import FullyConnected, figures
from stpbnn.comparison import compare_predictions


def made(points, outputs=None, targets=True, theories=("infinite width", "proportional limit"), seed=0):
    """A posterior of independent draws and its comparison with theories that are off by a little."""
    rng = np.random.default_rng(seed)
    shape = (points,) if outputs is None else (points, outputs)
    dims = ("test_point", "output")[: len(shape)]
    mean = rng.normal(size=shape)
    draws = {"f": (("chain", "draw", *dims), mean + 0.3 * rng.normal(size=(4, 200, *shape)))}
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
        }
    )
    posterior.attrs["network"] = json.dumps(FullyConnected((20, 20)).to_dict())
    shifts = 0.02 * np.arange(len(theories)).reshape(-1, *[1] * len(shape))
    data = {
        "mean": (("theory", *dims), mean + shifts),
        "variance": (("theory", *dims), np.full((len(theories), *shape), 0.09)),
        "order_parameters": (("theory", "layer"), [[1.0, 1.0], [1.2, np.nan], [np.nan, np.nan]][: len(theories)]),
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
        "energy": lambda ax: figures.plot_energy(posterior, ax=ax),
    }


FEW = made(10)
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


@pytest.mark.parametrize("arguments", [(300,), (5, 3), (30, 2), (1,)], ids=str)
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


def test_ranks_of_a_deviating_chain_stand_out():
    posterior, _ = FEW
    shifted = posterior["predictions"]["f"].copy(deep=True)
    shifted[0] += 10.0
    posterior = xr.DataTree.from_dict({"predictions": shifted.to_dataset(name="f")})
    counts = [
        patch.get_data().values for patch in figures.plot_ranks(posterior, bins=8).patches if hasattr(patch, "get_data")
    ]
    assert len(counts) == 4
    assert counts[0][:4].sum() == 0
    assert all(c[-2:].sum() == 0 for c in counts[1:])


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
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_six_theories_have_six_colours_and_markers():
    from stpbnn.figures.style import styles

    drawn = styles(xr.Dataset(coords={"theory": list("abcdef")}))
    assert len({colour for _, colour, _ in drawn}) == len({marker for *_, marker in drawn}) == 6
