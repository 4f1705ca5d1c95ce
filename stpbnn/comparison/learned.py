"""What fitted regressors tell beside mean and variance: order parameters, evidence, quantiles, fitted means."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from stpbnn.network import Convolutional
from stpbnn.scale import by_layer, products_of_layers

__all__ = ["LEVELS", "PROBABILITIES", "fitted_means", "learned", "order_parameter_quantiles", "quantiles"]

LEVELS = np.arange(1, 20) / 20
PROBABILITIES = ndtr(np.linspace(-3.5, 3.5, 57))  # steps of an eighth of a standard deviation
SCALES = np.linspace(-6, 6, 121)  # where a law is tabulated, in standard deviations from its mean


def quantiles(mean: np.ndarray, std: np.ndarray, law: Any = None) -> np.ndarray:
    """Return the quantiles of f at `LEVELS`, along a new first axis.

    The distribution function is tabulated, and inverted in units of the normal quantile: exact for Gaussian laws, good
    to about 1e-3 in probability for their mixtures, at a small part of the cost of solving for every quantile.

    Parameters
    ----------
    mean, std : arrays of shape (M,) or (M, D)
        Moments of f at the test points.
    law : optional
        A law of `stpbnn.predictive` of f there; by default Gaussian.

    Examples
    --------
    >>> quantiles(np.array([1.0]), np.array([2.0]))[[0, 9, 18], 0].round(3)
    array([-2.29,  1.  ,  4.29])
    """
    shape = (len(LEVELS),) + (1,) * mean.ndim
    if law is None:
        return mean + std * ndtri(LEVELS).reshape(shape)
    columns = [np.reshape(law.cdf(np.reshape(mean + std * z, law.mean.shape)), -1) for z in SCALES]
    tiny = float(ndtr(SCALES[0])) / 2
    table = ndtri(np.clip(np.stack(columns, axis=1), tiny, 1 - tiny))
    found = [np.interp(ndtri(LEVELS), row, SCALES) for row in table]
    return mean + std * np.moveaxis(np.reshape(found, (*mean.shape, len(LEVELS))), -1, 0)


def order_parameter_quantiles(fitted: list[Any], layers: int) -> dict[str, Any]:
    """Return the quantiles of the order parameters at `PROBABILITIES`, NaN for theories that know no law of them.

    The scale r of a Student's t-process stands in the place of the first of as many layers as the table has.
    """
    laws = [getattr(t, "order_parameter_posterior_", getattr(t, "scale_posterior_", None)) for t in fitted]
    if all(law is None for law in laws):
        return {}
    table = np.full((len(laws), layers, len(PROBABILITIES)), np.nan)
    for row, law, theory in zip(table, laws, fitted, strict=True):
        if law is not None:
            matrices = law.nodes.ndim == 3  # over positions
            each = law._replace(nodes=by_layer(theory.network_, law.nodes)) if matrices else law
            row[: each.nodes.shape[1]] = each.quantile(PROBABILITIES)
    dims = ("theory", "layer", "probability")
    return {"order_parameter_quantiles": (dims, table), "probability": ("probability", PROBABILITIES)}


def fitted_means(fitted: list[Any]) -> dict[str, Any]:
    """Return the mean of f at the training inputs, where all theories know the same number of them."""
    inputs = [theory.X_train_ for theory in fitted if hasattr(theory, "X_train_")]
    if len(inputs) < len(fitted) or len({len(X) for X in inputs}) > 1:
        return {}
    means = np.stack([theory.predict(X) for theory, X in zip(fitted, inputs, strict=True)])
    means = means[..., 0] if means.shape[2:] == (1,) else means
    return {"train_mean": (("theory", "train_point", "output")[: means.ndim], means)}


def _product(theory: Any, W: np.ndarray) -> np.ndarray:
    """Return the matrix of the outputs, (D, D), from those of all layers: at the saddle point, or its mean."""
    law = getattr(theory, "order_parameter_posterior_", None)
    if law is None:  # they share their eigenvectors
        return reduce(np.matmul, W)
    q, V = products_of_layers(law.nodes)
    return np.einsum("n,nab,nb,ncb->ac", law.weights, V, q, V)


def learned(fitted: list[Any]) -> dict[str, Any]:
    """Return what the regressors have learned, padded with NaN to a common number of layers."""
    orders = [np.asarray(getattr(t, "order_parameters_", [np.nan]), dtype=np.float64) for t in fitted]
    rows = [by_layer(getattr(t, "network_", None), q) for t, q in zip(fitted, orders, strict=True)]
    layers = max(len(row) for row in rows)
    padded = np.array([np.pad(row, (0, layers - len(row)), constant_values=np.nan) for row in rows])
    found: dict[str, Any] = {"order_parameters": (("theory", "layer"), padded)}
    outputs = max((q.shape[-1] for q in orders if q.ndim > 1), default=0)
    if outputs:
        empty = np.full((outputs, outputs), np.nan)
        whole = {3: _product, 2: lambda theory, q: q}
        matrices = np.array([whole.get(q.ndim, lambda *_: empty)(t, q) for t, q in zip(fitted, orders, strict=True)])
        images = any(isinstance(getattr(t, "network_", None), Convolutional) for t in fitted)
        kind = "position" if images else "output"
        found["order_parameter_matrix"] = (("theory", kind, f"other_{kind}"), matrices)
    scalars = {
        "action": "action_",
        "log_marginal_likelihood": "log_marginal_likelihood_",
        "readout_second_moment": "readout_second_moment_",
        "temperature": "temperature",
        "cluster": "cluster_",
    }
    for name, attribute in scalars.items():
        found[name] = ("theory", [_scalar(getattr(t, attribute, np.nan)) for t in fitted])
    networks = [getattr(t, "network_", None) for t in fitted]
    found["network"] = ("theory", ["" if net is None else json.dumps(net.to_dict()) for net in networks])
    for name in ("odd", "linear"):
        asked = [np.nan if net is None else float(getattr(net.sigma, name)) for net in networks]
        found[name] = ("theory", asked)
    found["regressor"] = ("theory", [_class(t) for t in fitted])
    found["converged"] = ("theory", [bool(getattr(t, "converged_", True)) for t in fitted])
    return found


def _class(theory: Any) -> str:
    """Return the name of the theory's class; of a class that others derived from one of this library, that one's."""
    own = (kind.__name__ for kind in type(theory).__mro__ if kind.__module__.startswith("stpbnn."))
    return next(own, type(theory).__name__)


def _scalar(value: Any) -> float:
    """Return a number; of a matrix over the outputs the mean of its diagonal, of a vector NaN."""
    if np.ndim(value) == 1:
        return np.nan
    return float(np.trace(value) / len(value)) if np.ndim(value) == 2 else float(value)
