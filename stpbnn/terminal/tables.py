"""Tables for the terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from stpbnn.quoting import SCORES, quote

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "cards_table",
    "curves_table",
    "datasets_table",
    "sweep_table",
    "theory_table",
    "what_is_predicted",
]


def theory_table(predictions: xr.Dataset) -> Table:
    """Return one row for each theory: its generalisation error and what it has learned; below, why one has no solution.

    The error of a theory that is simulated is shown with its standard error.
    """
    reasons = predictions["reason"].to_series() if "reason" in predictions else {}
    caption = "\n".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption=Text(caption) if caption else None, caption_justify="left")
    scored = "scores" in predictions
    judged = list(SCORES.values()) if scored else ["error", "bias²", "variance"]
    orders = "Q" if scored else "order\nparameters"
    for header in ("theory", *judged, orders, "log\nevidence", "con-\nverged"):
        table.add_column(header, no_wrap=True)
    for name in predictions["theory"].to_numpy():
        one = predictions.sel(theory=name)
        table.add_row(
            str(name),
            *([_known(value, "#.3g") for value in one["scores"].to_numpy()] if scored else _errors(one)),
            ", ".join(_known(order, "#.3g") for order in one["order_parameters"].to_numpy()),
            _known(one["log_marginal_likelihood"], ".2f"),
            "yes" if one["converged"] else "no",
        )
    return table


def _errors(one: xr.Dataset) -> list[str]:
    """Return the generalisation error with its standard error, squared bias and variance."""
    total = quote(*(float(one[part].sel(part="total")) for part in ("error", "theory_error_mcse")))
    return [total, *(f"{float(one['error'].sel(part=part)):#.3g}" for part in ("squared_bias", "variance"))]


def _known(value: Any, form: str) -> str:
    """Return a number, or a dash for what a theory does not have."""
    return f"{float(value):{form}}" if math.isfinite(value) else "–"


def _narrow(header: str) -> str:
    """Return a header on several lines, so that a table of all theories fits into 80 columns."""
    for word, broken in {"proportional": "propor-\ntional", " ": "\n", "_": "\n"}.items():
        header = header.replace(word, broken)
    return header


def curves_table(curves: xr.Dataset) -> Table:
    """Return one row for each point of a sweep: the error of every theory, and what one of them has learned."""
    theories = [str(name) for name in curves["theory"].to_numpy()]
    learned = "proportional limit" if "proportional limit" in theories else theories[0]
    dims = [dim for dim in curves["converged"].dims if dim != "theory"]
    swept = [dim for dim in dims if curves.sizes[dim] > 1]
    caption = f"Q and log evidence: {learned}; *: not converged" + ("; −log p of test labels" * ("scores" in curves))
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption=caption)
    for header in (*(str(dim).rpartition(".")[2] for dim in swept), *theories, "Q", "log evidence"):
        table.add_column(_narrow(header), no_wrap=True)
    for place in itertools.product(*(range(curves.sizes[dim]) for dim in dims)):
        point = curves.isel(dict(zip(dims, place, strict=True)))
        errors = (point.sel(theory=name, part="total") for name in theories)
        chosen = point.sel(theory=learned)
        table.add_row(
            *(str(point[dim].item()) for dim in swept),
            *(f"{float(one['error']):#.3g}{'' if one['converged'] else '*'}" for one in errors),
            ", ".join(f"{Q:#.3g}" for Q in chosen["order_parameters"].dropna("layer").to_numpy()),
            f"{float(chosen['log_marginal_likelihood']):.2f}",
        )
    return table


def sweep_table(results: xr.Dataset) -> Table:
    """Return one row for each point of a sweep: the error of the posterior and of every theory, and the chains."""
    theories = [str(name) for name in results["theory"].to_numpy()]
    dims = [str(dim) for dim in results["point"].dims]
    starred = bool((results["finished"] & ~results["converged"].astype(bool)).any())
    caption = "*: the chains have not converged" if starred else None
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption=caption)
    headers = (*(dim.rpartition(".")[2] for dim in dims), "posterior (MCMC)", *theories, "R-hat", "ESS")
    for header in headers:
        table.add_column(_narrow(header), no_wrap=True)
    for place in itertools.product(*(range(results.sizes[dim]) for dim in dims)):
        point = results.isel(dict(zip(dims, place, strict=True)))
        at, total = [str(point[dim].item()) for dim in dims], point.sel(part="total")
        if not point["finished"]:
            table.add_row(*at, "missing")
            continue
        mark = "" if point["converged"] else "*"
        table.add_row(
            *at,
            quote(float(total["error_posterior"]), float(total["error_mcse"])) + mark,
            *(f"{float(error):#.3g}" for error in total["error"].to_numpy()),
            f"{float(point['rhat_worst']):.3f}",
            f"{float(point['ess_smallest']):.0f}",
        )
    return table


def what_is_predicted(predictions: xr.Dataset) -> str:
    """Return who predicts, and which law the columns of the table show."""
    names = ", ".join(predictions["theory"].to_numpy().tolist())
    if "label" in predictions:
        return f"{names}; the most probable class, and the probability of each"
    of = "new targets" if predictions.attrs["noise"] else "the function; --noise adds that of new targets"
    return f"{names}; std and intervals are of {of}"


def cards_table(cards: Mapping[str, Any]) -> Table:
    """Return one row for each model card."""
    table = Table("name", "title", box=SIMPLE)
    table.add_column("minutes", justify="right")
    for name, card in cards.items():
        table.add_row(name, card.title, f"{card.minutes:g}" if card.minutes else "–")
    return table


def datasets_table(described: Iterable[tuple[str, str, bool]]) -> Table:
    """Return one row for each data set, and whether its files are there."""
    own = 'a table of your own: [data] file = "house.csv" and target = "price" in a card'
    table = Table("name", "what it is", "found", box=SIMPLE, caption=Text(own), caption_justify="left")
    for name, summary, found in described:
        table.add_row(name, summary, "yes" if found else "no")
    return table
