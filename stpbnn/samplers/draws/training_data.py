"""The training set and the test points of a posterior, checked and on the device."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from stpbnn import _validation as check
from stpbnn.network import Convolutional, FullyConnected, Network

__all__ = ["Data", "checked_data", "numbers_of_a_chain"]


class Data(NamedTuple):
    """Training set, and the points at which functions are wanted; None where there are none."""

    X: jax.Array
    y: jax.Array
    X_test: jax.Array | None = None
    y_test: jax.Array | None = None


def checked_data(net: Network, X: Any, y: Any, X_test: Any, y_test: Any) -> Data:
    """Check the data and put them on the device, in JAX's default precision."""
    check.instance("net", net, FullyConnected, Convolutional)
    X = check.inputs("X", X)
    net.refuse_features("X", X.shape[1])
    y = check.targets("y", y, examples=len(X), outputs=net.outputs)
    if y_test is not None and X_test is None:
        raise ValueError("y_test: got targets without X_test; give the test inputs as well")
    given = {"X": X, "y": y}
    if X_test is not None:
        given["X_test"] = check.inputs("X_test", X_test, features=X.shape[1])
    if y_test is not None:
        given["y_test"] = check.targets("y_test", y_test, examples=len(given["X_test"]), outputs=net.outputs)
    return Data(**{name: _in_range(name, values, len(X)) for name, values in given.items()})


def numbers_of_a_chain(net: Network, data: Data, *, rotated: bool) -> int:
    """Return how many numbers a chain moves: weights, features, and the smaller of two matrices of the readout."""
    P, n_features = data.X.shape
    points = P + (0 if data.X_test is None else len(data.X_test))
    if rotated:  # into the directions that the inputs span
        n_features = min(n_features, points)
    shapes = net.shapes(n_features)
    weights = sum(math.prod(shape) for shape in shapes.values())
    return weights + points * sum(net.units) + min(P, shapes["v"][0]) ** 2


def _in_range(what: str, values: np.ndarray, rows: int) -> jax.Array:
    """Return values in JAX's default precision; refuse those whose sums of fourth powers it cannot hold."""
    given = jax.dtypes.canonicalize_dtype(float)
    with np.errstate(over="ignore"):
        square = float(np.max(np.mean(values.reshape(len(values), -1) ** 2, axis=1)))
    if not square * rows < float(np.finfo(given).max) ** 0.5 / 10:
        wider = ", or use double precision: JAX_ENABLE_X64=1" if given == np.float32 else ""
        raise ValueError(
            f"{what}: got numbers up to {np.abs(values).max():.3g}, whose products are out of the range of {given}; "
            f"standardise the {'targets' if what.startswith('y') else 'inputs'}{wider}"
        )
    return jax.device_put(values.astype(given))
