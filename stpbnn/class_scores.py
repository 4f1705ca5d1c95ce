"""Scores of class probabilities: log score, Brier score, accuracy and calibration; of a posterior with their errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import ArrayLike

from stpbnn import _validation as check
from stpbnn._labels import refuse_no_labels, refuse_unknown_labels

__all__ = ["ClassScores", "class_scores", "posterior_scores"]

BINS = 10  # intervals of confidence
BATCHES = 20  # parts of all draws; the jackknife leaves out one after the other
LOWEST = np.finfo(np.float64).tiny


class ClassScores(NamedTuple):
    """How good class probabilities are: means over examples, of which the last is a difference of two."""

    negative_log_likelihood: float
    brier: float
    accuracy: float
    calibration_error: float


def _scores(p: Float[np.ndarray, "n C"], truth: np.ndarray) -> ClassScores:
    """Return the scores of probabilities, given the place of the true class of each example."""
    rows, found, confidence = np.arange(len(p)), p.argmax(axis=1), p.max(axis=1)
    right = found == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, right - confidence, minlength=BINS)
    return ClassScores(
        negative_log_likelihood=float(-np.log(np.maximum(p[rows, truth], LOWEST)).mean()),
        brier=float(np.sum((p - np.eye(p.shape[1])[truth]) ** 2) / len(p)),
        accuracy=float(right.mean()),
        calibration_error=float(np.abs(gaps).sum() / len(p)),
    )


def class_scores(probabilities: ArrayLike, labels: ArrayLike, classes: ArrayLike) -> ClassScores:
    r"""Return log score, Brier score, accuracy and expected calibration error of class probabilities.

    .. math::
        -\frac1n \sum_\mu \log p_{\mu c_\mu}, \qquad \frac1n \sum_{\mu c} (p_{\mu c} - \delta_{c c_\mu})^2, \qquad
        \sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|

    with ten bins b of equal width of the largest probability.

    Parameters
    ----------
    probabilities : array of shape (n, C)
        As `predict_proba` gives them; rows have the sum one.
    labels : array of shape (n,)
        True class labels.
    classes : array of shape (C,)
        What the columns stand for: `classes_` of a classifier.

    Raises
    ------
    ValueError
        If shapes do not match, rows are no probabilities, or a label is none of the classes.

    Examples
    --------
    >>> scores = class_scores([[0.9, 0.1], [0.4, 0.6]], ["cat", "cat"], ["cat", "dog"])
    >>> scores.accuracy, round(scores.brier, 3), round(scores.negative_log_likelihood, 3)
    (0.5, 0.37, 0.511)
    """
    p = check.inputs("probabilities", probabilities)
    refuse_no_labels("labels", labels)
    refuse_no_labels("classes", classes)
    with check.named("labels, classes"):
        given, columns = np.asarray(labels), np.asarray(classes)
    if columns.ndim != 1 or p.shape[1:] != columns.shape or len(np.unique(columns)) < len(columns):
        raise ValueError(
            f"probabilities, classes: got shape {p.shape} and classes of shape {columns.shape}, expected a column for "
            "each of the classes, which differ"
        )
    if given.shape != (len(p),):
        raise ValueError(f"labels: got shape {given.shape}, expected ({len(p)},), one for each row of probabilities")
    if (p < 0).any() or not np.allclose(p.sum(axis=1), 1, atol=1e-4):
        raise ValueError("probabilities: got rows that are negative or have another sum than one; normalise them")
    refuse_unknown_labels("labels", given, columns)
    order = columns.argsort()
    return _scores(p, order[np.searchsorted(columns[order], given)])


def posterior_scores(posterior: xr.DataTree) -> xr.Dataset:
    r"""Return the scores of a sampled posterior's class probabilities on the test set, with Monte Carlo errors.

    Probabilities are averaged over all draws before they are judged. The errors of log score and Brier score are the
    Monte Carlo standard errors of their slopes times the draws (delta method),

    .. math::
        -\frac1n \sum_\mu p_{\mu c_\mu} / \bar p_{\mu c_\mu}, \qquad
        \frac2n \sum_{\mu c} (\bar p_{\mu c} - \delta_{c c_\mu})\, p_{\mu c}

    and those of accuracy and calibration error, which have no slope, are of the jackknife over batches of draws.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned for a network whose targets are classes, with X_test and y_test.

    Returns
    -------
    xarray.Dataset
        `value` and `standard_error` over `score`: negative_log_likelihood, brier, accuracy, calibration_error. Of fewer
        than four draws a chain the errors are NaN.

    Raises
    ------
    ValueError
        If there are no class probabilities or no test labels.
    """
    check.tree("posterior", posterior)
    groups = posterior.to_dict()
    predictions, held = (groups.get(f"/{name}", xr.Dataset()) for name in ("predictions", "predictions_constant_data"))
    if "class_probability" not in predictions or "y_test" not in held:
        raise ValueError(
            "posterior: got no class probabilities with test labels, expected what stpbnn.sample returned for a "
            "network with likelihood='bernoulli' or 'categorical', X_test and y_test"
        )
    draws = predictions["class_probability"].transpose("chain", "draw", "test_point", "class").to_numpy()
    targets = held["y_test"].to_numpy()
    truth = (targets > 0).astype(int) if targets.ndim == 1 else targets.argmax(axis=1)
    value, error = _with_errors(draws, truth)
    variables = {"value": ("score", value), "standard_error": ("score", error)}
    return xr.Dataset(variables, {"score": list(ClassScores._fields)})


def _with_errors(draws: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of the averaged draws (chain, draw, n, C), and their Monte Carlo errors."""
    import arviz_stats as az

    chains, length = draws.shape[:2]
    batches = max(1, min(length, BATCHES // chains))
    parts = np.concatenate([part.mean(axis=1, dtype=np.float64) for part in np.array_split(draws, batches, axis=1)])
    sizes = np.repeat([len(part) for part in np.array_split(np.arange(length), batches)], chains)
    mean = np.average(parts, axis=0, weights=sizes)
    value, error = np.array(_scores(mean, truth)), np.full(4, np.nan)
    if length < 4:
        return value, error
    rows = np.arange(len(truth))
    chosen = np.maximum(mean[rows, truth], LOWEST)
    slopes = 2 * (mean - np.eye(mean.shape[1])[truth])
    series = (
        -(draws[..., rows, truth] / chosen).mean(axis=-1, dtype=np.float64),
        np.tensordot(draws, slopes / len(truth), 2),
    )
    error[:2] = [float(az.mcse(one, method="mean")) for one in series]
    left = [_scores(np.average(np.delete(parts, i, 0), 0, np.delete(sizes, i)), truth)[2:] for i in range(len(parts))]
    spread = np.std(np.array(left), axis=0)
    error[2:] = np.where(spread > 1e-12, np.sqrt(len(parts) - 1) * spread, 0.0)  # where no label changes, not rounding
    return value, error
