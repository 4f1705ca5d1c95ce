"""The predictions of fitted closed-form regressors, gathered in one data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stpbnn._validation import inputs, shown, targets, text
from stpbnn._version import __version__
from stpbnn.comparison.class_scoring import check_fitted, predict_classes
from stpbnn.comparison.learned import LEVELS, fitted_means, learned, order_parameter_quantiles, quantiles
from stpbnn.comparison.observed import scored
from stpbnn.regressors import GeneralizationError, error_parts, own_errors

__all__ = ["PARTS", "predict_theories", "squeezed"]

PARTS = GeneralizationError._fields


def predict_theories(theories: Mapping[str, Any], X_test: Any, y_test: Any = None) -> xr.Dataset:
    r"""Return the predictions of fitted closed-form regressors as one data set, ready for NetCDF.

    .. math:: \epsilon = \frac1M \sum_{t=1}^{M} \left[ |y_t - \bar f(x_t)|^2 + \sigma^2(x_t) \right]

    Parameters
    ----------
    theories : mapping of str to regressor, or to classifier
        Fitted estimators by the names that tables and figures shall show.
    X_test : array of shape (M, N_0)
        Test inputs.
    y_test : array of shape (M,) or (M, D), optional
        Test targets, of classifiers labels; without them there are no errors and scores.

    Returns
    -------
    xarray.Dataset
        `mean` and `variance` (theory, test_point[, output]) of the function f; with targets `error` (theory, part) and
        `y_test`, `target_pit` and `log_score` (theory, test_point[, output]): F(y) and log p(y) of the targets under
        the law of y, noise included, NaN for regressors without such a law. A theory that is simulated has standard
        errors of its own, Monte Carlo and, where it is known, that of clusters which are too small, `theory_mcse` of
        the mean and `theory_error_mcse` of the error, from `theory_freedom` degrees of freedom; closed forms have zero,
        zero and infinity. The second part alone is `theory_error_systematic` (theory, part), NaN where one size of
        clusters was solved, and `cluster` (theory) is the size, NaN for other theories. `quantiles` (theory, level,
        test_point[, output]) of f; `order_parameters` (theory, layer), NaN where a theory has none, and tr Q/D of the
        (D, D) matrix `order_parameter_matrix` for D > 1; where some theory has a law of them, its
        `order_parameter_quantiles` (theory, layer, probability). The adaptive kernel has `readout_second_moment`
        (theory) instead, λ E v², the mean of the sampled `readout_norm`. `train_mean` (theory, train_point[, output]),
        the mean of f at the training inputs, where all know them; `action`, `log_marginal_likelihood`, `converged`,
        `temperature`, `regressor` (of a subclass the class of this library), `network`, and whether its activation is
        `odd` or `linear`, NaN without a network (theory).
        Of classifiers `mean` has the probability of the second of two classes, or of each of several (output); the
        `error` is the negative log likelihood, without further parts, and there are `scores` (theory, score), those of
        `stpbnn.classification.class_scores`, and `log_score` (theory, test_point), the logarithm of the probability of
        the class `y_test`, a number from zero; the attribute `classes` has their names.

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
    classifiers = {name for name, theory in theories.items() if hasattr(theory, "predict_proba")}
    if classifiers:
        if others := sorted(theories.keys() - classifiers):
            raise ValueError(
                f"theories[{others[0]!r}]: got a regressor beside the classifier {sorted(classifiers)[0]!r}, expected "
                "theories of one kind; compare numbers and classes apart"
            )
        return predict_classes(theories, X_test, y_test)
    means, variances, levels, own, shape = [], [], [], [], None
    for name, theory in theories.items():
        check_fitted(name, theory, X_test)
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
        own.append(_own_error(theory, X_test, shape))
    dims = ("theory", "test_point", "output")[: len(means[0].shape) + 1]
    fitted = list(theories.values())
    data: dict[str, Any] = {"mean": (dims, np.stack(means)), "variance": (dims, np.stack(variances))}
    data["theory_mcse"] = (dims, np.stack([error for error, _ in own]))
    data["theory_freedom"] = ("theory", [freedom for _, freedom in own])
    data["quantiles"] = (("theory", "level", *dims[1:]), np.stack(levels))
    coords: dict[str, Any] = {"theory": list(theories), "level": LEVELS}
    if y_test is not None:
        y_test = targets("y_test", y_test, examples=len(X_test), outputs=1 if len(dims) == 2 else means[0].shape[1])
        data["y_test"] = (dims[1:], y_test)
        errors = np.array([error_parts(*each, y_test) for each in zip(means, variances, strict=True)])
        own_parts, systematic = np.swapaxes([own_errors(theory, X_test, y_test) for theory in fitted], 0, 1)
        data |= {"error": (("theory", "part"), errors), "theory_error_mcse": (("theory", "part"), own_parts)}
        data["theory_error_systematic"] = (("theory", "part"), systematic)
        transforms, scores = zip(*(scored(theory, X_test, y_test) for theory in theories.values()), strict=True)
        data |= {"target_pit": (dims, np.stack(transforms)), "log_score": (dims, np.stack(scores))}
        coords["part"] = list(PARTS)
    known = learned(fitted)
    layers = known["order_parameters"][1].shape[1]
    data |= known | order_parameter_quantiles(fitted, layers) | fitted_means(fitted)
    coords["layer"] = np.arange(1, layers + 1)
    return xr.Dataset(data, coords, {"stpbnn_version": __version__})


def squeezed(values: Any) -> np.ndarray:
    """Return float64 values, one column being none: (M,) or (M, D)."""
    values = np.asarray(values, dtype=np.float64)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _own_error(theory: Any, X_test: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Return the error of the mean that a simulated theory has, and its degrees of freedom; of the others 0 and ∞.

    It is the Monte Carlo error and, where it is known, that of clusters which are too small.
    """
    if not hasattr(theory, "systematic_error"):
        return np.zeros(shape), np.inf
    parts = theory.standard_error(X_test).mean, np.nan_to_num(theory.systematic_error(X_test).mean)
    return np.hypot(*parts).reshape(shape), len(theory.predict_populations(X_test[:1])[0]) - 1
