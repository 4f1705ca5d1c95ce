"""Numbers with their errors, and the comparison as a table for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stpbnn._validation import data_set, real

if TYPE_CHECKING:
    import xarray as xr
    from rich.table import Table

__all__ = ["SCORES", "comparison_table", "quote"]

SCORES = {  # the scores of class probabilities by their names in tables
    "negative_log_likelihood": "−log p",
    "brier": "Brier",
    "accuracy": "accuracy",
    "calibration_error": "ECE",
}


def quote(value: float, error: float = math.nan) -> str:
    """Return a number with its standard error, to the digits that the error supports.

    Examples
    --------
    >>> quote(0.036987, 0.000512), quote(0.25), quote(12.3, 1.4)
    ('0.0370 ± 0.0005', '0.250', '12.3 ± 1.4')
    """
    value, error = real("value", value), real("error", error)
    if not (math.isfinite(error) and error > 0 and math.isfinite(value)):
        return f"{value:#.3g}"
    exponent = math.floor(math.log10(error))
    decimals = max(0, -exponent + (error / 10**exponent < 2))
    return f"{value:z.{decimals}f} ± {error:.{decimals}f}" if decimals < 9 else f"{value:.3g} ± {error:.1g}"


def comparison_table(comparison: xr.Dataset) -> Table:
    """Return a rich table for the terminal: the posterior, then one row for each theory; the verdicts below.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `compare` returned.

    Raises
    ------
    ValueError
        If the data set is not a comparison.

    References
    ----------
    Generalisation error, eq. (4.2) of the theory notes.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from stpbnn.comparison import compare_predictions
    >>> f = np.random.default_rng(0).normal(0, 1, (4, 500, 2))
    >>> posterior = xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})
    >>> theory = xr.Dataset({"mean": (("theory", "test_point"), [[0.0, 0.0]]), "variance": 1.0}, {"theory": ["zero"]})
    >>> comparison_table(compare_predictions(posterior, theory)).row_count
    2
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    data_set("comparison", comparison, "verdict")
    names = [str(name) for name in comparison["score"].to_numpy()] if "scores_posterior" in comparison else []
    errors = "error" in comparison and not names
    verdicts = {
        str(name): str(comparison["verdict"].sel(theory=name).item()) for name in comparison["theory"].to_numpy()
    }
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", caption_style="")
    judged = [SCORES[name] for name in names] or (["error", "bias²", "variance", "diff."] if errors else [])
    for header in ("", *judged, "|z|", "verdict"):
        table.add_column(header, justify="left" if header in ("", "verdict") else "right", overflow="fold")
    cells: list[str] = []
    if names:
        pairs = zip(comparison["scores_posterior"].to_numpy(), comparison["scores_mcse"].to_numpy(), strict=True)
        cells = [quote(float(value), float(mcse)) for value, mcse in pairs]
    if errors:
        pairs = zip(comparison["error_posterior"].to_numpy(), comparison["error_mcse"].to_numpy(), strict=True)
        cells = [*(quote(float(value), float(mcse)) for value, mcse in pairs), ""]
    table.add_row("posterior (MCMC)", *cells, "", "")
    for name, verdict in verdicts.items():
        one = comparison.sel(theory=name)
        cells = [f"{float(value):#.3g}" for value in one["scores"].to_numpy()] if "scores" in one else [""] * len(names)
        if errors:
            relative = 100 * float(one["relative_error"].sel(part="total"))
            own = one["theory_error_mcse"] if "theory_error_mcse" in one else 0 * one["error"]
            pairs = zip(one["error"].to_numpy(), own.to_numpy(), strict=True)
            cells = [*(quote(float(value), float(mcse)) for value, mcse in pairs), f"{relative:+z.1f} %"]
        short = next((word for word in ("agrees", "differs") if verdict.startswith(word)), "none")
        table.add_row(Text(name), *cells, f"{float(one['largest_z']):.1f}", short)
    state = "has converged" if comparison["converged"] else "has not converged"
    found = f"R-hat {float(comparison['rhat_worst']):.3f}, bulk ESS {float(comparison['ess_smallest']):.0f}"
    lines = [f"posterior (MCMC): {state} ({found})", *(f"{name}: {verdict}" for name, verdict in verdicts.items())]
    table.caption = Text("\n".join(lines))
    return table
