"""Whether theories were fitted to the data and settings that were sampled: what differs is refused, or warned of."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn._validation import inputs, tree
from stpbnn.comparison.class_scoring import classes_of, stored_labels, stored_truth
from stpbnn.comparison.theory_predictions import squeezed

__all__ = ["check_test_inputs", "test_targets", "warn_of_other_data", "warn_of_other_settings"]


def check_test_inputs(posterior: xr.DataTree, X_test: Any, y_test: Any = None) -> Any:
    """Refuse test inputs other than those of the posterior; return the test targets, given or stored."""
    stored = _stored(tree("posterior", posterior), "X_test")
    X_test = inputs("X_test", X_test)
    if stored is None or stored.shape != X_test.shape or not _same(stored.to_numpy(), X_test):
        shape = "none: sample() was given no X_test" if stored is None else f"shape {stored.shape}"
        raise ValueError(
            f"X_test: got shape {X_test.shape}, but the posterior was sampled with other test inputs ({shape}); "
            f"{'sample again with it' if stored is None else 'pass the X_test that was given to sample()'}"
        )
    if y_test is None and classes_of(posterior) is not None:
        return stored_labels(posterior, "predictions_constant_data", "y_test")
    if y_test is None and (known := _stored(posterior, "y_test")) is not None:
        return known.to_numpy()
    return y_test


def test_targets(posterior: xr.DataTree, predictions: xr.Dataset) -> xr.DataArray | None:
    """Return the test targets of the predictions, or else of the posterior; refuse two that differ.

    Of classes they are their numbers, from zero.
    """
    if classes_of(posterior) is not None:
        return _test_classes(posterior, predictions)
    known = _stored(posterior, "y_test")
    shape = predictions["mean"].shape[1:]
    stored = None if known is None else squeezed(known.to_numpy())
    given = squeezed(predictions["y_test"].to_numpy()) if "y_test" in predictions else stored
    if given is None:
        return None
    if given.shape != shape or (stored is not None and (stored.shape != shape or not _same(stored, given))):
        raise ValueError(
            f"y_test: got other targets (shape {given.shape}) than were given to sample() (shape {shape}); "
            "leave y_test out to use those"
        )
    return xr.DataArray(given, dims=predictions["mean"].dims[1:])


def _test_classes(posterior: xr.DataTree, predictions: xr.Dataset) -> xr.DataArray | None:
    told = posterior.attrs["classes"]
    if (given := predictions.attrs.get("classes", told)) != told:
        raise ValueError(f"predictions: got the classes {given}, but {told} were sampled; fit the theories to the same")
    stored = stored_truth(posterior, "predictions_constant_data", "y_test")
    truth = predictions["y_test"].to_numpy() if "y_test" in predictions else stored
    if stored is not None and (truth is None or not np.array_equal(stored, truth)):
        raise ValueError("y_test: got other labels than were given to sample(); leave y_test out to use those")
    return None if stored is None else xr.DataArray(stored, dims="test_point")


def warn_of_other_data(posterior: xr.DataTree, theories: Mapping[str, Any]) -> None:
    """Warn of a theory that was fitted to another training set than the one that was sampled."""
    for group, name, attribute in (("constant_data", "X", "X_train_"), ("observed_data", "y", "y_train_")):
        node = posterior.get(group)
        if node is None or (stored := node.get(name)) is None:
            continue
        for theory, fitted in theories.items():
            if (given := getattr(fitted, attribute, None)) is None:
                continue
            if name == "y" and (labels := stored_labels(posterior, group, name)) is not None:
                same = np.array_equal(labels.astype(str), np.asarray(given).astype(str))
            else:
                known, given = squeezed(stored.to_numpy()), squeezed(given)
                same = given.shape == known.shape and _same(known, given)
            if not same:
                warnings.warn(f"theory {theory!r} was fitted to other training data than was sampled", stacklevel=3)
                return


def warn_of_other_settings(posterior: xr.DataTree, predictions: xr.Dataset) -> None:
    """Warn of a theory for another temperature or another network than the one that was sampled."""
    expected, network = posterior.attrs.get("temperature"), posterior.attrs.get("network")
    for name in predictions["theory"].to_numpy():
        one = {key: value.item() for key, value in predictions.sel(theory=name).items() if value.ndim == 0}
        given, told = one.get("temperature", math.nan), []
        if (
            isinstance(expected, (int, float))
            and math.isfinite(given)
            and not math.isclose(given, expected, rel_tol=1e-6)
        ):
            told.append(f"temperature {given:g} instead of {expected:g}")
        if network and one.get("network"):
            sampled, fitted = (_settings(text, one.get("regressor")) for text in (str(network), one["network"]))
            kinds = ["Convolutional" if "channels" in each else "FullyConnected" for each in (fitted, sampled)]
            if kinds[0] != kinds[1]:
                told.append(f"a {kinds[0]} instead of a {kinds[1]}")
            else:
                differ = [key for key in {**sampled, **fitted} if sampled.get(key) != fitted.get(key)]
                told += [f"{key} {fitted.get(key)} instead of {sampled.get(key)}" for key in differ]
        if told:
            warnings.warn(f"theory {str(name)!r} is not one of the sampled posterior: {', '.join(told)}", stacklevel=3)


def _settings(network: str, regressor: str | None) -> dict[str, Any]:
    """Return what two networks must share: not the widths for infinite width, but the depth."""
    settings = json.loads(network)
    sizes = "widths" if "widths" in settings else "channels"
    precision, depth = settings["weight_precision"], len(settings[sizes])
    settings["weight_precision"] = precision if isinstance(precision, list) else [precision] * (depth + 1)
    if regressor in ("NNGPRegressor", "NNGPClassifier"):
        settings[sizes] = f"{depth} layers"
    return settings


def _stored(posterior: xr.DataTree, name: str) -> xr.DataArray | None:
    group = posterior.get("predictions_constant_data")
    return None if group is None or name not in group else group.to_dataset()[name]


def _same(stored: np.ndarray, given: np.ndarray) -> bool:
    """Equal up to single precision, in which the posterior may have been sampled."""
    scale = float(np.max(np.abs(given), initial=0.0))
    return bool(np.allclose(stored, given, rtol=1e-5, atol=1e-6 * scale))
