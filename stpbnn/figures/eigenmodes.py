"""The spectrum of the kernel, and what has been learned of the targets along its eigenmodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from stpbnn import _validation as check
from stpbnn.figures.style import POSTERIOR, legend_above, new_axes, styles

__all__ = ["plot_spectrum"]


def plot_spectrum(comparison: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Plot which eigenmodes of the kernel have been learned: theories as lines, the posterior as points.

    .. math:: \ell_k = \frac{u_k \cdot \bar f}{u_k \cdot y}, \qquad
              \frac{\kappa}{\lambda_L}\, u_k = k_k u_k

    on the training inputs, against the eigenvalue :math:`k_k` of the kernel of infinite width. One is learned, zero
    is left out; a Gaussian process with the kernel Q K has :math:`\ell_k = Q k_k/(Q k_k + T)`. Areas of the points
    grow with the part of the targets that lies in the mode; error bars are Monte Carlo standard errors. Modes in which
    there is too little of the targets to tell are pale, and lines pass over them.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `stpbnn.compare` returned, with `eigenvalue`, `target`, `learned_posterior` and `learned_mcse` (mode), and
        if known `learned` (theory, mode).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError
        If the posterior was sampled without eigenmodes, with more than 1000 training points.

    References
    ----------
    Theory notes, section 4; `stpbnn.comparison.kernel_spectrum`.

    Examples
    --------
    >>> k = xr.DataArray([2.0, 0.1], dims="mode")
    >>> learned = {"target": 0 * k + 0.5, "learned_posterior": k / (k + 0.1), "learned_mcse": 0 * k + 0.01}
    >>> plot_spectrum(xr.Dataset({"eigenvalue": k} | learned)).get_xscale()
    'log'
    """
    if "eigenvalue" not in check.data_set("comparison", comparison):
        raise ValueError("comparison: got no eigenmodes, expected a posterior of at most 1000 training points")
    check.data_set("comparison", comparison, "target", "learned_posterior", "learned_mcse")
    ax = new_axes(ax)
    eigenvalue = comparison["eigenvalue"].to_numpy()
    usable = eigenvalue > 1e-6 * eigenvalue.max()  # below are rounding errors of single precision
    eigenvalue = eigenvalue[usable]
    power, share, mcse = (comparison[n].to_numpy()[usable] for n in ("target", "learned_posterior", "learned_mcse"))
    told = power > 0.02 / len(power)
    if "learned" in comparison:
        along = told if told.any() else np.ones_like(told)
        learned = comparison["learned"].transpose("theory", "mode").to_numpy()[:, usable]
        for i, ((name, colour, _), line) in enumerate(zip(styles(comparison), learned, strict=True)):
            ax.plot(eigenvalue[along], line[along], color=colour, lw=1.6, ls=("-", "--", "-.", ":")[i % 4], label=name)
    clear = (mcse < 0.05) & told
    for chosen, alpha in ((clear, 0.9), (~clear, 0.2)):
        style: dict[str, Any] = {"fmt": "none", "ecolor": POSTERIOR, "elinewidth": 1, "alpha": alpha}
        ax.errorbar(eigenvalue[chosen], share[chosen], mcse[chosen], **style)
        area = 12 + 200 * power[chosen]
        ax.scatter(eigenvalue[chosen], share[chosen], area, color=POSTERIOR, alpha=alpha, lw=0, zorder=3)
    ax.scatter([], [], 20, color=POSTERIOR, label="posterior (MCMC)")
    ax.set(xscale="log", xlabel="eigenvalue of the kernel of infinite width, units of f²", ylim=(-0.1, 1.1))
    ax.set_ylabel("share of the targets that is learned")
    legend_above(ax)
    return ax
