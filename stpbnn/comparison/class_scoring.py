"""Theory and posterior where the targets are classes: probabilities, labels that were stored, and scores of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._labels import class_labels, refuse_unknown_labels
from stpbnn._version import __version__
from stpbnn.class_scores import ClassScores, class_scores, posterior_scores
from stpbnn.comparison.learned import learned, order_parameter_quantiles

__all__ = [
    "check_fitted",
    "classes_of",
    "columns_of",
    "predict_classes",
    "refuse_other_kind",
    "scores_beside",
    "stored_labels",
    "stored_truth",
]

TINY = np.finfo(np.float64).tiny


def check_fitted(name: str, theory: Any, X_test: np.ndarray) -> None:
    """Refuse a theory that is not fitted, or fitted to other features than those of the test inputs."""
    check_is_fitted(theory, msg=f"theories[{name!r}]: this %(name)s is not fitted; call fit(X, y) first")
    if getattr(theory, "n_features_in_", X_test.shape[1]) != X_test.shape[1]:
        raise ValueError(
            f"X_test: got {X_test.shape[1]} features, but theories[{name!r}] was fitted to {theory.n_features_in_}"
        )


def free_columns(probabilities: np.ndarray) -> np.ndarray:
    """Return class probabilities (..., C) without what the others tell: of two classes that of the second, (...).

    Examples
    --------
    >>> free_columns(np.array([[0.2, 0.8]])), columns_of(np.array([0.8])).round(1)
    (array([0.8]), array([[0.2, 0.8]]))
    """
    return probabilities[..., 1] if probabilities.shape[-1] == 2 else probabilities


def columns_of(probabilities: np.ndarray, classes: int = 2) -> np.ndarray:
    """Return a column for each class, the inverse of `free_columns`."""
    return np.stack([1 - probabilities, probabilities], axis=-1) if classes == 2 else probabilities


def places(what: str, labels: Any, classes: np.ndarray) -> np.ndarray:
    """Return the numbers of the classes, from zero, of labels.

    Examples
    --------
    >>> places("y", ["dog", "cat"], np.array(["cat", "dog"]))
    array([1, 0])
    """
    given = class_labels(what, labels)
    refuse_unknown_labels(what, given, classes)
    return np.searchsorted(classes, given)


def predict_classes(theories: Mapping[str, Any], X_test: np.ndarray, y_test: Any = None) -> xr.Dataset:
    """Return the class probabilities of fitted classifiers as one data set (see `predict_theories`).

    Parameters
    ----------
    theories : mapping of str to classifier
        Fitted estimators by name.
    X_test : array of shape (M, N_0)
        Checked test inputs.
    y_test : array of shape (M,), optional
        Test labels.
    """
    fitted = list(theories.values())
    for name, theory in theories.items():
        check_fitted(name, theory, X_test)
        if theory.classes_.tolist() != fitted[0].classes_.tolist():
            raise ValueError(
                f"theories[{name!r}]: got the classes {check.shown(theory.classes_.tolist())}, expected "
                f"{check.shown(fitted[0].classes_.tolist())}, as of the first theory; fit all to the same labels"
            )
    classes = fitted[0].classes_
    probabilities = np.stack([theory.predict_proba(X_test) for theory in fitted])
    dims = ("theory", "test_point", "output")[: 2 + (len(classes) > 2)]
    known = learned(fitted)
    layers = known["order_parameters"][1].shape[1]
    data: dict[str, Any] = {"mean": (dims, free_columns(probabilities))} | known
    data |= order_parameter_quantiles(fitted, layers)
    coords: dict[str, Any] = {"theory": list(theories), "layer": np.arange(1, layers + 1)}
    if y_test is not None:
        truth = places("y_test", y_test, classes)
        if len(truth) != len(X_test):
            raise ValueError(f"y_test: got {len(truth)} labels, expected {len(X_test)}, one for each row of X_test")
        chosen = probabilities[:, np.arange(len(truth)), truth]
        scores = [class_scores(p, truth, np.arange(len(classes))) for p in probabilities]
        data |= {
            "y_test": ("test_point", truth),
            "log_score": (("theory", "test_point"), np.log(np.maximum(chosen, TINY))),
            "scores": (("theory", "score"), np.array(scores)),
            "error": (("theory", "part"), np.array(scores)[:, :1]),
        }
        coords |= {"score": list(ClassScores._fields), "part": ["total"]}
    return xr.Dataset(data, coords, {"stpbnn_version": __version__, "classes": json.dumps(classes.tolist())})


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
