"""Numbers with their errors, and the comparison as a table for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["comparison_table", "quote"]


def quote(value: float, error: float = math.nan) -> str:
    """Return a number with its standard error, to the digits that the error supports.

    Examples
    --------
    >>> quote(0.036987, 0.000512), quote(0.25), quote(12.3, 1.4)
    ('0.0370 ± 0.0005', '0.25', '12.3 ± 1.4')
    """
    if not (math.isfinite(error) and error > 0 and math.isfinite(value)):
        return f"{value:.3g}"
    exponent = math.floor(math.log10(error))
    decimals = max(0, -exponent + (error / 10**exponent < 2))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}" if decimals < 9 else f"{value:.3g} ± {error:.1g}"


def comparison_table(comparison: xr.Dataset) -> Table:
    """Return a rich table for the terminal: the posterior, then one row for each theory with its verdict.

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
    >>> from stpbnn.comparison import compare_predictions
    >>> f = np.random.default_rng(0).normal(0, 1, (4, 500, 2))
    >>> posterior = xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})
    >>> theory = xr.Dataset({"mean": (("theory", "test_point"), [[0.0, 0.0]]), "variance": 1.0}, {"theory": ["zero"]})
    >>> comparison_table(compare_predictions(posterior, theory)).row_count
    2
    """
    from rich.table import Table
    from rich.text import Text

    if "verdict" not in comparison:
        raise ValueError("comparison: got no variable 'verdict', expected what stpbnn.compare returned")
    errors = "error" in comparison
    table = Table()
    for header in ("", *(("error", "bias²", "variance", "difference") if errors else ()), "largest |z|", "verdict"):
        table.add_column(header, overflow="fold")
    cells: list[str] = []
    if errors:
        pairs = zip(comparison["error_posterior"].to_numpy(), comparison["error_mcse"].to_numpy(), strict=True)
        cells = [*(quote(float(value), float(mcse)) for value, mcse in pairs), ""]
    state = "converged" if comparison["converged"] else "not converged"
    found = f"R-hat {float(comparison['rhat_worst']):.3f}, ESS {float(comparison['ess_smallest']):.0f}"
    table.add_row("posterior (MCMC)", *cells, "", f"{state} ({found})")
    for name in comparison["theory"].to_numpy():
        one = comparison.sel(theory=name)
        cells = []
        if errors:
            relative = 100 * float(one["relative_error"].sel(part="total"))
            cells = [*(quote(float(value)) for value in one["error"].to_numpy()), f"{relative:+.1f} %"]
        table.add_row(Text(str(name)), *cells, f"{float(one['largest_z']):.1f}", str(one["verdict"].item()))
    return table
