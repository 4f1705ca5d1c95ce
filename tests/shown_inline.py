"""A backend of matplotlib that takes figures to be shown, as that of notebooks does; given as module://shown_inline."""

from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

__all__ = ["FigureCanvas"]
