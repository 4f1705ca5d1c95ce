"""A small regression task, and the regressors."""

import numpy as np

from stpbnn import FiniteWidthRegressor, NNGPRegressor, ProportionalLimitRegressor

REGRESSORS = [NNGPRegressor, ProportionalLimitRegressor, FiniteWidthRegressor]


def data(P=15, N0=4, outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(P, N0)), rng.normal(size=(7, N0))
    shape = (P,) if outputs == 1 else (P, outputs)
    return X, rng.normal(size=shape), Xt


def basis(X, trend):
    """The columns of a trend over two inputs."""
    return np.column_stack([np.ones(len(X)), X])[:, : {"zero": 0, "constant": 1, "linear": 3}[trend]]


def images(P, seed=0, pixels=4):
    """Inputs whose pixels go together, and noisy targets of the first of them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((P, pixels)) + rng.standard_normal((P, 1))
    return X, 2 * np.tanh(X[:, 0]) + 0.3 * rng.standard_normal(P)
