"""Order parameters: their posterior, beside the values and laws of the theories."""

from __future__ import annotations

import json
import numbers
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import gamma, invgamma

from stpbnn import _validation as check
from stpbnn.figures.style import POSTERIOR, legend_above, new_axes, styles
from stpbnn.network import of_settings

__all__ = ["plot_order_parameter"]


def plot_order_parameter(
    posterior: xr.DataTree, comparison: xr.Dataset | None = None, *, layer: int | None = None, ax: Axes | None = None
) -> Axes:
    r"""Plot the posterior of the observable scales of a layer, with the order parameter of each theory.

    For the last layer L the observable is the readout norm :math:`\lambda_L |v|^2 / N_L`. Given v, f is a sum of N_L
    features with weights v; under the Gaussian ansatz its covariance is :math:`Q K` with Q the readout norm. The law of
    Q given the data, from eq. (3.2) of the theory notes, is then that of the readout norm (for linear networks with one
    hidden layer exactly so), and :math:`\bar Q` is its mode in log Q, a little above the peak seen on this linear axis.
    The prior is the Gamma law drawn beside it.

    The kernel scale :math:`\mathrm{tr}\,\hat K_l / \mathrm{tr}\,(\kappa(\hat K_{l-1})/\lambda_l)` is another quantity:
    it tells how far the hidden kernel has grown or shrunk, is one at infinite width, and equals no order parameter of
    the theory. Below the last layer it is all there is, and :math:`\bar Q_l` is drawn for orientation only. All curves
    are scaled to a peak of one.

    Of a process the scale itself is drawn, Q of the layer or r, with its prior.

    Where a theory has a law of its order parameter, as the mixture of finite width does, p(Q | y) is a curve. The
    adaptive kernel has no order parameter; its line is at its mean of the readout norm.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` or `stpbnn.samplers.sample_process` returned.
    comparison : xarray.Dataset, optional
        What `stpbnn.compare` or `predict_theories` returned, with `order_parameters` (theory, layer) and, if known,
        `order_parameter_quantiles` (theory, layer, probability) and, of the last layer, `readout_second_moment`.
    layer : int, optional
        Hidden layer, counted from 1; by default the last.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the posterior holds no order parameters, or the layer does not exist.

    References
    ----------
    Sections 3 and 4 of the theory notes; Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> norms = xr.DataArray(rng.gamma(10, 0.1, (4, 100)), dims=("chain", "draw"))
    >>> scales = xr.DataArray(rng.gamma(10, 0.1, (4, 100, 1)), dims=("chain", "draw", "layer"))
    >>> posterior = xr.DataTree.from_dict({"posterior": xr.Dataset({"readout_norm": norms, "kernel_scale": scales})})
    >>> plot_order_parameter(posterior).get_xlabel()
    'scale in units of its infinite-width value (layer 1)'
    """
    if comparison is not None:
        check.data_set("comparison", comparison)
    group = check.tree("posterior", posterior).get("posterior")
    if group is not None and ("Q" in group or "r" in group):
        return _scale(posterior, comparison, layer, new_axes(ax))
    if group is None or "kernel_scale" not in group or "readout_norm" not in group:
        raise ValueError("posterior: got no readout_norm and kernel_scale, expected what stpbnn.sample returned")
    scale, depth = group["kernel_scale"], group["kernel_scale"].sizes["layer"]
    layer = _layer(layer, depth)
    ax = new_axes(ax)
    outline: dict[str, Any] = {"histtype": "step", "lw": 1.5, "color": "#888888", "ls": "--"}
    if layer == depth:
        norms, shared = group["readout_norm"], 1
        if "classes" in posterior.attrs and "output" in norms.dims:  # which have one scale in the theories
            norms, shared = norms.mean("output"), norms.sizes["output"]
        _peaked(ax, norms.to_numpy().ravel(), label="readout norm, posterior", color=POSTERIOR, alpha=0.3)
        if "network" in posterior.attrs:
            net = of_settings(json.loads(posterior.attrs["network"]))
            _prior(ax, _gamma(shared * net.seen), "readout norm, prior")
    _peaked(ax, scale.isel(layer=layer - 1).to_numpy().ravel(), label="kernel scale, posterior", **outline)
    if comparison is not None and "order_parameters" in comparison:
        _theories(ax, comparison, layer, layer == depth)
    ax.set(xlabel=f"scale in units of its infinite-width value (layer {layer})", ylabel="density, peak = 1")
    ax.set_ylim(0, 1.05)
    legend_above(ax)
    return ax


def _scale(posterior: xr.DataTree, comparison: xr.Dataset | None, layer: int | None, ax: Axes) -> Axes:
    """Plot the scale of a process: its posterior, its prior, and what the theories put in its place."""
    group, attributes = posterior["posterior"], posterior.attrs
    if "Q" in group:
        depth = group["Q"].sizes["layer"]
        layer = _layer(layer, depth)
        symbol, draws, where = "Q", group["Q"].isel(layer=layer - 1), f" (layer {layer})"
        prior = _gamma(json.loads(attributes["network"])["widths"][layer - 1])
    else:
        df = float(attributes["df"])
        symbol, draws, where, layer = "r", group["r"], "", 1
        prior = invgamma(df / 2, scale=(df - 2) / 2)
    values = draws.to_numpy().ravel()
    _peaked(ax, values, label=f"{symbol}, posterior", color=POSTERIOR, alpha=0.3)
    _prior(ax, prior, f"{symbol}, prior", highest=max(values.max(), prior.ppf(0.95)))
    if comparison is not None and "order_parameters" in comparison:
        _theories(ax, comparison, layer, False, symbol)
    ax.set(xlabel=f"scale {symbol} of the kernel{where}", ylabel="density, peak = 1")
    ax.set_ylim(0, 1.05)
    legend_above(ax)
    return ax


def _layer(layer: int | None, depth: int) -> int:
    """Return the number of the hidden layer, by default the last."""
    layer = depth if layer is None else layer
    if not isinstance(layer, numbers.Integral) or isinstance(layer, bool) or layer not in range(1, depth + 1):
        raise ValueError(f"layer: got {check.shown(layer)}, expected 1..{depth}")
    return int(layer)


def _gamma(width: int) -> Any:
    """Return the prior of an order parameter."""
    return gamma(width / 2, scale=2 / width)


def _prior(ax: Axes, law: Any, label: str, highest: float = np.inf) -> None:
    lower, upper = law.ppf([1e-4, 1 - 1e-4])
    grid = np.linspace(lower, min(upper, highest), 400)
    density = law.pdf(grid)
    ax.plot(grid, density / density.max(), color=POSTERIOR, lw=1, ls=":", label=label)


def _theories(ax: Axes, comparison: xr.Dataset, layer: int, last: bool, symbol: str = "Q") -> None:
    """Draw the order parameter of each theory as a line, or its law as a curve."""
    if layer > comparison.sizes["layer"]:
        return
    found = comparison.isel(layer=layer - 1)
    missing = np.full(comparison.sizes["theory"], np.nan)
    moments = found["readout_second_moment"].to_numpy() if "readout_second_moment" in found and last else missing
    for i, (name, colour, _) in enumerate(styles(comparison)):
        q = float(found["order_parameters"][i])
        law = found["order_parameter_quantiles"][i].to_numpy() if "order_parameter_quantiles" in found else None
        if law is not None and np.isfinite(law).all():
            density = np.diff(found["probability"]) / np.diff(law)
            middle = (law[1:] + law[:-1]) / 2
            mean = f", mean {q:.3g}" if np.isfinite(q) else ""
            ax.plot(middle, density / density.max(), color=colour, lw=1.8, label=f"{name}: p({symbol} | y){mean}")
        elif np.isfinite(q):
            value = f"Q̄ = {q:.3g}" if symbol == "Q" else f"{symbol} = {q:.3g}"
            ax.axvline(q, color=colour, lw=2, ls=("-", "--", "-.")[i % 3], label=f"{name}: {value}")
        elif np.isfinite(moments[i]):
            ax.axvline(moments[i], color=colour, lw=2, ls=":", label=f"{name}: mean {moments[i]:.3g}")


def _peaked(ax: Axes, values: np.ndarray, **style: Any) -> None:
    """Draw a histogram whose highest bar is one."""
    counts, edges = np.histogram(values, bins=min(60, max(10, round(values.size**0.4))))
    ax.hist(edges[:-1], bins=list(edges), weights=counts / counts.max(), **style)
