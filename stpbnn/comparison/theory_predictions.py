"""The predictions of fitted closed-form regressors, gathered in one data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from sklearn.utils.validation import check_is_fitted

from stpbnn._validation import inputs, shown, targets, text
from stpbnn._version import __version__
from stpbnn.comparison.laws import LEVELS, fitted_means, order_parameter_quantiles, quantiles
from stpbnn.comparison.observed import scored
from stpbnn.regressors import error_parts, standard_error

__all__ = ["PARTS", "predict_theories", "squeezed"]

PARTS = ("total", "squared_bias", "variance")


def predict_theories(theories: Mapping[str, Any], X_test: Any, y_test: Any = None) -> xr.Dataset:
    r"""Return the predictions of fitted closed-form regressors as one data set, ready for NetCDF.

    .. math:: \epsilon = \frac1M \sum_{t=1}^{M} \left[ |y_t - \bar f(x_t)|^2 + \sigma^2(x_t) \right]

    Parameters
    ----------
    theories : mapping of str to regressor
        Fitted estimators by the names that tables and figures shall show.
    X_test : array of shape (M, N_0)
        Test inputs.
    y_test : array of shape (M,) or (M, D), optional
        Test targets; without them there are no errors.

    Returns
    -------
    xarray.Dataset
        `mean` and `variance` (theory, test_point[, output]) of the function f; with targets `error` (theory, part) and
        `y_test`, `target_pit` and `log_score` (theory, test_point[, output]): F(y) and log p(y) of the targets under
        the law of y, noise included, NaN for regressors without such a law. A theory that is simulated has Monte Carlo
        standard errors of its own, `theory_mcse` of the mean and `theory_error_mcse` of the error, from
        `theory_freedom` degrees of freedom; closed forms have zero, zero and infinity. `quantiles` (theory, level,
        test_point[, output]) of f; `order_parameters` (theory, layer), NaN where a theory has none, and tr Q/D of the
        (D, D) matrix `order_parameter_matrix` for D > 1; where some theory has a law of them, its
        `order_parameter_quantiles` (theory, layer, probability). The adaptive kernel has `readout_second_moment`
        (theory) instead, λ E v², the mean of the sampled `readout_norm`. `train_mean` (theory, train_point[, output]),
        the mean of f at the training inputs, where all know them; `action`, `log_marginal_likelihood`, `converged`,
        `temperature`, `regressor` (of a subclass the class of this library), `network`, and whether its activation is
        `odd` or `linear`, NaN without a network (theory).

    Raises
    ------
    ValueError
        If there is no theory, one is not fitted, or shapes do not match.

    References
    ----------
    Generalisation error, eq. (4.2) of the theory notes; Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> from sklearn.linear_model import BayesianRidge
    >>> X, y = np.arange(4.0)[:, None], np.arange(4.0)
    >>> predict_theories({"ridge": BayesianRidge().fit(X, y)}, X)["mean"].sizes["test_point"]
    4
    """
    if not isinstance(theories, Mapping) or not theories:
        raise ValueError(
            f"theories: got {shown(theories)}, expected a mapping of at least one name to a fitted regressor"
        )
    for name, theory in theories.items():
        text("theories: name", name)
        if isinstance(theory, type) or not (hasattr(theory, "fit") and hasattr(theory, "predict")):
            raise ValueError(f"theories[{name!r}]: got {shown(theory)}, expected a fitted regressor")
    X_test = inputs("X_test", X_test)
    means, variances, levels, populations, shape = [], [], [], [], None
    for name, theory in theories.items():
        check_is_fitted(theory, msg=f"theories[{name!r}]: this %(name)s is not fitted; call fit(X, y) first")
        if getattr(theory, "n_features_in_", X_test.shape[1]) != X_test.shape[1]:
            raise ValueError(
                f"X_test: got {X_test.shape[1]} features, but theories[{name!r}] was fitted to {theory.n_features_in_}"
            )
        law = theory.predictive(X_test) if hasattr(theory, "predictive") else None
        found = theory.predict(X_test, return_std=True) if law is None else (law.mean, law.std)
        mean, std = (squeezed(a) for a in found)
        variance = std**2 if law is None else squeezed(law.variance)
        shape = shape or mean.shape
        if mean.shape != shape or mean.shape[0] != len(X_test):
            raise ValueError(f"theories[{name!r}]: its predictions have shape {mean.shape}, expected {shape}")
        means.append(mean)
        std, variance = (
            np.broadcast_to(each[:, None] if each.ndim < mean.ndim else each, shape) for each in (std, variance)
        )
        variances.append(variance)
        levels.append(quantiles(mean, std, law))
        populations.append(_populations(theory, X_test, shape))
    dims = ("theory", "test_point", "output")[: len(means[0].shape) + 1]
    fitted = list(theories.values())
    data: dict[str, Any] = {"mean": (dims, np.stack(means)), "variance": (dims, np.stack(variances))}
    data["theory_mcse"] = (dims, np.stack([standard_error(each) for each, _ in populations]))
    data["theory_freedom"] = ("theory", [len(each) - 1 or np.inf for each, _ in populations])
    data["quantiles"] = (("theory", "level", *dims[1:]), np.stack(levels))
    coords: dict[str, Any] = {"theory": list(theories), "level": LEVELS}
    if y_test is not None:
        y_test = targets("y_test", y_test, examples=len(X_test), outputs=1 if len(dims) == 2 else means[0].shape[1])
        data["y_test"] = (dims[1:], y_test)
        errors = np.array([error_parts(*each, y_test) for each in zip(means, variances, strict=True)])
        own = [[standard_error(part) for part in error_parts(*each, y_test)] for each in populations]
        data |= {"error": (("theory", "part"), errors), "theory_error_mcse": (("theory", "part"), np.array(own))}
        transforms, scores = zip(*(scored(theory, X_test, y_test) for theory in theories.values()), strict=True)
        data |= {"target_pit": (dims, np.stack(transforms)), "log_score": (dims, np.stack(scores))}
        coords["part"] = list(PARTS)
    learned = _learned(fitted)
    layers = learned["order_parameters"][1].shape[1]
    data |= learned | order_parameter_quantiles(fitted, layers) | fitted_means(fitted)
    coords["layer"] = np.arange(1, layers + 1)
    return xr.Dataset(data, coords, {"stpbnn_version": __version__})


def squeezed(values: Any) -> np.ndarray:
    """Return float64 values, one column being none: (M,) or (M, D)."""
    values = np.asarray(values, dtype=np.float64)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _populations(theory: Any, X_test: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return means and variances of the independent populations of a simulated theory; one of zeros for the others."""
    if not hasattr(theory, "predict_populations"):
        return np.zeros((1, *shape)), np.zeros((1, *shape))
    means, variances = (np.asarray(a, dtype=np.float64) for a in theory.predict_populations(X_test))
    means = means.reshape(-1, *shape)
    variances = variances.reshape(*variances.shape, *(1,) * (means.ndim - variances.ndim))
    return means, np.broadcast_to(variances, means.shape)


def _learned(fitted: list[Any]) -> dict[str, Any]:
    """Return what the regressors have learned, padded with NaN to a common number of layers."""
    orders = [np.asarray(getattr(t, "order_parameters_", [np.nan]), dtype=np.float64) for t in fitted]
    rows = [np.atleast_1d(_scalar(q) if q.ndim == 2 else q) for q in orders]
    layers = max(len(row) for row in rows)
    padded = np.array([np.pad(row, (0, layers - len(row)), constant_values=np.nan) for row in rows])
    learned: dict[str, Any] = {"order_parameters": (("theory", "layer"), padded)}
    outputs = max((len(q) for q in orders if q.ndim == 2), default=0)
    if outputs:
        empty = np.full((outputs, outputs), np.nan)
        matrices = np.array([q if q.ndim == 2 else empty for q in orders])
        learned["order_parameter_matrix"] = (("theory", "output", "other_output"), matrices)
    scalars = {
        "action": "action_",
        "log_marginal_likelihood": "log_marginal_likelihood_",
        "readout_second_moment": "readout_second_moment_",
        "temperature": "temperature",
    }
    for name, attribute in scalars.items():
        learned[name] = ("theory", [_scalar(getattr(t, attribute, np.nan)) for t in fitted])
    networks = [getattr(t, "network_", None) for t in fitted]
    learned["network"] = ("theory", ["" if net is None else json.dumps(net.to_dict()) for net in networks])
    for name in ("odd", "linear"):
        asked = [np.nan if net is None else float(getattr(net.sigma, name)) for net in networks]
        learned[name] = ("theory", asked)
    learned["regressor"] = ("theory", [_class(t) for t in fitted])
    learned["converged"] = ("theory", [bool(getattr(t, "converged_", True)) for t in fitted])
    return learned


def _class(theory: Any) -> str:
    """Return the name of the theory's class; of a class that others derived from one of this library, that one's."""
    own = (kind.__name__ for kind in type(theory).__mro__ if kind.__module__.startswith("stpbnn."))
    return next(own, type(theory).__name__)


def _scalar(value: Any) -> float:
    """Return a number; of a matrix over the outputs the mean of its diagonal, of a vector NaN."""
    if np.ndim(value) == 1:
        return np.nan
    return float(np.trace(value) / len(value)) if np.ndim(value) == 2 else float(value)
