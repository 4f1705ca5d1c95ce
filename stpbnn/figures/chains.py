"""Order parameters, ranks and energies: what the chains show."""

from __future__ import annotations

import json
import math
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import gamma, rankdata

from stpbnn.comparison.estimates import posterior_draws
from stpbnn.figures.style import COLOURS, POSTERIOR, flat, legend_above, new_axes, styles

__all__ = ["plot_energy", "plot_order_parameter", "plot_ranks"]


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
    are scaled to a peak of one. The adaptive kernel has no order parameter; its line is at its mean of the readout
    norm.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned.
    comparison : xarray.Dataset, optional
        What `stpbnn.compare` or `predict_theories` returned, with `order_parameters` (theory, layer) and, for the last
        layer, `readout_second_moment` (theory).
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
    group = posterior.get("posterior")
    if group is None or "kernel_scale" not in group or "readout_norm" not in group:
        raise ValueError("posterior: got no readout_norm and kernel_scale, expected what stpbnn.sample returned")
    scale, depth = group["kernel_scale"], group["kernel_scale"].sizes["layer"]
    layer = depth if layer is None else layer
    if layer not in range(1, depth + 1):
        raise ValueError(f"layer: got {layer!r}, expected 1..{depth}")
    ax = new_axes(ax)
    outline: dict[str, Any] = {"histtype": "step", "lw": 1.5, "color": "#888888", "ls": "--"}
    if layer == depth:
        norms = group["readout_norm"].to_numpy()
        _peaked(ax, norms.ravel(), label="readout norm, posterior", color=POSTERIOR, alpha=0.3)
        network = json.loads(posterior.attrs.get("network", "{}"))
        if "widths" in network:
            shape = network["widths"][-1] / 2
            ends = gamma.ppf([1e-4, 1 - 1e-4], shape, scale=1 / shape)
            grid = np.linspace(ends[0], ends[1], 400)
            density = gamma.pdf(grid, shape, scale=1 / shape)
            ax.plot(grid, density / density.max(), color=POSTERIOR, lw=1, ls=":", label="readout norm, prior")
    _peaked(ax, scale.isel(layer=layer - 1).to_numpy().ravel(), label="kernel scale, posterior", **outline)
    if comparison is not None and "order_parameters" in comparison:
        for (name, colour, _), q in zip(
            styles(comparison), comparison["order_parameters"].transpose("theory", "layer").to_numpy(), strict=True
        ):
            if layer <= len(q) and np.isfinite(q[layer - 1]):
                ax.axvline(q[layer - 1], color=colour, lw=2, label=f"{name}: Q̄ = {q[layer - 1]:.3g}")
    if comparison is not None and "readout_second_moment" in comparison and layer == depth:
        for (name, colour, _), moment in zip(
            styles(comparison), comparison["readout_second_moment"].to_numpy(), strict=True
        ):
            if np.isfinite(moment):
                ax.axvline(moment, color=colour, lw=2, label=f"{name}: mean {moment:.3g}")
    ax.set(xlabel=f"scale in units of its infinite-width value (layer {layer})", ylabel="density, peak = 1")
    ax.set_ylim(0, 1.05)
    legend_above(ax)
    return ax


def _peaked(ax: Axes, values: np.ndarray, **style: Any) -> None:
    """Draw a histogram whose highest bar is one."""
    counts, edges = np.histogram(values, bins=min(60, max(10, round(values.size**0.4))))
    ax.hist(edges[:-1], bins=list(edges), weights=counts / counts.max(), **style)


def plot_ranks(
    posterior: xr.DataTree,
    comparison: xr.Dataset | None = None,
    *,
    worst: int = 0,
    bins: int = 20,
    ax: Axes | None = None,
) -> Axes:
    r"""Plot how the draws of each chain rank among all draws, for one of the worst test predictions.

    Chains that sample one law have uniform ranks. Draws are thinned to about the effective sample size (but not below
    100 a chain), so that the band of two standard deviations of n independent draws in B bins,
    :math:`n/B \pm 2\sqrt{n/B\,(1 - 1/B)}`, applies.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned, with predictions.
    comparison : xarray.Dataset, optional
        What `stpbnn.compare` returned, for R-hat and ESS; without it the first prediction counts as the worst.
    worst : int
        Which prediction: 0 is the one of largest R-hat, 1 the next, and so on.
    bins : int
        B, the number of bins of the histogram, at most.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If there are no predictions, or fewer than `worst` + 1 of them.

    References
    ----------
    Vehtari et al., Bayesian Anal. 16, 667 (2021).

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(0, 1, (4, 500, 2))
    >>> posterior = xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})
    >>> plot_ranks(posterior).get_title()
    'test point 0'
    """
    draws, _ = posterior_draws(posterior)
    predictions = draws.to_numpy().reshape(*draws.shape[:2], -1)
    size = predictions.shape[-1]
    if worst not in range(size):
        raise ValueError(f"worst: got {worst!r}, expected 0..{size - 1} for {size} predictions")
    rhat = None if comparison is None else np.nan_to_num(flat(comparison["rhat"]), nan=0.0)
    point = worst if rhat is None else int(np.argsort(-rhat, kind="stable")[worst])
    ax = new_axes(ax, 4.4, 3.2)
    values = predictions[..., point]
    with np.errstate(all="ignore"):
        ess = float(az.ess(values, method="bulk"))
    thin = math.ceil(values.size / ess) if 0 < ess < values.size else 1
    values = values[:, :: min(thin, max(1, values.shape[1] // 100))]
    ranks, per_chain = rankdata(values).reshape(values.shape), values.shape[1]
    bins = max(2, min(bins, per_chain // 10))
    edges, expected = np.linspace(0.5, values.size + 0.5, bins + 1), per_chain / bins
    spread = 2 * math.sqrt(expected * (1 - 1 / bins))
    ax.axhspan(expected - spread, expected + spread, color=POSTERIOR, alpha=0.12, lw=0)
    for chain, row in enumerate(ranks):
        counts, _ = np.histogram(row, edges)
        style = ("-", "--", ":", "-.")[chain // len(COLOURS) % 4]
        ax.stairs(counts, edges, color=COLOURS[chain % len(COLOURS)], lw=1.3, ls=style, baseline=None)
    name = (
        f"test point {point}" if draws.ndim == 3 else "test point {}, output {}".format(*divmod(point, draws.shape[3]))
    )
    ax.set(
        title=name if rhat is None else f"{name}: R-hat {rhat[point]:.3f}", xlabel="rank", ylabel="draws of each chain"
    )
    ax.set_ylim(bottom=0)
    return ax


def plot_energy(posterior: xr.DataTree, *, ax: Axes | None = None) -> Axes:
    r"""Plot the energy of the Hamiltonian sampler beside its changes from draw to draw.

    .. math:: \mathrm{BFMI} = \sum_n (E_n - E_{n-1})^2 / \sum_n (E_n - \bar E)^2

    Where the changes are much narrower than the energies (BFMI below 0.3), the chain crosses energies slowly.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned, with `sample_stats/energy`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the sampler recorded no energy.

    References
    ----------
    Betancourt, arXiv:1604.00695 (2016).

    Examples
    --------
    >>> energy = np.random.default_rng(0).normal(0, 1, (4, 500))
    >>> posterior = xr.DataTree.from_dict({"sample_stats": xr.Dataset({"energy": (("chain", "draw"), energy)})})
    >>> plot_energy(posterior).get_title()
    'smallest BFMI of the chains: 1.9...'
    """
    stats = posterior.get("sample_stats")
    if stats is None or "energy" not in stats:
        raise ValueError("posterior: got no sample_stats/energy, which Hamiltonian samplers (nuts, hmc) record")
    energy = stats["energy"].transpose("chain", "draw").to_numpy().astype(np.float64)
    center, change = energy - energy.mean(axis=1, keepdims=True), np.diff(energy, axis=1)
    ax = new_axes(ax, 4.4, 3.2)
    style: dict[str, Any] = {"bins": 40, "density": True}
    ax.hist(center.ravel(), color=COLOURS[0], alpha=0.35, label="energy − mean", **style)
    ax.hist(change.ravel(), color=COLOURS[1], histtype="step", lw=1.5, label="change from draw to draw", **style)
    bfmi = np.mean(change**2, axis=1) / np.var(energy, axis=1)
    ax.set(title=f"smallest BFMI of the chains: {bfmi.min():.2f}", xlabel="energy (dimensionless)", ylabel="density")
    ax.set_ylim(top=1.4 * ax.get_ylim()[1])
    ax.legend(frameon=False, loc="upper center")
    return ax
