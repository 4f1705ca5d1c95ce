"""ArviZ's plots on what sample() returns."""

import warnings

import arviz as az
import matplotlib.pyplot as plt
import pytest
from small_run import small

OF_NEW_TARGETS = ["plot_ppc_dist", "plot_ppc_pit", "plot_ppc_tstat", "plot_loo_pit"]
ALL = [
    *(f"plot_{name}" for name in (
        "autocorr", "convergence_dist", "dgof", "dgof_dist", "dist", "energy", "ess", "ess_evolution", "forest",
        "loo_interval", "loo_pava", "mcse", "pair", "parallel", "ppc_censored", "ppc_dist_pit", "ppc_interval",
        "ppc_pava", "rank", "rank_dist", "ridge", "trace", "trace_dist",
    )),
    *OF_NEW_TARGETS,
]  # fmt: skip
OTHERS = {
    "plot_bf": "a prior of the same variables",
    "plot_compare": "several models",
    "plot_ecdf_pit": "simulation-based calibration",
    "plot_khat": "what arviz.loo returned",
    "plot_lm": "a line over one of the inputs",
    "plot_pair_focus": "one variable",
    "plot_ppc_pava_residuals": "a variable to order by",
    "plot_ppc_rootogram": "counts",
    "plot_prior_posterior": "a prior of the same variables",
    "plot_psense_dist": "the density of the prior",
    "plot_psense_quantities": "the density of the prior",
}


@pytest.fixture(scope="module")
def posterior():
    return small(draws=40)


def drawn(name, *arguments):
    with warnings.catch_warnings(action="ignore"):  # of few draws
        getattr(az, name)(*arguments, backend="matplotlib")
    plt.close("all")


@pytest.mark.parametrize("name", OF_NEW_TARGETS)
def test_plots_of_new_targets(posterior, name):
    drawn(name, posterior)


def test_plot_of_pareto_k(posterior):
    with warnings.catch_warnings(action="ignore"):
        loo = az.loo(posterior, pointwise=True)
    drawn("plot_khat", loo)


@pytest.mark.long
def test_every_plot_that_needs_no_more_than_a_posterior():
    posterior = small(draws=60, sampler="hmc")  # some plots take a hundred of all
    there = {name for name in dir(az) if name.startswith("plot_") and callable(getattr(az, name))}
    assert there == {*ALL, *OTHERS}
    for name in ALL:
        drawn(name, posterior)
