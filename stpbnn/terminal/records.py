"""Results as plain values that JSON can hold: what `--json` prints."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from stpbnn.runs import Run

__all__ = ["as_json", "curve_records", "run_record", "sweep_records", "theory_records"]


def as_json(value: Any) -> str:
    """Return a JSON document, in ASCII, which every redirection can hold; numbers that are not finite become null.

    Examples
    --------
    >>> print(as_json({"Q": [1.0, math.nan]}))
    {
      "Q": [
        1.0,
        null
      ]
    }
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def theory_records(predictions: xr.Dataset) -> list[dict[str, Any]]:
    """Return one record for each theory: its generalisation error and what it has learned."""
    return [_theory(predictions.sel(theory=name)) for name in predictions["theory"].to_numpy()]


def curve_records(curves: xr.Dataset) -> list[dict[str, Any]]:
    """Return one record for each point of a sweep: the point, and the theories there."""
    dims = [dim for dim in curves["converged"].dims if dim != "theory"]
    points = itertools.product(*(range(curves.sizes[dim]) for dim in dims))
    records = []
    for place in points:
        point = curves.isel(dict(zip(dims, place, strict=True)))
        records.append({str(dim): point[dim].item() for dim in dims} | {"theories": theory_records(point)})
    return records


def sweep_records(results: xr.Dataset) -> list[dict[str, Any]]:
    """Return one record for each point of a sweep that was run: the posterior's error, its chains, and the theories."""
    dims = [str(dim) for dim in results["point"].dims]
    found = []
    for place in itertools.product(*(range(results.sizes[dim]) for dim in dims)):
        point = results.isel(dict(zip(dims, place, strict=True)))
        record = {dim: point[dim].item() for dim in dims} | {"finished": bool(point["finished"])}
        if record["finished"]:
            keys = ("point", "converged", "rhat_worst", "ess_smallest", "seconds", "device")
            record |= {key: point[key].item() for key in keys}
            record |= {"error": _parts(point["error_posterior"]), "mcse": _parts(point["error_mcse"])}
            record["theories"] = [
                {"theory": str(name), "verdict": one["verdict"].item(), "error": _parts(one["error"])} | _simulated(one)
                for name in point["theory"].to_numpy()
                for one in [point.sel(theory=name)]
            ]
        found.append(record)
    return found


def run_record(run: Run) -> dict[str, Any]:
    """Return a run in one record: where it is, the posterior, and each theory with its verdict."""
    comparison = run.comparison
    posterior = {
        "converged": bool(comparison["converged"]),
        "rhat": comparison["rhat_worst"].item(),
        "ess": comparison["ess_smallest"].item(),
        "chains": int(comparison["chains"]),
        "draws": int(comparison["draws"]),
        "divergences": comparison["divergences"].item() if "divergences" in comparison else None,
    }
    if "error_posterior" in comparison:
        posterior["error"], posterior["mcse"] = _parts(comparison["error_posterior"]), _parts(comparison["error_mcse"])
    theories = []
    for name in comparison["theory"].to_numpy():
        one, record = comparison.sel(theory=name), _theory(run.theory.sel(theory=name))
        record |= {key: one[key].item() for key in ("agrees", "verdict", "largest_z")}
        if "error_z" in one:
            record |= {key: one[key].sel(part="total").item() for key in ("relative_error", "error_z")}
        theories.append(record)
    return {
        "card": run.card.name,
        "folder": str(run.folder),
        "report": str(run.report),
        "agrees": bool(comparison["agrees"].any()),
        "posterior": posterior,
        "theories": theories,
        **{key: run.record.get(key) for key in ("seed", "device", "versions", "seconds")},
    }


def _theory(one: xr.Dataset) -> dict[str, Any]:
    orders = one["order_parameters"].dropna("layer")
    return {
        "theory": one["theory"].item(),
        "error": _parts(one["error"]) if "error" in one else None,
        "order_parameters": orders.to_numpy().tolist(),
        "log_marginal_likelihood": one["log_marginal_likelihood"].item(),
        "converged": bool(one["converged"]),
        **_simulated(one),
    }


def _simulated(one: xr.Dataset) -> dict[str, Any]:
    """Return what a theory that is simulated has beside the others, and why one has not converged."""
    found: dict[str, Any] = {}
    if "theory_error_mcse" in one and float(one["theory_error_mcse"].sel(part="total")) > 0:
        found["mcse"] = _parts(one["theory_error_mcse"])
        if "theory_error_systematic" in one and one["theory_error_systematic"].notnull().all():
            found["systematic"] = _parts(one["theory_error_systematic"])
    if "cluster" in one and math.isfinite(one["cluster"]):
        found["cluster"] = int(one["cluster"])
    if "readout_second_moment" in one and math.isfinite(one["readout_second_moment"]):
        found["readout_second_moment"] = one["readout_second_moment"].item()
    if "reason" in one and one["reason"].item():
        found["reason"] = one["reason"].item()
    return found


def _parts(error: xr.DataArray) -> dict[str, float]:
    return {str(part): error.sel(part=part).item() for part in error["part"].to_numpy()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
