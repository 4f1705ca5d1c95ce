"""Figures of posterior and theory: functions of data sets that draw into given axes and return them.

Without `ax` each function makes a figure of its own. A notebook shows it below the cell, `plt.show()` in a window; in
a script without a screen it is for `ax.figure.savefig("name.svg")` alone. Colours are those of Okabe and Ito, which
colour-blind readers can tell apart; markers, lines and hatching repeat what they say.
"""

from stpbnn.figures.chain_checks import plot_convergence, plot_energy, plot_ranks
from stpbnn.figures.coverage import draw_coverage as draw_coverage
from stpbnn.figures.coverage import draw_pit as draw_pit
from stpbnn.figures.coverage import plot_coverage, plot_pit
from stpbnn.figures.eigenmodes import plot_spectrum
from stpbnn.figures.fits import plot_band, plot_observed, plot_residuals
from stpbnn.figures.learning import plot_learning_curve
from stpbnn.figures.left_out import plot_loo_pit, plot_pareto_k
from stpbnn.figures.orders import plot_order_parameter
from stpbnn.figures.predictions import plot_error, plot_predictions, plot_z
from stpbnn.figures.reliability import plot_confusion, plot_reliability
from stpbnn.figures.style import FEW as FEW
from stpbnn.figures.style import unseen as unseen

__all__ = [
    "plot_band",
    "plot_confusion",
    "plot_convergence",
    "plot_coverage",
    "plot_energy",
    "plot_error",
    "plot_learning_curve",
    "plot_loo_pit",
    "plot_observed",
    "plot_order_parameter",
    "plot_pareto_k",
    "plot_pit",
    "plot_predictions",
    "plot_ranks",
    "plot_reliability",
    "plot_residuals",
    "plot_spectrum",
    "plot_z",
]
