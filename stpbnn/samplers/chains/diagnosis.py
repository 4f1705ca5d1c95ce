"""Have the chains converged? A verdict from functions, losses and order parameters, and what to do if not.

Weights are not compared: hidden units can be exchanged, and only functions, losses and order parameters have a meaning.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from stpbnn import _validation as check
from stpbnn.samplers.chains.mixing import MIN_ESS, convergence, rhat_limit

__all__ = ["diagnose", "warn_of_chains"]

OBSERVABLES = ("train_loss", "test_loss", "readout_norm", "kernel_scale", "kernel_overlap", "temperature", "Q", "r")
MIN_BFMI = 0.3
MANY, FEW = 0.1, 0.05  # warn above this fraction of divergences, and below this fraction of moves
MODES = 1.1  # R-hat that says modes where every chain mixes by itself
SELDOM, USUAL = 0.1, 0.3  # rates of swaps
LARGE = 10.0  # root mean square of standardised inputs: one
OFFSET = 3.0  # standard deviations of a column that its mean is from zero


def diagnose(posterior: xr.DataTree) -> xr.Dataset:
    """Return whether the chains of a posterior have converged, how well its means are known, and what to do if not.

    The chains have converged if every test prediction (the losses, where there are none) has a bulk effective sample
    size above 400 and an R-hat below `rhat_limit`, which knows how many predictions there are.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned.

    Returns
    -------
    xarray.Dataset
        `rhat`, `rhat_limit`, `ess` (bulk), `ess_tail`, `ess_within` and `mcse` over `quantity`: predictions, losses,
        order parameters and kernel overlaps by name, such as "f_mean[3]"; and over `chain`, as far as the sampler
        records them, `divergences`, `bfmi`, `saturated` (the part of the trajectories that ended at the greatest tree
        depth), `moved` (the part of the draws that differ from the one before) and `accept_prob`.
        Attributes: `converged` (0 or 1), `verdict` and `remedy` in words.

    Raises
    ------
    ValueError
        If the tree holds neither predictions nor losses.

    References
    ----------
    Vehtari et al., Bayesian Anal. 16, 667 (2021); Betancourt, arXiv:1604.00695 (2016) for BFMI.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(0, 1, (4, 500, 2))
    >>> posterior = xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})
    >>> diagnose(posterior).attrs["verdict"]
    'converged: R-hat 1.00..., bulk ESS ... among 2 predictions'
    """
    series = _series(check.tree("posterior", posterior))
    if not series:
        raise ValueError("posterior: got neither predictions nor losses, expected what stpbnn.sample returned")
    chains = next(iter(series.values())).sizes["chain"]
    parts, decisive = [], _decisive(series)
    for name, values in series.items():
        found = convergence(values)
        limit = rhat_limit(found["ess_within"], chains, found["ess"].size)
        parts.append(_named(name, found.assign(rhat_limit=limit)))
    diagnosis = xr.concat(parts, "quantity").merge(_of_chains(posterior))
    chosen = diagnosis.sel(quantity=[q for q in diagnosis["quantity"].to_numpy() if q.partition("[")[0] in decisive])
    diagnosis.attrs |= _verdict(posterior, diagnosis, chosen)
    return diagnosis


def _series(posterior: xr.DataTree) -> dict[str, xr.DataArray]:
    """Return the draws that matter by name, predictions first."""
    predictions, draws = _group(posterior, "predictions"), _group(posterior, "posterior")
    mean = next((name for name in ("class_probability", "f_mean") if name in predictions), "f")
    series = {mean: predictions[mean]} if mean in predictions else {}
    return series | {name: draws[name] for name in OBSERVABLES if name in draws}


def _group(posterior: xr.DataTree, name: str) -> xr.Dataset:
    return posterior.children[name].to_dataset() if name in posterior.children else xr.Dataset()


def _decisive(series: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the series that decide: predictions, or else losses, or else all there is."""
    for names in (("class_probability", "f_mean", "f"), ("train_loss", "test_loss")):
        if found := tuple(name for name in names if name in series):
            return found
    return tuple(series)


def _named(name: str, found: xr.Dataset) -> xr.Dataset:
    """Return results over one dimension, with names such as "f[3]" or "readout_norm"."""
    places = np.ndindex(*found["ess"].shape)
    names = [f"{name}[{', '.join(map(str, place))}]" if place else name for place in places]
    return xr.Dataset(
        {key: ("quantity", values.to_numpy().reshape(-1)) for key, values in found.items()}
    ).assign_coords(quantity=np.array(names, dtype=object))


def _of_chains(posterior: xr.DataTree) -> xr.Dataset:
    """Return what the sampler's statistics say about each chain."""
    stats = _group(posterior, "sample_stats")
    found = {}
    if "diverging" in stats:
        found["divergences"] = stats["diverging"].sum("draw")
    if "accept_prob" in stats:
        found["accept_prob"] = stats["accept_prob"].mean("draw")
    if "energy" in stats and stats.sizes["draw"] > 2:
        with np.errstate(all="ignore"):
            found["bfmi"] = az.bfmi(stats["energy"].astype(np.float64))
    if "num_steps" in stats and "max_tree_depth" in posterior.attrs:
        found["saturated"] = (stats["num_steps"] >= 2 ** int(posterior.attrs["max_tree_depth"]) - 1).mean("draw")
    if (scale := _group(posterior, "posterior").get("kernel_scale")) is not None and scale.sizes["draw"] > 1:
        found["moved"] = (scale.diff("draw") != 0).any("layer").mean("draw")  # weights are not always kept
    return xr.Dataset({name: values.drop_vars(list(values.coords)) for name, values in found.items()})


def _verdict(posterior: xr.DataTree, diagnosis: xr.Dataset, chosen: xr.Dataset) -> dict[str, Any]:
    """Return whether the chains have converged, in words, and what to do if not."""
    stats = _group(posterior, "sample_stats")
    rhat, ess = chosen["rhat"].to_numpy(), chosen["ess"].to_numpy()
    worst, smallest = float(np.max(rhat)), float(np.min(ess))
    mixed, enough = bool(np.all(rhat <= chosen["rhat_limit"].to_numpy())), smallest > MIN_ESS
    what = "predictions" if chosen["quantity"].item(0).startswith("f") else "losses"
    numbers = f"R-hat {worst:.3f}, bulk ESS {smallest:.0f} among {rhat.size} {what}"
    remedies, tempered = _remedies(posterior, diagnosis) + _of_swaps(posterior), "swap_prob" in stats
    if not (mixed and enough):
        remedies[:0] = _of_inputs(posterior)
    if not (math.isfinite(worst) and math.isfinite(smallest)):
        remedies.insert(0, "R-hat needs at least 2 chains of 4 draws: raise chains and draws")
    elif not mixed and _several_modes(chosen) and not tempered:
        remedies.append(
            "the chains differ, and each mixes by itself: several modes; sampler='tempered' moves between them"
        )
    elif not mixed:
        remedies.append(f"the chains differ: a longer warm-up and more draws{_longer(posterior, smallest)}")
    elif not enough:
        remedies.append(f"more draws{_longer(posterior, smallest)}")
    converged = mixed and enough
    return {
        "converged": int(converged),
        "verdict": f"{'converged' if converged else 'not converged'}: {numbers}",
        "remedy": "; ".join(remedies),
    }


def _several_modes(chosen: xr.Dataset) -> bool:
    """Return whether chains that have many effective draws of a quantity, each by itself, differ in it."""
    return bool(((chosen["rhat"] > MODES) & (chosen["ess_within"] > MIN_ESS)).any())


def _of_swaps(posterior: xr.DataTree) -> list[str]:
    """Return how many replicas would do, where neighbours of a ladder seldom swap."""
    swaps = _group(posterior, "sample_stats").get("swap_prob")
    if swaps is None or (rate := float((means := swaps.mean(("chain", "draw"))).min())) >= SELDOM:
        return []
    replicas = max(1 + math.ceil(float((1 - means).sum()) / (1 - USUAL)), swaps.sizes["pair"] + 2)
    lowest = float(posterior["sample_stats"]["power"].min())
    return [f"neighbours swap in {rate:.0%} of the tries: more replicas, ladder=({replicas}, {lowest:g})"]


def _longer(posterior: xr.DataTree, smallest: float) -> str:
    """Return how many draws would do, at the present pace."""
    draws = next(iter(_series(posterior).values())).sizes["draw"]
    factor = 1.2 * MIN_ESS / max(smallest, 1.0)
    return f", draws={math.ceil(factor * draws / 100) * 100} if the pace holds" if 1 < factor < 50 else ""


def _remedies(posterior: xr.DataTree, diagnosis: xr.Dataset) -> list[str]:
    """Return what the statistics of the chains call for."""
    marginal = "" if posterior.attrs.get("readout") == "marginal" else ", readout='marginal'"
    remedies = []
    if "divergences" in diagnosis and (diagnosis["divergences"] > 0).any():
        count = int(diagnosis["divergences"].sum())
        remedies.append(
            f"{count} divergent transition{'' if count == 1 else 's'}: smaller steps, such as "
            f"sampler=lambda model: NUTS(model, target_accept_prob=0.95){marginal}, or a longer warm-up"
        )
    if "saturated" in diagnosis and (diagnosis["saturated"] > MANY).any():
        remedies.append(f"trajectories end at the greatest tree depth: a longer warm-up{marginal}")
    if "bfmi" in diagnosis and (diagnosis["bfmi"] < MIN_BFMI).any():
        remedies.append(
            f"BFMI {float(diagnosis['bfmi'].min()):.2f}: energies are explored slowly, more draws{marginal}"
        )
    return remedies


def _of_inputs(posterior: xr.DataTree) -> list[str]:
    """Return a remark on inputs that are far from standardised: no chain moves well with them."""
    constant = _group(posterior, "constant_data")
    if "X" not in constant:
        return []
    X = constant["X"].to_numpy().astype(np.float64)
    if np.sqrt(np.mean(X**2)) < LARGE:
        return []
    told = f"X has entries up to {np.abs(X).max():.3g}"
    if np.any(np.abs(X.mean(axis=0)) > OFFSET * X.std(axis=0)):  # no precision makes the weights less correlated
        return [f"{told}, far from zero beside their spread: standardise the inputs first"]
    wider = ", or JAX_ENABLE_X64=1" if posterior.attrs.get("precision") == "float32" else ""
    return [f"{told}: standardise the inputs{wider}"]


def warn_of_chains(diagnosis: xr.Dataset, draws: int) -> None:
    """Warn of chains that hardly move, or many of whose trajectories diverge, and say what to change.

    Parameters
    ----------
    diagnosis : xarray.Dataset
        What `diagnose` returned.
    draws : int
        Number of draws of each chain.
    """
    change = "take smaller steps or a longer warm-up, standardise X and y, or raise the temperature"
    for state, bad in {
        "hardly moves": diagnosis.get("moved", xr.DataArray(np.ones(0), dims="chain")) < FEW,
        "diverges": diagnosis.get("divergences", xr.DataArray(np.zeros(0), dims="chain")) > MANY * draws,
    }.items():
        if bad.any() and draws > 1:
            which = ", ".join(str(chain) for chain in np.flatnonzero(bad))
            every = " (that is all of them)" if bad.all() else ""
            warnings.warn(f"chain {which} {state}{every}: {change}", stacklevel=3)
