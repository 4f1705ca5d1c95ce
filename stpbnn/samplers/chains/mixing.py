"""R-hat, effective sample sizes and Monte Carlo errors of series of draws, and the R-hat that chance alone allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr
from scipy.stats import chi2

from stpbnn._slices import slices

__all__ = ["MIN_ESS", "SAMPLES", "convergence", "reaches", "rhat_limit"]

SAMPLES = ("chain", "draw")
MAX_RHAT, MIN_ESS, LEVEL = 1.01, 400.0, 0.01
AT_ONCE = 2**18  # draws that are looked at together, to spare memory


def convergence(series: xr.DataArray) -> xr.Dataset:
    """Return R-hat, effective sample sizes and the Monte Carlo standard error of the mean, of every series.

    Parameters
    ----------
    series : xarray.DataArray
        Draws (chain, draw, ...).

    Returns
    -------
    xarray.Dataset
        `rhat` (rank-normalised, split), `ess` (bulk), `ess_tail`, `ess_within` (the lesser of those of location and
        spread by the correlations within the chains alone, whatever the chains' means) and `mcse`, over the other
        dimensions. A constant has R-hat one; a single chain has none (NaN).

    References
    ----------
    Vehtari et al., Bayesian Anal. 16, 667 (2021).

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(4, 1000, 3))
    >>> found = convergence(xr.DataArray(draws, dims=("chain", "draw", "test_point")))
    >>> bool((found["rhat"] < 1.01).all()), found["ess"].sizes["test_point"]
    (True, 3)
    """
    others = [dim for dim in series.dims if dim not in SAMPLES]
    parts = []
    for part in _parts(series):
        constant = (part == part.isel(chain=0, draw=0)).all(SAMPLES)
        with np.errstate(all="ignore"):  # a constant series has no R-hat
            rhat = az.rhat(part, method="rank")
            found = {"rhat": rhat.where(~constant, 1.0) if part.sizes["chain"] > 1 else rhat}
            found |= {"ess": az.ess(part, method="bulk"), "ess_tail": az.ess(part, method="tail")}
            found["mcse"] = az.mcse(part, method="mean")
            folded = abs(part - part.median(SAMPLES))
            location, spread = (az.ess(x - x.mean("draw"), method="bulk") for x in (part, folded))
            found["ess_within"] = np.minimum(location, spread)
        parts.append(xr.Dataset({name: values.reset_coords(drop=True) for name, values in found.items()}))
    whole, shape = xr.concat(parts, "series"), [series.sizes[dim] for dim in others]
    return xr.Dataset({name: (others, values.to_numpy().reshape(shape)) for name, values in whole.items()})


def rhat_limit(
    ess: Any, chains: int, size: int, *, max_rhat: float = MAX_RHAT, min_ess: float = MIN_ESS, level: float = LEVEL
) -> Any:
    r"""Return the R-hat up to which `size` series, sampled perfectly, stay by chance: never less than `max_rhat`.

    With m = 2 · chains half-chains and S effective draws, the variance of the half-chains' means is m/S of that of the
    draws times :math:`\chi^2_{m-1}/(m - 1)`, and R-hat the greater of two such, for the location and for the spread:

    .. math::
        \hat R^2 \le 1 + \frac mS\, \frac{\chi^2_{m-1;\,1 - a/(2n)}}{m - 1}
        \quad\text{for all } n \text{ series, with probability } 1 - a \text{ at least.}

    A thousand test points exceed 1.01 by chance alone with a thousand effective draws; they keep this limit.

    Parameters
    ----------
    ess : float or array
        S, the effective sample size of each series by the correlations within its chains; taken as `min_ess` where it
        is less, which fails by itself.
    chains : int
        Number of chains.
    size : int
        n, the number of series.
    max_rhat, min_ess : float
        What a single series is held to.
    level : float
        a, the probability that one of n converged series exceeds its limit (Bonferroni).

    References
    ----------
    Gelman and Rubin, Stat. Sci. 7, 457 (1992); Vehtari et al., Bayesian Anal. 16, 667 (2021).

    Examples
    --------
    >>> rhat_limit(np.array([800, 4000]), chains=4, size=200).round(3).tolist()
    [1.023, 1.01]
    """
    halves = 2 * chains
    spread = chi2.isf(level / (2 * size), halves - 1) / (halves - 1)
    return np.maximum(max_rhat, np.sqrt(1 + halves / np.maximum(ess, min_ess) * spread))


def reaches(series: xr.DataArray, *, ess: float | None = None, rhat: float | None = None) -> bool:
    """Return whether every series (chain, draw, ...) has a bulk ESS of at least `ess`, and an R-hat of at most `rhat`.

    Examples
    --------
    >>> draws = xr.DataArray(np.random.default_rng(0).normal(size=(4, 500, 3)), dims=("chain", "draw", "test_point"))
    >>> reaches(draws, ess=400, rhat=1.02), reaches(draws, ess=4000)
    (True, False)
    """
    if series.sizes["draw"] < 4:
        return False
    for part in _parts(series):  # the first that falls short ends it
        with np.errstate(all="ignore"):
            if ess is not None and not bool((az.ess(part, method="bulk") >= ess).all()):
                return False
            if rhat is not None and not bool((az.rhat(part, method="rank") <= rhat).all()):
                return False
    return True


def _parts(series: xr.DataArray) -> Iterator[xr.DataArray]:
    """Yield the series a few at a time, (chain, draw, series), in double precision."""
    others = [dim for dim in series.dims if dim not in SAMPLES]
    series = series.drop_vars(list(series.coords)).transpose(*SAMPLES, ...)
    flat = series.stack(series=others, create_index=False) if others else series.expand_dims("series", -1)
    for part in slices(flat.sizes["series"], AT_ONCE // (flat.sizes["chain"] * flat.sizes["draw"])):
        yield flat.isel(series=part).astype(np.float64)
