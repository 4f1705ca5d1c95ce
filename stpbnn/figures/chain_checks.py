"""Ranks, energies and convergence: what the chains show."""

from __future__ import annotations

import numbers

import arviz as az
import arviz_plots as azp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from stpbnn import _validation as check
from stpbnn.comparison import posterior_draws
from stpbnn.figures.style import COLOURS, POSTERIOR, flat, name_points, new_axes, onto

__all__ = ["plot_convergence", "plot_energy", "plot_ranks"]

NAMED = 5  # predictions of largest R-hat that are named


def plot_convergence(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot R-hat against the bulk effective sample size of every test prediction; the five of largest R-hat by name.

    Chains have converged where all points lie below the solid line and to the right of the dotted one: the limits of
    the comparison, that on R-hat being what perfect chains keep for all predictions together.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the data set is not a comparison.

    References
    ----------
    Vehtari et al., Bayesian Anal. 16, 667 (2021).

    Examples
    --------
    >>> rhat = xr.DataArray([1.001, 1.004], dims="test_point")
    >>> shown = xr.Dataset({"rhat": rhat, "ess": 900 * rhat, "rhat_limit": 0 * rhat + 1.01}, attrs={"min_ess": 400})
    >>> [text.get_text() for text in plot_convergence(shown).texts]
    ['1', '0']
    """
    check.data_set("comparison", comparison, "rhat", "rhat_limit", "ess")
    ax = new_axes(ax, 4.4, 3.2)
    rhat, ess = flat(comparison["rhat"]), flat(comparison["ess"])
    ax.plot(ess, rhat, "o", color=COLOURS[0], ms=4, alpha=0.6, mew=0, rasterized=rhat.size > 500)
    outputs = comparison.sizes.get("output", 1)
    worst = np.argsort(-np.nan_to_num(rhat, nan=0.0), kind="stable")[:NAMED]
    names = {int(i): str(i) if outputs == 1 else "{}, {}".format(*divmod(i, outputs)) for i in worst}
    limit, least = float(comparison["rhat_limit"].max()), comparison.attrs["min_ess"]
    ax.axhline(limit, color=POSTERIOR, lw=1)
    ax.axvline(least, color=POSTERIOR, lw=1, ls=":")
    ax.set(xlabel="bulk effective sample size", ylabel="R-hat")
    ax.margins(0.08)
    ax.set_xlim(left=0)
    ax.set_ylim(top=max(ax.get_ylim()[1], 1 + 1.15 * (limit - 1)))
    name_points(ax, [(ess[i], rhat[i], name) for i, name in names.items() if np.isfinite([ess[i], rhat[i]]).all()])
    return ax


def plot_ranks(
    posterior: xr.DataTree, comparison: xr.Dataset | None = None, *, worst: int = 0, ax: Axes | None = None
) -> Axes:
    r"""Plot how the draws of each chain rank among all draws, for one of the worst test predictions.

    The distribution function of the fractional ranks of each chain, less that of the uniform law: chains that sample
    one law stay near zero. The p-value of ArviZ's test of uniformity, which knows the autocorrelation of the chains, is
    written into the picture; where it is small, the ranks that deviate are marked.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned, with predictions.
    comparison : xarray.Dataset, optional
        What `stpbnn.compare` returned, for R-hat; without it the first prediction counts as the worst.
    worst : int
        Which prediction: 0 is the one of largest R-hat, 1 the next, and so on.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If there are no predictions, or fewer than `worst` + 1 of them.

    References
    ----------
    Vehtari et al., Bayesian Anal. 16, 667 (2021); `arviz_plots.plot_rank`.

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
    if not isinstance(worst, numbers.Integral) or isinstance(worst, bool) or worst not in range(size):
        raise ValueError(f"worst: got {check.shown(worst)}, expected 0..{size - 1} for {size} predictions")
    rhat = None
    if comparison is not None:
        rhat = np.nan_to_num(flat(check.data_set("comparison", comparison, "rhat")["rhat"]), nan=0.0)
    point = worst if rhat is None else int(np.argsort(-rhat, kind="stable")[worst])
    ax = new_axes(ax, 4.4, 3.2)
    series = az.from_dict({"posterior": {"f": predictions[..., point]}})
    chains = [COLOURS[chain % len(COLOURS)] for chain in range(predictions.shape[0])]
    axes = onto(ax, series["posterior"].to_dataset(), {"color": ["chain"]}, color=chains)
    azp.plot_rank(series, plot_collection=axes, visuals={"title": False, "xlabel": False, "remove_axis": False})
    name = (
        f"test point {point}" if draws.ndim == 3 else "test point {}, output {}".format(*divmod(point, draws.shape[3]))
    )
    title = name if rhat is None else f"{name}: R-hat {rhat[point]:.3f}"
    ax.set(title=title, xlabel="fractional rank", ylabel="ECDF of each chain − uniform")
    return ax


def plot_energy(posterior: xr.DataTree, ax: Axes | None = None) -> Axes:
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
    Betancourt, arXiv:1604.00695 (2016); `arviz_plots.plot_energy`.

    Examples
    --------
    >>> energy = np.random.default_rng(0).normal(0, 1, (4, 500))
    >>> posterior = xr.DataTree.from_dict({"sample_stats": xr.Dataset({"energy": (("chain", "draw"), energy)})})
    >>> plot_energy(posterior).get_title()
    'smallest BFMI of the chains: 1.9...'
    """
    stats = check.tree("posterior", posterior).get("sample_stats")
    if stats is None or "energy" not in stats:
        raise ValueError("posterior: got no sample_stats/energy, which Hamiltonian samplers (nuts, hmc) record")
    energy = stats["energy"].transpose("chain", "draw").astype(np.float64)
    tree = xr.DataTree.from_dict({"sample_stats": energy.to_dataset(name="energy")})
    ax = new_axes(ax, 4.4, 3.2)
    kinds = xr.Dataset({"Energy": energy.expand_dims(energy=["marginal", "transition"])})
    axes = onto(ax, kinds, {"color": ["energy"]}, color=list(COLOURS[:2]))
    hidden = {"legend": False, "title": False, "remove_axis": False}
    azp.plot_energy(tree, kind="hist", show_bfmi=False, plot_collection=axes, visuals=hidden)
    for colour, name in zip(COLOURS, ("energy − mean", "change from draw to draw"), strict=False):
        ax.plot([], [], color=colour, label=name)
    smallest = float(az.bfmi(tree)["energy"].min())
    ax.set(title=f"smallest BFMI of the chains: {smallest:.2f}", xlabel="energy (dimensionless)", ylabel="density")
    ax.set_ylim(0, 1.4 * ax.get_ylim()[1])
    ax.legend(frameon=False, loc="upper center")
    return ax
