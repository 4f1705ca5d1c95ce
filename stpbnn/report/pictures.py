"""The figures of the report as data URIs, each with the words that replace and explain it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stpbnn import figures
from stpbnn.comparison import quote
from stpbnn.figures import FEW, draw_coverage, draw_pit, unseen
from stpbnn.report.against_data import coverages, transforms
from stpbnn.report.svg_pictures import Picture, svg

__all__ = ["pictures"]


@unseen()
def pictures(posterior: xr.DataTree, comparison: xr.Dataset) -> dict[str, list[Picture]]:
    """Return the figures that the data allow, by section of the report; of theories that have converged, if any has.

    The captions say which are left out.
    """
    comparison, told = _of_converged(comparison)
    of_classes = "classes" in comparison.attrs
    *others, last = (str(name) for name in comparison["theory"].to_numpy())
    theories = " and ".join([", ".join(others), last] if others else [last])
    of_theories = {
        "predictions": [_predictions(comparison, theories)],
        "error": [_error(comparison)] if "error" in comparison and not of_classes else [],
        "z": [_z(comparison, theories)],
        "calibration": [] if of_classes else _calibration(comparison, theories),
        "data": (_labels(comparison) if of_classes else []) + _held_out(comparison),
        "order": _order(posterior, comparison),
        "spectrum": _spectrum(comparison, theories, "process" in posterior.attrs),
    }
    shown = {
        section: [picture._replace(caption=picture.caption + told) for picture in some]
        for section, some in of_theories.items()
    }
    return shown | {"data": shown["data"] + _left_out(comparison), "chains": _chains(posterior, comparison)}


def _of_converged(comparison: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Return the theories that have converged, or all if none has, and a sentence on the others."""
    converged = comparison["theory_converged"].to_numpy().astype(bool)
    others = ", ".join(map(str, comparison["theory"].to_numpy()[~converged]))
    if converged.any():
        told = f" Left out, for want of convergence of the solver: {others}." if others else ""
        return comparison.isel(theory=np.flatnonzero(converged)), told
    return comparison, " The solvers of all theories shown have not converged."


def _predictions(comparison: xr.Dataset, theories: str) -> Picture:
    size = comparison["f_mean"].size
    if "classes" in comparison.attrs:
        alt = f"{size} class probabilities: {theories} against the posterior."
        caption = (
            "Class probabilities at the test points"
            + (", of the second class: " if "output" not in comparison["f_mean"].dims else ", of every class: ")
            + "theory against posterior. Bars are the Monte Carlo error of the posterior mean."
            + (" Where they agree, the points lie on the diagonal." if size > FEW else " Broad: the spread over draws.")
        )
        return Picture(svg(figures.plot_predictions(comparison)), alt, caption, wide=15 < size <= FEW)
    if size > FEW:
        alt = f"Scatter plot of {size} predictions: mean of {theories} against the posterior mean, with the diagonal."
        caption = (
            "Mean of f at the test points: theory against posterior. The horizontal bar is the Monte Carlo error of "
            "the posterior mean. Where theory and posterior agree, the points lie on the diagonal."
        )
    else:
        alt = f"Posterior mean and standard deviation of f at {size} test predictions, beside those of {theories}."
        caption = (
            "Prediction f at each test point. Broad grey bar: posterior mean ± one standard deviation. Black cap: "
            "Monte Carlo error of the mean, often smaller than the dot. Coloured: theory, ± one standard deviation."
        )
        caption += " Dashed: target." if "y_test" in comparison else ""
    return Picture(svg(figures.plot_predictions(comparison)), alt, caption, wide=15 < size <= FEW)


def _error(comparison: xr.Dataset) -> Picture:
    total, mcse = (float(comparison[key].sel(part="total")) for key in ("error_posterior", "error_mcse"))
    shown = _each(comparison, comparison["error"].sel(part="total"), ".3g")
    alt = f"Stacked bars of squared bias and variance. Total error: posterior {quote(total, mcse)}; {shown}."
    caption = (
        "Generalisation error: squared bias (solid) plus variance (hatched), averaged over the test set. Dotted lines "
        "and error bars: squared bias and total of the posterior, and their Monte Carlo errors."
    )
    return Picture(svg(figures.plot_error(comparison)), alt, caption)


def _z(comparison: xr.Dataset, theories: str) -> Picture:
    shown = _each(comparison, comparison["largest_z"], ".1f")
    what = f"z values of {comparison['f_mean'].size} predictions of {theories} beside the standard normal density"
    caption = (
        "z: distance of theory and posterior mean in Monte Carlo standard errors, of both. The values of an exact "
        f"theory would follow the grey density. Dotted: threshold ± {comparison.attrs['max_z']:.1f}."
    )
    return Picture(svg(figures.plot_z(comparison)), f"{what}. Largest |z|: {shown}.", caption)


def _each(comparison: xr.Dataset, values: xr.DataArray, form: str) -> str:
    """Return the value of each theory in words."""
    pairs = zip(comparison["theory"].to_numpy(), values.to_numpy(), strict=True)
    return "; ".join(f"{name} {float(value):{form}}" for name, value in pairs)


def _calibration(comparison: xr.Dataset, theories: str) -> list[Picture]:
    pit = Picture(
        svg(figures.plot_pit(comparison)),
        f"Histograms of the probability integral transform of posterior draws under the laws of {theories}.",
        "Probability integral transform: where draws of the posterior fall in the law of each theory, over all test "
        "points. Flat where the theory has the law of f; a valley where its laws are too narrow, a hill where they are "
        "too wide, a slope where they are shifted.",
    )
    half = _each(comparison, 100 * comparison["coverage"].sel(nominal=0.8, method="nearest"), ".1f")
    coverage = Picture(
        svg(figures.plot_coverage(comparison)),
        f"Coverage of central intervals less their nominal probability. The 80 % intervals hold, in percent: {half}.",
        "Central intervals of each theory: the part of the posterior that they hold, less the nominal probability. "
        "Bars are two Monte Carlo standard errors. Above zero the intervals are too wide.",
    )
    return [pit, coverage]


def _labels(comparison: xr.Dataset) -> list[Picture]:
    """Return the reliability diagram, and the confusion matrices of the posterior and of the last theory."""
    if "y_test" not in comparison:
        return []
    names = ["posterior (MCMC)", *map(str, comparison["theory"].to_numpy())]
    reliability = Picture(
        svg(figures.plot_reliability(comparison)),
        f"Reliability diagram: how often the most probable class is right, by its probability, for {', '.join(names)}.",
        "Reliability: how often the most probable class of a held-out point is right, against its probability. Above "
        "the diagonal probabilities are too cautious, below it too confident. Bars: one standard error of the count.",
    )
    caption = "Confusion matrix: held-out points of each label (row) by their most probable class (column)."
    pairs = zip((None, names[-1]), (names[0], names[-1]), strict=True)
    return [
        reliability,
        *(
            Picture(svg(figures.plot_confusion(comparison, theory)), f"Confusion matrix of {name}.", caption)
            for theory, name in pairs
        ),
    ]


def _held_out(comparison: xr.Dataset) -> list[Picture]:
    shown, held = [], transforms(comparison)
    if held:
        names, count = ", ".join(held), next(iter(held.values())).size
        alt = f"Histograms of the probability integral transform of {count} held-out targets under the laws of {names}."
        caption = (
            "Held-out targets: where each lies in the law that was predicted for it, noise included. Flat where the "
            "model suits the data; the grey band holds 95 % of the bars of a uniform law, one by one."
        )
        shown.append(Picture(svg(draw_pit(held)), alt, caption))
        told = "; ".join(f"{name} {100 * coverages(u)[1]:.1f}" for name, u in held.items())
        alt = f"Coverage of held-out targets less nominal probability. The 80 % intervals hold, in percent: {told}."
        caption = (
            "Central intervals for new targets: the part of the held-out targets that they hold, less the nominal "
            "probability. Bars are two standard errors of a count of so many independent targets."
        )
        shown.append(Picture(svg(draw_coverage(held)), alt, caption))
    return shown


def _left_out(comparison: xr.Dataset) -> list[Picture]:
    shown = []
    if "loo_pit" in comparison:
        alt = f"Histogram of leave-one-out probability integral transforms of {comparison['loo_pit'].size} targets."
        caption = "Training targets: where each lies in the posterior predictive law given all others. Read as above."
        shown.append(Picture(svg(figures.plot_loo_pit(comparison)), alt, caption))
    if "pareto_k" in comparison:
        k, limit = comparison["pareto_k"].to_numpy(), float(comparison["good_k"])
        alt = f"Pareto k of {k.size} training points, of which {int((k > limit).sum())} are above {limit:.2f}."
        caption = (
            "Pareto k of the training points: above the dotted line a point moves the posterior so much that its "
            "leave-one-out numbers are not reliable."
        )
        shown.append(Picture(svg(figures.plot_pareto_k(comparison)), alt, caption))
    return shown


def _order(posterior: xr.DataTree, comparison: xr.Dataset) -> list[Picture]:
    group = posterior.get("posterior")
    if "process" in posterior.attrs:
        return _scales(posterior, comparison)
    if group is None or "readout_norm" not in group or "kernel_scale" not in group:
        return []
    depth, shown = group["kernel_scale"].sizes["layer"], []
    for layer in range(depth, 0, -1):
        lines = "order parameters of the theories, as lines or as curves of their law"
        if layer == depth:
            alt = f"Histograms of readout norm and kernel scale of layer {layer}; {lines}."
            laws = comparison.get("order_parameter_quantiles")
            drawn = laws is not None and bool(laws.isel(layer=-1).notnull().any())
            law = "Coloured curve: the law of Q given the data at finite width. " if drawn else ""
            caption = (
                "Order parameter of the last hidden layer. Grey: posterior of the readout norm λ|v|²/N, the observable "
                "that corresponds to Q; dotted: its prior. Vertical lines: Q̄ of the theories, the mode of Q on a "
                f"logarithmic axis, a little above the peak on this linear one. {law}Dashed: kernel scale, the trace "
                "of the sampled hidden kernel in units of its expectation. It equals no order parameter of the theory; "
                "at infinite width it is one. All curves have peak one."
            )
        else:
            alt = f"Histogram of the kernel scale of layer {layer}; {lines}."
            caption = (
                f"Layer {layer}: no observable corresponds to its order parameter. The kernel scale of the posterior "
                "is drawn for orientation, beside what the theories find."
            )
        shown.append(Picture(svg(figures.plot_order_parameter(posterior, comparison, layer=layer)), alt, caption))
    return shown


def _scales(posterior: xr.DataTree, comparison: xr.Dataset) -> list[Picture]:
    """Return a picture for each scale of a process."""
    group = posterior["posterior"]
    caption = (
        "Grey: posterior of {0}; dotted: its prior. Vertical lines: values that theories put in its place, the mode on "
        "a logarithmic axis where it is a mode. Coloured curve: the law of {0} given the data in closed form. All "
        "curves have peak one."
    )
    alt = "Histogram of {}; values and laws of the theories as lines and curves."
    if "Q" not in group:
        picture = svg(figures.plot_order_parameter(posterior, comparison))
        return [Picture(picture, alt.format("the scale r"), caption.format("the scale r"))]
    shown = []
    for layer in range(group.sizes["layer"], 0, -1):
        picture = svg(figures.plot_order_parameter(posterior, comparison, layer=layer))
        what = f"the order parameter Q of layer {layer}"
        shown.append(Picture(picture, alt.format(what), caption.format(what)))
    return shown


def _spectrum(comparison: xr.Dataset, theories: str, process: bool) -> list[Picture]:
    if "eigenvalue" not in comparison:
        return []
    values = comparison["eigenvalue"].to_numpy()
    alt = (
        f"Learned share of the targets along {values.size} eigenmodes of the kernel, of eigenvalues {values[0]:.3g} "
        f"down to {values[-1]:.3g}: the posterior as points, {theories} as lines."
    )
    caption = (
        "What has been learned of the targets along each eigenmode of the kernel of infinite width on the training "
        "inputs: (u·f̄)/(u·y), one if all of it, zero if nothing. A theory that rescales the kernel by Q learns the "
        "modes of eigenvalues above T/Q and leaves out those below. The area of a point grows with the part of |y|² in "
        "the mode; pale points hold too little of it to tell."
    )
    if not process:
        caption += " Points off the lines are directions into which the hidden units have turned the kernel."
    return [Picture(svg(figures.plot_spectrum(comparison)), alt, caption)]


def _chains(posterior: xr.DataTree, comparison: xr.Dataset) -> list[Picture]:
    shown = []
    if comparison["chains"] > 1 and bool(np.isfinite(comparison["rhat"]).any()):
        alt = (
            f"Scatter plot of R-hat against bulk effective sample size for {comparison['rhat'].size} predictions; "
            f"largest R-hat {float(comparison['rhat_worst']):.3f}, "
            f"smallest size {float(comparison['ess_smallest']):.0f}."
        )
        caption = (
            "R-hat and bulk effective sample size of every test prediction; the five of largest R-hat by number. Solid "
            "and dotted: the limits below and to the right of which the chains count as converged."
        )
        shown.append(Picture(svg(figures.plot_convergence(comparison)), alt, caption))
    captions = (
        "Fractional ranks of the draws of each chain among all draws, for the prediction of largest R-hat: "
        "distribution function less that of the uniform law. Chains of one law stay near zero. p: a test of uniformity "
        "that knows their autocorrelation; deviating ranks are marked where it is below α. The worst of many "
        "predictions may come below it by chance.",
        "The same for the prediction of second largest R-hat.",
    )
    enough = comparison["chains"] > 1 and comparison["draws"] > 3
    for worst in range(min(2, comparison["rhat"].size) if enough else 0):
        alt = f"Ranks of the draws of each chain for the prediction of {('largest', 'second largest')[worst]} R-hat."
        shown.append(Picture(svg(figures.plot_ranks(posterior, comparison, worst=worst)), alt, captions[worst]))
    stats = posterior.get("sample_stats")
    if stats is not None and "energy" in stats and stats["energy"].sizes["draw"] > 2:
        alt = "Histograms of the energy of the sampler and of its changes from draw to draw."
        caption = (
            "Energy of the sampler and its changes from draw to draw. Changes much narrower than the energies mean "
            "slow mixing (BFMI below 0.3)."
        )
        shown.append(Picture(svg(figures.plot_energy(posterior)), alt, caption))
    return shown
