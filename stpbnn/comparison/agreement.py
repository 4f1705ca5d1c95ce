"""Theory against posterior: z values, and differences of the generalisation error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import norm

from stpbnn._validation import data_set, number, tree
from stpbnn._version import __version__
from stpbnn.comparison.calibration import calibration
from stpbnn.comparison.class_scoring import classes_of, refuse_other_kind, scores_beside
from stpbnn.comparison.estimates import posterior_draws, posterior_error, posterior_moments
from stpbnn.comparison.observed import held_out, left_out, stepping_stones
from stpbnn.comparison.same_posterior import (
    check_test_inputs,
    test_targets,
    warn_of_other_data,
    warn_of_other_settings,
)
from stpbnn.comparison.spectrum import kernel_spectrum
from stpbnn.comparison.theory_predictions import predict_theories
from stpbnn.comparison.verdicts import chains_verdict, normal_score, verdict
from stpbnn.samplers import rhat_limit

__all__ = ["compare", "compare_predictions"]

KEPT = (
    "order_parameters order_parameter_quantiles readout_second_moment log_marginal_likelihood target_pit log_score "
    "theory_error_systematic cluster"
)


def compare(
    posterior: xr.DataTree, theories: Mapping[str, Any], X_test: Any, y_test: Any = None, **thresholds: float
) -> xr.Dataset:
    r"""Compare closed-form predictions with the sampled posterior, in units of the Monte Carlo standard error.

    .. math:: z(x) = (\bar f_{\mathrm{theory}}(x) - \bar f_{\mathrm{MCMC}}(x)) / \mathrm{MCSE}(x)

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned, with predictions at X_test.
    theories : mapping of str to regressor, or to classifier
        Fitted estimators by name, e.g. {"infinite width": nngp, "proportional limit": prop}.
    X_test : array of shape (M, N_0)
        Test inputs; must be those of the posterior.
    y_test : array of shape (M,) or (M, D), optional
        Test targets, of classes their labels; by default those stored with the posterior, if any.
    **thresholds
        Passed to `compare_predictions`.

    Returns
    -------
    xarray.Dataset
        As returned by `compare_predictions`.

    Raises
    ------
    ValueError
        If X_test or y_test differ from those of the posterior, or for what `compare_predictions` and
        `predict_theories` refuse.

    References
    ----------
    Generalisation error, eq. (4.2) of the theory notes; Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> from sklearn.linear_model import BayesianRidge
    >>> X, y = np.arange(4.0)[:, None], np.arange(4.0)
    >>> f = y + np.random.default_rng(0).normal(0, 1, (4, 500, 4))
    >>> posterior = xr.DataTree.from_dict({
    ...     "predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)}),
    ...     "predictions_constant_data": xr.Dataset({"X_test": (("test_point", "feature"), X)})})
    >>> comparison = compare(posterior, {"ridge": BayesianRidge().fit(X, y)}, X)
    >>> bool(comparison["agrees"].sel(theory="ridge"))
    True
    """
    y_test = check_test_inputs(posterior, X_test, y_test)
    if isinstance(theories, Mapping):
        refuse_other_kind(posterior, theories)
    predictions = predict_theories(theories, X_test, y_test)
    warn_of_other_data(posterior, theories)
    return compare_predictions(posterior, predictions, **thresholds)


def compare_predictions(
    posterior: xr.DataTree,
    predictions: xr.Dataset,
    *,
    max_rhat: float = 1.01,
    min_ess: float = 400,
    level: float = 0.01,
    max_error_z: float = 3.0,
) -> xr.Dataset:
    r"""Compare stored predictions with a stored posterior; a pure function of the two.

    .. math:: z = \frac{\bar f_{\mathrm{theory}} - \bar f_{\mathrm{MCMC}}}
              {\sqrt{\mathrm{MCSE}^2 + \mathrm{MCSE}^2_{\mathrm{theory}}}}

    Closed forms have no Monte Carlo error of their own. That of a simulated theory is estimated from a few populations:
    the ratio then has Student's law with Welch and Satterthwaite's degrees of freedom, and z is the normal score of the
    same tail probability. The same holds for the generalisation error.

    Where the readout was integrated, g = `f_mean` is the mean of f given the draw and c = `f_variance` its variance;
    else g = f and c = 0. The posterior is the same, the noise smaller. Summed over outputs, averaged over the test set,

    .. math::
        \epsilon = \overline{(y - g)^2 + c}, \qquad
        \epsilon_{\mathrm{bias}} = (y - \bar g)^2 - \mathrm{MCSE}^2(\bar g), \qquad
        \epsilon_{\mathrm{var}} = \overline{(g - \bar g)^2 + c} + \mathrm{MCSE}^2(\bar g).

    The plug-in estimate of the squared bias is too large by the variance of :math:`\bar g`, that of the variance too
    small by as much; the MCSE² terms undo both and leave the total as it is. The errors of total and variance are the
    MCSE of their series. That of the squared bias follows from the delta method: the MCSE of :math:`-2 (y - \bar g) g`,
    but never less than :math:`\sqrt2\,\mathrm{MCSE}^2(\bar g)`, the second-order error that remains where the bias
    vanishes (reached when all test points move together, so cautious).

    Parameters
    ----------
    posterior : xarray.DataTree
        A posterior with `predictions/f` (chain, draw, test_point[, output]), or of class probabilities.
    predictions : xarray.Dataset
        What `predict_theories` returned.
    max_rhat, min_ess : float
        The posterior counts as converged if, for every test prediction, the bulk effective sample size is above
        `min_ess` and the rank-normalised R-hat below `max_rhat`, or below what perfect chains reach by chance among so
        many predictions, where that is more (`stpbnn.samplers.chains.mixing.rhat_limit`).
    level : float
        Family-wise level of the test on the largest |z| (two-sided, Bonferroni over the test predictions).
    max_error_z : float
        Largest accepted difference of the generalisation errors, or of the negative log likelihoods of the test labels,
        in standard errors.

    Returns
    -------
    xarray.Dataset
        `z` and `theory_mcse` (theory, test_point[, output]); `f_mean`, `mcse`, `f_variance`, `rhat`, `rhat_limit`,
        `ess` (bulk), `ess_tail`, `ess_within` (test_point[, output]); `theory_mean`, `theory_variance`,
        `theory_converged`, `order_parameters`, `readout_second_moment`, `log_marginal_likelihood`, and where the
        posterior was sampled by replica exchange `log_evidence_posterior` with `log_evidence_mcse`; `pit` (theory,
        level) and `coverage` (theory, nominal) with `pit_mcse` and `coverage_mcse`: the posterior probability below the
        quantiles and inside the central intervals of the theory, averaged over the test predictions; `eigenvalue` and
        `target` (mode), `learned` (theory, mode), `learned_posterior` and `learned_mcse` (mode), see
        `stpbnn.comparison.kernel_spectrum`, where the posterior was sampled with up to 1000 training points;
        `largest_z`, `agrees` and `verdict` (theory); with targets also `y_test`; `target_pit` and `log_score` (theory,
        test_point[, output]), `target_pit_posterior` and `log_score_posterior`: F(y) and log p(y) of the targets, noise
        included; where the log-likelihood was recorded `elpd_loo` and `pareto_k` (train_point), its threshold `good_k`,
        and `loo_pit`, by Pareto-smoothed importance sampling; `error`, its own standard error `theory_error_mcse`, of
        which `theory_error_systematic` is what the size of clusters changes, `relative_error` with the standard error
        `relative_error_mcse`, and `error_z` (theory, part); `cluster` (theory), that size; `error_posterior` and
        `error_mcse` (part); scalars `rhat_worst`, `ess_smallest`, `converged` (of the posterior), `chains`, `draws`,
        `divergences`. Thresholds are attributes.
        Of classes f is the probability of the second of two, or of each of several (output); the errors are negative
        log likelihoods, and there are `scores` and `scores_z` (theory, score), `scores_posterior` and `scores_mcse`
        (score), those of `stpbnn.classification.posterior_scores`. A theory agrees if its negative log likelihood does
        too.

    Raises
    ------
    ValueError
        If there are no predictions of the posterior, they are not finite, or shapes or targets do not match.

    References
    ----------
    Vehtari et al., Bayesian Anal. 16, 667 (2021) for R-hat and ESS; eq. (4.2) of the theory notes for the errors;
    Wallace, Ann. Math. Stat. 30, 1124 (1959) for normal scores of Student's t.

    Examples
    --------
    >>> f = np.random.default_rng(0).normal(0, 1, (4, 500, 2))
    >>> posterior = xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})
    >>> theory = xr.Dataset({"mean": (("theory", "test_point"), [[0.0, 1.0]]), "variance": 1.0}, {"theory": ["wrong"]})
    >>> compare_predictions(posterior, theory)["verdict"].item()
    'differs: largest |z| 4... among 2 predictions (threshold 2.8)'
    """
    settings = {
        "max_rhat": number("max_rhat", max_rhat, minimum=1.0),
        "min_ess": number("min_ess", min_ess, inclusive=True),
        "level": number("level", level),
        "max_error_z": number("max_error_z", max_error_z),
    }
    if settings["level"] >= 1:
        raise ValueError(f"level: got {level!r}, expected a probability below one, such as 0.01")
    draws, given = posterior_draws(tree("posterior", posterior))
    classes = classes_of(posterior)
    needed = ("mean", "variance") if classes is None else ("mean",)
    data_set("predictions", predictions, *needed, source="stpbnn.comparison.predict_theories")
    mean = predictions["mean"].drop_vars("test_point", errors="ignore")
    if draws.isel(chain=0, draw=0).shape != mean.isel(theory=0).shape:
        raise ValueError(
            f"predictions: got theories of shape {mean.isel(theory=0).shape} and posterior draws of shape "
            f"{draws.isel(chain=0, draw=0).shape}, expected the same test points and outputs"
        )
    y = test_targets(posterior, predictions)

    warn_of_other_settings(posterior, predictions)
    data = posterior_moments(draws, given)
    mcse, n = data["mcse"], mean.isel(theory=0).size
    own = predictions.get("theory_mcse", xr.zeros_like(mean)).drop_vars("test_point", errors="ignore")
    freedom = predictions.get("theory_freedom", xr.full_like(mean["theory"], np.inf, dtype=float))
    z = normal_score(mean - data["f_mean"], mcse, own, freedom)
    data["z"] = z.where(
        (mcse > 0) | (own > 0) | (mean != data["f_mean"]), 0.0
    )  # a constant that the theory has exactly
    data["theory_mean"], data["theory_mcse"] = mean, own
    if "variance" in predictions:
        data["theory_variance"] = predictions["variance"] + xr.zeros_like(mean)
    data |= {name: predictions[name] for name in KEPT.split() if name in predictions} | stepping_stones(posterior)
    if classes is None:
        data |= calibration(posterior, predictions) | kernel_spectrum(posterior, predictions) | left_out(posterior)
    else:
        data |= scores_beside(posterior, predictions, data["f_mean"]) | left_out(posterior)
    data["theory_converged"] = predictions.get("converged", xr.ones_like(mean["theory"], dtype=bool))
    data["largest_z"] = abs(data["z"]).max([d for d in z.dims if d != "theory"], skipna=False)
    if y is not None and classes is None:
        data["y_test"] = y
        data |= posterior_error(draws, given, y, mcse) | held_out(posterior, draws, given, y)
        if "error" in predictions:
            data["error"] = error = predictions["error"]
            data["theory_error_mcse"] = own = predictions.get("theory_error_mcse", xr.zeros_like(error))
            truth, mcse = data["error_posterior"], data["error_mcse"]
            data["relative_error"] = error / truth - 1
            data["relative_error_mcse"] = np.hypot(error * mcse / truth**2, own / truth)
            data["error_z"] = normal_score(error - truth, mcse, own, freedom)

    chains, length = draws.sizes["chain"], draws.sizes["draw"]
    settings["max_z"] = float(norm.isf(settings["level"] / (2 * n)))
    worst, smallest = float(data["rhat"].max()), float(data["ess"].min())
    data["rhat_limit"] = rhat_limit(data["ess_within"], chains, n, max_rhat=max_rhat, min_ess=min_ess)
    converged = bool((data["rhat"] < data["rhat_limit"]).all()) and smallest > min_ess
    data |= {"rhat_worst": worst, "ess_smallest": smallest, "converged": converged, "chains": chains, "draws": length}
    stats = posterior.get("sample_stats")
    if stats is not None and "diverging" in stats:
        data["divergences"] = int(stats["diverging"].sum())
    told = chains_verdict(posterior, chains, length)
    told |= {} if classes is None else {"classes": posterior.attrs["classes"]}
    comparison = xr.Dataset(data, attrs=settings | told | {"series": str(draws.name), "stpbnn_version": __version__})
    reasons = predictions.get("reason", xr.full_like(mean["theory"], "", dtype=object))
    verdicts = [
        verdict(comparison.sel(theory=name), settings, str(reasons.sel(theory=name).item()))
        for name in comparison["theory"].to_numpy()
    ]
    comparison["agrees"] = ("theory", [agrees for agrees, _ in verdicts])
    comparison["verdict"] = ("theory", [sentence for _, sentence in verdicts])
    return comparison.copy(deep=True)  # of its own, whatever becomes of the predictions
