"""A small regression task, and the regressors."""

import numpy as np

from stpbnn import FiniteWidthRegressor, NNGPRegressor, ProportionalLimitRegressor

REGRESSORS = [NNGPRegressor, ProportionalLimitRegressor, FiniteWidthRegressor]


def data(P=15, N0=4, outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(P, N0)), rng.normal(size=(7, N0))
    shape = (P,) if outputs == 1 else (P, outputs)
    return X, rng.normal(size=shape), Xt
