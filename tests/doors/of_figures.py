"""Doors of figures and reports."""

from functools import cache

import numpy as np
import xarray as xr
from doors.given import XT, YT, Y, compared, example, posterior, swept
from doors.of_estimators import model
from doors.plain import booleans, choice, layer, numbers, optional, queries, targets
from doors.things import axes, data_set, fitted, named, optional_data_set, path, tree

import stpbnn
from stpbnn import figures


@cache
def doors():
    """Return the table of them."""
    comparing = {"comparison": (data_set, compared()), "ax": (axes, None)}
    _, theories_of_it, stored, its_targets = example()
    against = {"posterior": (tree, posterior()[0]), "theories": (named, theories_of_it), "X_test": (queries, stored)}
    against |= {"y_test": (optional(targets), its_targets)}
    table = {
        "write_report": (
            stpbnn.write_report,
            {"path": (path, "report.html")}
            | against
            | {"title": (lambda v: {"number": 3, "array": np.ones(2)}, None)}
            | {"card": (lambda v: {"number": 3, "array": np.ones(2)}, None)},
        ),
    }
    for name in figures.__all__:
        table[f"figures.{name}"] = (getattr(figures, name), comparing)
    chains = {"posterior": (tree, posterior()[0]), "comparison": (optional_data_set, compared()), "ax": (axes, None)}
    of_targets = model(stpbnn.NNGPRegressor).predictive(XT, noise=True)
    for name in ("plot_pit", "plot_coverage"):
        given = {"comparison": (data_set, of_targets), "y": (targets, YT), "ax": (axes, None)}
        table[f"figures.{name}"] = (getattr(figures, name), given)
    point = {"elpd_loo": -Y, "pareto_k": 0 * Y, "loo_pit": 0 * Y + 0.5}
    left_out = xr.Dataset({name: ("train_point", value) for name, value in point.items()} | {"good_k": 0.7})
    for name in ("plot_loo_pit", "plot_pareto_k"):
        table[f"figures.{name}"] = (getattr(figures, name), comparing | {"comparison": (data_set, left_out)})
    p = xr.DataArray([0.9, 0.2], dims="test_point")
    judged = xr.Dataset({"f_mean": p, "theory_mean": p.expand_dims(theory=["GP"]), "y_test": ("test_point", [1, 0])})
    of_classes = comparing | {"comparison": (data_set, judged.assign_attrs(classes="[0, 1]"))}
    table["figures.plot_reliability"] = (figures.plot_reliability, of_classes)
    table["figures.plot_confusion"] = (figures.plot_confusion, of_classes | {"theory": (optional(choice), "GP")})
    against_data = {"model": (fitted, model(stpbnn.NNGPRegressor)), "X": (queries, XT), "y": (targets, YT)}
    level, drawn = {"p": (numbers, 0.9)}, {"noise": (booleans, True), "ax": (axes, None)}
    table["figures.plot_residuals"] = (figures.plot_residuals, against_data | {"ax": (axes, None)})
    table["figures.plot_observed"] = (figures.plot_observed, against_data | level | drawn)
    table["figures.plot_band"] = (
        figures.plot_band,
        against_data | level | drawn | {"feature": (layer, 0), "output": (layer, 0)},
    )
    table["figures.plot_energy"] = (figures.plot_energy, {"posterior": chains["posterior"], "ax": (axes, None)})
    table["figures.plot_ranks"] = (figures.plot_ranks, chains | {"worst": (layer, 0)})
    table["figures.plot_order_parameter"] = (figures.plot_order_parameter, chains | {"layer": (layer, 1)})
    table["figures.plot_learning_curve"] = (
        figures.plot_learning_curve,
        {"dataset": (data_set, swept()), "ax": (axes, None)},
    )
    return table
