"""A posterior of independent draws about a theory's predictions, and its report."""

import json

import numpy as np
import xarray as xr

from stpbnn import FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.comparison import compare_predictions, predict_theories
from stpbnn.report import page, render


def made(points=10, shift=0.0, draws=500, outputs=1, seed=0, widths=(20,), activation="erf"):
    """A posterior of independent draws about the saddle point's predictions, and the theories."""
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(12, 4)), rng.normal(size=(points, 4))
    net = FullyConnected(widths, activation, outputs=outputs)
    y, yt = np.sign(X[:, :outputs]).squeeze(), np.sign(Xt[:, :outputs]).reshape(points, -1)
    yt = yt[:, 0] if outputs == 1 else yt
    theories = {"infinite width": NNGPRegressor(net, temperature=0.1).fit(X, y)}
    if outputs == 1:
        theories["proportional limit"] = ProportionalLimitRegressor(net, temperature=0.1).fit(X, y)
    mean, std = list(theories.values())[-1].predict(Xt, return_std=True)
    dims, chains = ("test_point", "output")[: mean.ndim], ("chain", "draw")
    f = mean + shift + std * rng.normal(size=(4, draws, *mean.shape))
    posterior = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {
                    "readout_norm": (chains, rng.gamma(10, 0.1, (4, draws))),
                    "kernel_scale": ((*chains, "layer"), rng.gamma(100, 0.01, (4, draws, len(widths)))),
                }
            ),
            "predictions": xr.Dataset(
                {
                    "f": ((*chains, *dims), f),
                    "eigenmode": ((*chains, "mode", *dims[1:]), 0.9 * y + 0.1 * rng.normal(size=(4, draws, *y.shape))),
                }
            ),
            "sample_stats": xr.Dataset(
                {
                    "energy": (chains, rng.normal(50, 5, (4, draws))),
                    "diverging": (chains, np.zeros((4, draws), bool)),
                }
            ),
            "observed_data": xr.Dataset({"y": (("train_point", *dims[1:]), y)}),
            "constant_data": xr.Dataset(
                {
                    "X": (("train_point", "feature"), X),
                    "eigenvector": (("mode", "train_point"), np.eye(12)),
                    "eigenvalue": ("mode", 2.0 ** -np.arange(12)),
                }
            ),
            "predictions_constant_data": xr.Dataset({"X_test": (("test_point", "feature"), Xt)}),
        }
    )
    posterior.attrs |= {
        "network": json.dumps(net.to_dict()),
        "temperature": 0.1,
        "sampler": "nuts",
        "readout": "explicit",
        "warmup": 500,
        "draws": draws,
        "chains": 4,
        "seed": 7,
        "device": "cpu: cpu",
        "precision": "float32",
        "wall_time_s": 12.3,
        "stpbnn_version": "0.1.0",
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    return posterior, theories, Xt, yt


def worded(*arguments, title=None, card=None, run=None, **settings):
    """The report with no pictures, which take most of its time."""
    sections = ("predictions", "error", "z", "calibration", "data", "order", "spectrum", "chains")
    posterior, theories, Xt, yt = made(*arguments, **settings)
    predictions = predict_theories(theories, Xt, yt)
    comparison = compare_predictions(posterior, predictions)
    return page(posterior, predictions, comparison, {key: [] for key in sections}, title=title, card=card, run=run)


def rendered(*arguments, title=None, card=None, run=None, **settings):
    posterior, theories, Xt, yt = made(*arguments, **settings)
    predictions = predict_theories(theories, Xt, yt)
    return render(posterior, predictions, compare_predictions(posterior, predictions), title=title, card=card, run=run)
