"""The functions of a posterior at new inputs, from the draws that kept their weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from numpyro.handlers import seed as seeded
from numpyro.handlers import substitute

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn._slices import slices
from stpbnn.network import FullyConnected, Network, of_settings
from stpbnn.samplers.chains import spaced
from stpbnn.samplers.draws import predict
from stpbnn.samplers.process_posterior import function_given, program

__all__ = ["functions"]

NUMBERS = 2**24  # features, or entries of a kernel, that are held at once
SCALES = 200  # draws of a process, which has no weights to keep


@in_float64
def functions(posterior: xr.DataTree, X: ArrayLike) -> xr.Dataset:
    r"""Return the functions of a posterior at new inputs, for the draws that kept their weights.

    .. math:: p(f(x) \mid y) \approx \frac1m \sum_{i=1}^m N\big(f(x);\ \bar f_i(x),\ \sigma_i^2(x)\big)

    with the moments of f given the hidden weights of draw i, where the readout was integrated.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned with keep_draws, or with keep="weights"; or `stpbnn.samplers.sample_process`.
    X : array of shape (n, N_0)
        Inputs, in the units of those that were sampled with.

    Returns
    -------
    xarray.Dataset
        `f` (chain, draw, test_point[, output]), and where the readout was integrated `f_mean` and `f_variance`, as in
        the group `predictions`; a process has the last two alone. At the test points of the run they are the numbers
        that were recorded, to rounding.

    Raises
    ------
    ValueError
        If no weights were kept, or the inputs have another number of features.

    Examples
    --------
    >>> from stpbnn.samplers import sample
    >>> X, net = np.eye(4), FullyConnected((5,), "linear")
    >>> posterior = sample(net, X, X[:, 0], temperature=0.1, X_test=X[:2], warmup=50, draws=10, chains=2,
    ...                    keep_draws=4, progress=False)
    >>> functions(posterior, X[:3])["f_mean"].shape
    (2, 2, 3)
    """
    check.tree("posterior", posterior)
    for group in ("posterior", "constant_data", "observed_data"):
        if group not in posterior.children:
            raise ValueError(f"posterior: got no group {group!r}, expected what stpbnn.sample returned")
    train = jnp.asarray(posterior["constant_data"]["X"].to_numpy(), float)
    y = jnp.asarray(posterior["observed_data"]["y"].to_numpy(), float)
    X = check.inputs("X", X, features=train.shape[1])
    net = of_settings(json.loads(posterior.attrs["network"]))
    process = "process" in posterior.attrs
    stored, evaluated = (_of_process if process else _of_network)(posterior, net, train, y)
    rows = NUMBERS // 16 // len(train) if process else NUMBERS // max(net.units)
    coords = {name: stored[name].to_numpy() for name in ("chain", "draw")}
    flat = {str(name): jnp.asarray(v.to_numpy().reshape(-1, *v.shape[2:]), float) for name, v in stored.items()}
    compiled = jax.jit(lambda drawn, X: jax.lax.map(lambda one: evaluated(one, X), drawn))
    parts = [compiled(flat, jnp.asarray(X[part])) for part in slices(len(X), rows)]
    dims = ("chain", "draw", "test_point", *(("output",) if net.outputs > 1 else ()))
    found = {}
    for name in parts[0]:
        values = np.concatenate([np.asarray(part[name]) for part in parts], axis=1)
        found[name] = (dims, values.reshape(*map(len, coords.values()), *values.shape[1:]))
    return xr.Dataset(found, coords | {"test_point": np.arange(len(X))})


type Evaluated = Callable[[dict[str, jax.Array], jax.Array], dict[str, jax.Array]]


def _of_network(posterior: xr.DataTree, net: Network, train: Any, y: Any) -> tuple[xr.Dataset, Evaluated]:
    """Return the weights that were kept, and the functions of one draw of them."""
    kept = "weights" if "weights" in posterior.children else "posterior"
    names = [*net.shapes(train.shape[1]), "temperature"]
    stored = posterior[kept].to_dataset()
    if "W1" not in stored:
        raise ValueError(
            "posterior: got no weights, expected those that sample(..., keep_draws=200) keeps; a card does by default"
        )
    fixed = posterior.attrs["temperature"]

    def evaluated(weights: dict[str, jax.Array], X: jax.Array) -> dict[str, jax.Array]:
        T = weights["temperature"] if "temperature" in weights else float(fixed)
        last = net.features(weights, X)[-1]
        found = {"f": net.read_out(weights, last)}
        if posterior.attrs["readout"] == "marginal":
            seen = net.pooled(net.features(weights, train)[-1])
            moments = predict(net, seen, y, T, net.pooled(last))
            found |= dict(zip(("f_mean", "f_variance"), moments, strict=True))
        return found

    return stored[[name for name in names if name in stored]], evaluated


def _of_process(posterior: xr.DataTree, net: Network, train: Any, y: Any) -> tuple[xr.Dataset, Evaluated]:
    """Return scales that are evenly spaced, and the law of the function given one draw of them."""
    assert isinstance(net, FullyConnected)
    model = program(net, posterior.attrs["process"], posterior.attrs.get("df"))
    stored, T = posterior["posterior"].to_dataset(), float(posterior.attrs["temperature"])
    scales = stored[[name for name in ("r", "Q") if name in stored]]
    each = min(max(SCALES // scales.sizes["chain"], 1), scales.sizes["draw"])

    def evaluated(drawn: dict[str, jax.Array], X: jax.Array) -> dict[str, jax.Array]:
        points, key, P = jnp.concatenate([train, X]), jax.random.key(0), len(y)
        K = seeded(substitute(model, drawn), key)(points, temperature=T)
        mean, variance, _ = function_given(key, K, y, T)
        return {"f_mean": mean[P:], "f_variance": variance[P:]}

    return scales.isel(draw=spaced(scales.sizes["draw"], each)), evaluated
