"""Theory against posterior where the targets are classes: labels that were stored, log score, Brier score, accuracy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn.class_scores import posterior_scores
from stpbnn.comparison.class_predictions import columns_of

__all__ = ["classes_of", "refuse_other_kind", "scores_beside", "stored_labels", "stored_truth"]

TINY = np.finfo(np.float64).tiny


def classes_of(posterior: xr.DataTree) -> np.ndarray | None:
    """Return the class labels of a posterior, sorted; None where its targets are numbers."""
    told = posterior.attrs.get("classes")
    return None if told is None else np.asarray(json.loads(told))


def refuse_other_kind(posterior: xr.DataTree, theories: Mapping[str, Any]) -> None:
    """Refuse regressors beside a posterior of classes, and classifiers beside one of numbers."""
    of_classes = classes_of(posterior) is not None
    for name, theory in theories.items():
        if hasattr(theory, "predict_proba") != of_classes:
            kind, other = ("class probabilities", "classifiers") if of_classes else ("numbers", "regressors")
            raise ValueError(
                f"posterior: got one of {kind} beside the {type(theory).__name__} theories[{name!r}], expected "
                f"theories that are {other}, such as stpbnn.NNGP{other[:-1].capitalize()}"
            )


def stored_truth(posterior: xr.DataTree, group: str, name: str) -> np.ndarray | None:
    """Return the numbers of the classes, from zero, of targets that a posterior holds as -1 and +1 or unit vectors."""
    node = posterior.get(group)
    if node is None or name not in node:
        return None
    targets = node.to_dataset()[name].to_numpy()
    return (targets > 0).astype(int) if targets.ndim == 1 else targets.argmax(axis=1)


def stored_labels(posterior: xr.DataTree, group: str, name: str) -> np.ndarray | None:
    """Return the labels that a posterior of classes holds as targets."""
    classes, truth = classes_of(posterior), stored_truth(posterior, group, name)
    return None if classes is None or truth is None else classes[truth]


def scores_beside(posterior: xr.DataTree, predictions: xr.Dataset, mean: xr.DataArray) -> dict[str, Any]:
    """Return the scores of posterior and theories on the test set, and the theories' distance in Monte Carlo errors.

    Parameters
    ----------
    posterior : xarray.DataTree
        A posterior of classes with test labels.
    predictions : xarray.Dataset
        What `predict_classes` returned.
    mean : xarray.DataArray
        The posterior means of the class probabilities.

    Returns
    -------
    dict
        `y_test` (test_point); `log_score_posterior` (test_point); `scores_posterior` and `scores_mcse` (score); where
        the theories were judged `scores` and `scores_z` (theory, score), and `log_score` (theory, test_point); and the
        first of the scores, the negative log likelihood, as `error`, `error_posterior` and `error_mcse` (part).
    """
    truth = stored_truth(posterior, "predictions_constant_data", "y_test")
    if truth is None:
        return {}
    classes = len(json.loads(posterior.attrs["classes"]))
    p = columns_of(mean.to_numpy(), classes)[np.arange(len(truth)), truth]
    found = posterior_scores(posterior)
    value, mcse = found["value"], found["standard_error"]
    data: dict[str, Any] = {
        "y_test": ("test_point", truth),
        "log_score_posterior": ("test_point", np.log(np.maximum(p, TINY))),
        "scores_posterior": value,
        "scores_mcse": mcse,
        "error_posterior": xr.DataArray(value.to_numpy()[:1], {"part": ["total"]}, "part"),
        "error_mcse": xr.DataArray(mcse.to_numpy()[:1], {"part": ["total"]}, "part"),
    }
    if "scores" in predictions:
        scores = predictions["scores"]
        with np.errstate(all="ignore"):
            data["scores_z"] = ((scores - value) / mcse).where(scores != value, 0.0)
        log_score = predictions["log_score"].drop_vars("test_point", errors="ignore")
        data |= {"scores": scores, "log_score": log_score, "error": predictions["error"]}
    return data
