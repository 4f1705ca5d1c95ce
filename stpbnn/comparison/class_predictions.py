"""The class probabilities of fitted classifiers, gathered in one data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._labels import class_labels
from stpbnn._version import __version__
from stpbnn.class_scores import ClassScores, class_scores
from stpbnn.comparison.laws import order_parameter_quantiles
from stpbnn.comparison.learned import learned

__all__ = ["columns_of", "free_columns", "places", "predict_classes"]

TINY = np.finfo(np.float64).tiny


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
    check.refuse_unknown_labels(what, given, classes)
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
        check_is_fitted(theory, msg=f"theories[{name!r}]: this %(name)s is not fitted; call fit(X, y) first")
        if getattr(theory, "n_features_in_", X_test.shape[1]) != X_test.shape[1]:
            raise ValueError(
                f"X_test: got {X_test.shape[1]} features, but theories[{name!r}] was fitted to {theory.n_features_in_}"
            )
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
