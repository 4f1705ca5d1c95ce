"""The report of a comparison: one HTML file that stands alone, with figures, tables and a verdict."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import xarray as xr
from jinja2 import Environment, StrictUndefined

from stpbnn import _validation as check
from stpbnn.comparison import check_test_inputs, compare_predictions, predict_theories
from stpbnn.files import destination, write_text
from stpbnn.report.contents import contents
from stpbnn.report.index import render_sweep
from stpbnn.report.pictures import pictures
from stpbnn.report.svg_pictures import Picture
from stpbnn.report.told_card import data_set, steps, tables

__all__ = ["render", "render_sweep", "write_report"]


def write_report(
    path: str | os.PathLike[str],
    posterior: xr.DataTree,
    theories: Mapping[str, Any],
    X_test: Any,
    y_test: Any = None,
    *,
    title: str | None = None,
    card: str | None = None,
) -> None:
    r"""Compare closed-form predictions with the sampled posterior and write what comes out as one HTML file.

    .. math:: z(x) = (\bar f_{\mathrm{theory}}(x) - \bar f_{\mathrm{MCMC}}(x)) / \mathrm{MCSE}(x)

    The file needs nothing beside it: no script, no style sheet, no network. It appears whole, or not at all.

    Parameters
    ----------
    path : path
        Where to write; its folder exists.
    posterior : xarray.DataTree
        What `stpbnn.sample` returned, with predictions at X_test.
    theories : mapping of str to regressor
        Fitted estimators by name, e.g. {"infinite width": nngp, "proportional limit": prop}.
    X_test : array of shape (M, N_0)
        Test inputs; those of the posterior.
    y_test : array of shape (M,) or (M, D), optional
        Test targets; by default those stored with the posterior, if any.
    title : str, optional
        Heading of the report.
    card : str, optional
        Text of the model card, shown under "How to reproduce".

    Raises
    ------
    ValueError
        If the folder does not exist, or for what `stpbnn.compare` refuses.

    References
    ----------
    Theory notes, section 4; Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from stpbnn import NNGPRegressor
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> nngp = NNGPRegressor(temperature=0.1).fit(X, y)
    >>> f = y + np.random.default_rng(0).normal(0, 0.1, (4, 500, 3))
    >>> posterior = xr.DataTree.from_dict({
    ...     "predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)}),
    ...     "predictions_constant_data": xr.Dataset({"X_test": (("test_point", "feature"), X)})})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(f"{folder}/report.html", posterior, {"infinite width": nngp}, X, y)
    ...     Path(folder, "report.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    for name, words in (("title", title), ("card", card)):
        if words is not None:
            check.text(name, words)
    path = destination("path", path)
    y_test = check_test_inputs(posterior, X_test, y_test)
    predictions = predict_theories(theories, X_test, y_test)
    html = render(posterior, predictions, compare_predictions(posterior, predictions), title=title, card=card)
    write_text(path, html)


def render(
    posterior: xr.DataTree,
    predictions: xr.Dataset,
    comparison: xr.Dataset,
    *,
    title: str | None = None,
    card: str | None = None,
    run: Mapping[str, Any] | None = None,
) -> str:
    """Return the report as HTML, from stored data sets alone.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned.
    predictions : xarray.Dataset
        What `stpbnn.comparison.predict_theories` returned.
    comparison : xarray.Dataset
        What `stpbnn.compare` returned.
    title : str, optional
        Heading; by default that of the card, or one made of the setting.
    card : str, optional
        Text of the model card (TOML).
    run : mapping, optional
        How the run came about: `versions`, `device`, `seed`, `created_at`, `cores`, `seconds`; by default from the
        attributes of the posterior.

    Raises
    ------
    ValueError
        If one of the data sets is something else.

    References
    ----------
    Theory notes, section 4; Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> f = np.random.default_rng(0).normal(0, 1, (4, 500, 2))
    >>> posterior = xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})
    >>> theory = xr.Dataset({"mean": (("theory", "test_point"), [[0.0, 0.0]]), "variance": 1.0}, {"theory": ["zero"]})
    >>> html = render(posterior, theory, compare_predictions(posterior, theory), title="A & B")
    >>> "<h1>A &amp; B</h1>" in html
    True
    """
    if "predictions" not in posterior or "mean" not in predictions or "verdict" not in comparison:
        raise ValueError(
            "render: expected a posterior with predictions, what predict_theories returned, and what compare returned"
        )
    return page(posterior, predictions, comparison, pictures(posterior, comparison), title=title, card=card, run=run)


def page(
    posterior: xr.DataTree,
    predictions: xr.Dataset,
    comparison: xr.Dataset,
    shown: Mapping[str, list[Picture]],
    *,
    title: str | None,
    card: str | None,
    run: Mapping[str, Any] | None,
) -> str:
    """Return the page as HTML, with pictures by section that are made already."""
    told = {} if card is None else tables(card)
    if title is None and isinstance(told.get("title"), str):
        title = told["title"]
    text = contents(posterior, predictions, comparison, title=title, data_set=data_set(told), run=dict(run or {}))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["tied"] = _tied
    template = environment.from_string(files("stpbnn.report").joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(text, card=card, steps=steps(told), pictures=shown)


def _tied(text: str) -> str:
    """Return text with true minus signs, and numbers that do not part from their signs and units at line ends."""
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", text)
    return (
        text.replace(" ± ", "\u00a0±\u00a0")
        .replace("± ", "±\u00a0")
        .replace(" %", "\u00a0%")
        .replace("(threshold ", "(threshold\u00a0")
    )
