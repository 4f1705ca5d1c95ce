"""A figure of the report: an SVG as a data URI, with the words that replace and explain it."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["Picture", "svg"]


class Picture(NamedTuple):
    """One figure: its source as a data URI, the text in its place, its caption, and whether phones shall scroll it."""

    source: str
    alt: str
    caption: str
    wide: bool = False


def svg(ax: Axes) -> str:
    """Return a plot as the data URI of an SVG without a background; the same plot gives the same text.

    The figure is drawn once: `Figure.savefig` draws it twice, the first time for nothing but its layout.
    """
    stream, figure = io.BytesIO(), cast(Figure, ax.get_figure(root=True))
    for background in (figure.patch, *(axes.patch for axes in figure.axes)):
        background.set_visible(False)
    figure.set_dpi(150)  # resolution of what is drawn in pixels
    with matplotlib.rc_context({"svg.hashsalt": "stpbnn", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
