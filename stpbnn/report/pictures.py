"""The figures of the report as data URIs, each with the words that replace and explain it."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple, cast

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stpbnn import figures
from stpbnn.comparison import quote
from stpbnn.figures.style import FEW

__all__ = ["Picture", "pictures", "svg"]


class Picture(NamedTuple):
    """One figure: its source as a data URI, the text in its place, its caption, and whether phones shall scroll it."""

    source: str
    alt: str
    caption: str
    wide: bool = False


def pictures(posterior: xr.DataTree, comparison: xr.Dataset) -> dict[str, list[Picture]]:
    """Return the figures that the data allow, by section of the report; of theories that have converged, if any has."""
    converged = comparison["theory_converged"].to_numpy().astype(bool)
    comparison = comparison.isel(theory=np.flatnonzero(converged)) if converged.any() else comparison
    theories = " and ".join(str(name) for name in comparison["theory"].to_numpy())
    return {
        "predictions": [_predictions(comparison, theories)],
        "error": [_error(comparison)] if "error" in comparison else [],
        "z": [_z(comparison, theories)],
        "order": _order(posterior, comparison),
        "chains": _chains(posterior, comparison),
    }


def _predictions(comparison: xr.Dataset, theories: str) -> Picture:
    size = comparison["f_mean"].size
    if size > FEW:
        alt = f"Scatter plot of {size} predictions: mean of {theories} against the posterior mean, with the diagonal."
        caption = (
            "Mean of f at the test points: theory against posterior. The horizontal bar is the Monte Carlo error of "
            "the posterior mean. Where theory and posterior agree, the points lie on the diagonal."
        )
    else:
        alt = f"Posterior mean and standard deviation of f at {size} test predictions, beside those of {theories}."
        caption = (
            "Prediction f at each test point. Broad grey bar: posterior mean ± one standard deviation. Black cap: "
            "Monte Carlo error of the mean, often smaller than the dot. Coloured: theory, ± one standard deviation."
        )
        caption += " Dashed: target." if "y_test" in comparison else ""
    return Picture(svg(figures.plot_predictions(comparison)), alt, caption, wide=15 < size <= FEW)


def _error(comparison: xr.Dataset) -> Picture:
    total, mcse = (float(comparison[key].sel(part="total")) for key in ("error_posterior", "error_mcse"))
    shown = _each(comparison, comparison["error"].sel(part="total"), ".3g")
    alt = f"Stacked bars of squared bias and variance. Total error: posterior {quote(total, mcse)}; {shown}."
    caption = (
        "Generalisation error: squared bias (solid) plus variance (hatched), averaged over the test set. Dotted line "
        "and error bar: total of the posterior and its Monte Carlo error."
    )
    return Picture(svg(figures.plot_error(comparison)), alt, caption)


def _z(comparison: xr.Dataset, theories: str) -> Picture:
    shown = _each(comparison, comparison["largest_z"], ".1f")
    what = f"z values of {comparison['f_mean'].size} predictions of {theories} beside the standard normal density"
    caption = (
        "z: distance of theory and posterior mean in Monte Carlo standard errors, of both. The values of an exact "
        f"theory would follow the grey density. Dotted: threshold ± {comparison.attrs['max_z']:.1f}."
    )
    return Picture(svg(figures.plot_z(comparison)), f"{what}. Largest |z|: {shown}.", caption)


def _each(comparison: xr.Dataset, values: xr.DataArray, form: str) -> str:
    """Return the value of each theory in words."""
    pairs = zip(comparison["theory"].to_numpy(), values.to_numpy(), strict=True)
    return "; ".join(f"{name} {float(value):{form}}" for name, value in pairs)


def _order(posterior: xr.DataTree, comparison: xr.Dataset) -> list[Picture]:
    group = posterior.get("posterior")
    if group is None or "readout_norm" not in group or "kernel_scale" not in group:
        return []
    layer = group["kernel_scale"].sizes["layer"]
    alt = f"Histograms of readout norm and kernel scale of layer {layer}; order parameters of the theories as lines."
    caption = (
        "Order parameter of the last hidden layer. Grey: posterior of the readout norm λ|v|²/N, the observable that "
        "corresponds to Q; dotted: its prior. Vertical lines: Q̄ of the theories, the mode of Q on a logarithmic axis, "
        "a little above the peak on this linear one. Dashed: kernel scale, the trace of the sampled hidden kernel in "
        "units of its expectation. It equals no order parameter of the theory; at infinite width it is one. All curves "
        "have peak one."
    )
    return [Picture(svg(figures.plot_order_parameter(posterior, comparison)), alt, caption)]


def _chains(posterior: xr.DataTree, comparison: xr.Dataset) -> list[Picture]:
    shown = []
    captions = (
        "Ranks of the draws of each chain among all draws, for the prediction of largest R-hat. Chains of one law stay "
        "in the grey band, two standard deviations of independent draws, up to a few bins.",
        "The same for the prediction of second largest R-hat.",
    )
    for worst in range(min(2, comparison["rhat"].size) if comparison["chains"] > 1 else 0):
        alt = f"Rank histogram of each chain for the prediction of {('largest', 'second largest')[worst]} R-hat."
        shown.append(Picture(svg(figures.plot_ranks(posterior, comparison, worst=worst)), alt, captions[worst]))
    stats = posterior.get("sample_stats")
    if stats is not None and "energy" in stats and stats["energy"].sizes["draw"] > 2:
        alt = "Histograms of the energy of the sampler and of its changes from draw to draw."
        caption = (
            "Energy of the sampler and its changes from draw to draw. Changes much narrower than the energies mean "
            "slow mixing (BFMI below 0.3)."
        )
        shown.append(Picture(svg(figures.plot_energy(posterior)), alt, caption))
    return shown


def svg(ax: Axes) -> str:
    """Return a plot as the data URI of an SVG; the same plot gives the same text."""
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "stpbnn", "svg.fonttype": "path"}):
        figure = cast(Figure, ax.get_figure(root=True))
        figure.savefig(stream, format="svg", transparent=True, dpi=150, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
