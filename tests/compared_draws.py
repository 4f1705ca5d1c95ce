"""Posteriors of known draws, and theories of known moments."""

import numpy as np
import xarray as xr

CHAINS, DRAWS = 4, 1000


PARTS = ["total", "squared_bias", "variance"]


def tree(f, y=None, X=None, **predictions):
    """A posterior with draws f (chain, draw, test_point[, output]) and nothing that comparison does not need."""
    dims = ("chain", "draw", "test_point", "output")[: f.ndim]
    X = np.arange(f.shape[2], dtype=float)[:, None] if X is None else X
    known = {"X_test": (("test_point", "feature"), X)}
    if y is not None:
        known["y_test"] = (dims[2:], y)
    stats = {"diverging": (("chain", "draw"), np.zeros(f.shape[:2], bool))}
    groups = {
        "predictions": xr.Dataset({"f": (dims, f)} | {k: (dims, v) for k, v in predictions.items()}),
        "predictions_constant_data": xr.Dataset(known),
        "sample_stats": xr.Dataset(stats),
    }
    return xr.DataTree.from_dict(groups)


def theory(mean, variance=None, y=None, converged=True):
    """Predictions of one theory as predict_theories stores them."""
    mean = np.asarray(mean, float)
    variance = np.ones_like(mean) if variance is None else np.asarray(variance, float)
    dims = ("theory", "test_point", "output")[: mean.ndim + 1]
    data = {"mean": (dims, mean[None]), "variance": (dims, variance[None]), "converged": ("theory", [converged])}
    if y is not None:
        bias, var = ((y - mean) ** 2).sum() / len(y), variance.sum() / len(y)
        data |= {"y_test": (dims[1:], y), "error": (("theory", "part"), [[bias + var, bias, var]])}
    return xr.Dataset(data, {"theory": ["theory"]} | ({} if y is None else {"part": PARTS}))


def normal_draws(mean, sd, seed=0, shape=(CHAINS, DRAWS)):
    mean = np.asarray(mean, float)
    return mean + np.asarray(sd) * np.random.default_rng(seed).normal(size=(*shape, *mean.shape))
