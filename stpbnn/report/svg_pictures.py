"""A figure of the report: an SVG as a data URI, with the words that replace and explain it."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["Picture", "svg"]


class Picture(NamedTuple):
    """One figure: its source as a data URI, the text in its place, its caption, and whether phones shall scroll it."""

    source: str
    alt: str
    caption: str
    wide: bool = False


def svg(ax: Axes) -> str:
    """Return a plot as the data URI of an SVG; the same plot gives the same text."""
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "stpbnn", "svg.fonttype": "path"}):
        figure = cast(Figure, ax.get_figure(root=True))
        figure.savefig(stream, format="svg", transparent=True, dpi=150, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
