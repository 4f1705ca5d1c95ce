"""The laws of posterior and theories against observed targets: held-out log scores and transforms, leave-one-out."""

from __future__ import annotations

import warnings
from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from stpbnn._slices import slices
from stpbnn.predictive import Mixture
from stpbnn.samplers import tempered_log_evidence

__all__ = ["held_out", "left_out", "scored", "stepping_stones"]

BLOCK = 2**20  # components of mixtures that are held at a time
FEWEST = 25  # draws: a fifth of them, the largest weights, are smoothed by a law fitted to five at least


def scored(theory: Any, X_test: np.ndarray, y_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return F(y) and log p(y) of held-out targets under the law that a fitted theory has of them, noise included.

    NaN for regressors that know no such law, or the noise of the training targets alone.
    """
    if not hasattr(theory, "predictive") or np.ndim(getattr(theory, "temperature", 0.0)):
        return np.full(y_test.shape, np.nan), np.full(y_test.shape, np.nan)
    law = theory.predictive(X_test, noise=True)
    y = y_test.reshape(law.mean.shape)
    with np.errstate(divide="ignore", over="ignore"):
        return law.cdf(y).reshape(y_test.shape), law.logpdf(y).reshape(y_test.shape)


def held_out(
    posterior: xr.DataTree, draws: xr.DataArray, given: xr.DataArray | float, y: xr.DataArray
) -> dict[str, Any]:
    r"""Return F(y) and log p(y) of held-out targets under the posterior: the mean over its draws, noise included.

    .. math:: p(y) = \overline{N(y;\ f,\ \sigma^2_f + T)}^{\mathrm{MCMC}}

    Nothing where the temperature is not one number.
    """
    T = posterior.attrs.get("temperature")
    if not isinstance(T, int | float) or not T > 0:
        return {}
    means = draws.to_numpy().reshape(-1, *y.shape)
    spread = np.broadcast_to(
        given if isinstance(given, float) else given.transpose(*draws.dims).to_numpy(), draws.shape
    )
    spread = spread.reshape(means.shape)
    pit, score, rows = np.empty(y.shape), np.empty(y.shape), y.to_numpy()
    for at in slices(len(y), BLOCK * len(y) // max(means.size, 1)):
        law = Mixture(np.full(len(means), 1 / len(means)), means[:, at], spread[:, at] + T)
        pit[at], score[at] = law.cdf(rows[at]), law.logpdf(rows[at])
    return {"target_pit_posterior": (y.dims, pit), "log_score_posterior": (y.dims, score)}


def stepping_stones(posterior: xr.DataTree) -> dict[str, Any]:
    """Return log p(y) of the network with its standard error, where replica exchange went down to the prior."""
    stats = posterior.get("sample_stats")
    if (
        stats is None
        or "stepping_stone" not in stats
        or float(stats["power"].min()) > 0
        or stats.sizes["draw"] < FEWEST
    ):
        return {}
    value, error = tempered_log_evidence(posterior)
    return {"log_evidence_posterior": value, "log_evidence_mcse": error}


def left_out(posterior: xr.DataTree) -> dict[str, Any]:
    """Return the leave-one-out numbers of the training targets under the posterior, by Pareto-smoothed weights.

    `elpd_loo` and `pareto_k` (train_point), the threshold `good_k`, and `loo_pit` (train_point[, output]) where new
    targets were drawn. Nothing where the log-likelihood was not recorded, or is not finite, or the draws are few.
    """
    likelihood = _variable(posterior, "log_likelihood")
    if likelihood is None or likelihood.dims[2:] != ("train_point",) or likelihood[0].size == 0:
        return {}
    of_classes, T = "classes" in posterior.attrs, posterior.attrs.get("temperature", 1.0)
    if of_classes and T != 1:  # the weights of a cold posterior are other ones
        return {}
    few = likelihood.sizes["draw"] < 4 or likelihood.sizes["chain"] * likelihood.sizes["draw"] < FEWEST
    if few or not np.isfinite(likelihood).all():
        return {}
    told = {"y": likelihood.transpose("chain", "draw", "train_point").astype(float)}
    groups = {"log_likelihood": xr.Dataset(told), "posterior": xr.Dataset({"sum": told["y"].sum("train_point")})}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # warnings of large k, which the figures show
        found = az.loo(xr.DataTree.from_dict(groups), pointwise=True, var_name="y")
        numbers = {"elpd_loo": found.elpd_i, "pareto_k": found.pareto_k}
        data: dict[str, Any] = {
            name: ("train_point", np.asarray(values, dtype=float)) for name, values in numbers.items()
        }
        data["good_k"] = float(found.good_k)
        drawn, y = _variable(posterior, "posterior_predictive"), _variable(posterior, "observed_data")
        if drawn is not None and y is not None and not of_classes:
            outputs = range(drawn.sizes["output"]) if "output" in drawn.dims else [None]
            parts = [_pit(groups, drawn, y, output, found) for output in outputs]
            data["loo_pit"] = (("train_point", "output")[: y.ndim], parts[0] if y.ndim == 1 else np.stack(parts, 1))
    return data


def _pit(groups: dict[str, xr.Dataset], drawn: xr.DataArray, y: xr.DataArray, output: int | None, found: Any) -> Any:
    """Return the leave-one-out transforms of one output."""
    if output is not None:
        drawn, y = drawn.isel(output=output, drop=True), y.isel(output=output, drop=True)
    more = {"posterior_predictive": drawn.to_dataset(name="y"), "observed_data": y.to_dataset(name="y")}
    weights = {"log_weights": {"y": found.log_weights}, "pareto_k": {"y": found.pareto_k}}
    return az.loo_pit(xr.DataTree.from_dict(groups | more), var_names="y", random_state=0, **weights)["y"].to_numpy()


def _variable(posterior: xr.DataTree, group: str) -> xr.DataArray | None:
    """Return y of a group, without coordinates; None where it is not there."""
    there = posterior.get(group)
    if there is None or "y" not in there:
        return None
    values = there.to_dataset()["y"]
    values = values.drop_vars(list(values.coords))
    return values.isel(output=0) if values.sizes.get("output") == 1 else values
